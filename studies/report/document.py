"""``report.json``: every number and every word of the report that is not the template's own, as plain JSON.

``docs/report-json.md`` describes it. Numbers that are not defined are null, times are UTC in ISO 8601.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from studies.figures.style import Figure
from studies.findings.checklist import checklist
from studies.findings.codes import glossary
from studies.findings.findings import Findings
from studies.records import Example, ReportData
from studies.statistics.metrics import METRICS, PUBLIC_PREVALENCE

Json = dict[str, Any]


@dataclass(frozen=True)
class ExampleRow:
    """A shown patch, without its picture.

    Attributes:
        probability: by the model that the picture is about; out of fold, the mean over all models.
        by_model: by every model, for test patches.
    """

    kind: str
    entry: str
    name: str
    patient: str
    label: int
    probability: float | None
    by_model: dict[str, float]


def document(data: ReportData, findings: Findings, figures: Mapping[str, Iterable[Figure]]) -> Json:
    """All of the report as plain values.

    Raises:
        pydantic.PydanticSerializationError: for a value that JSON cannot hold.
    """
    whole = {
        **plain(findings),
        "metrics": dict(METRICS),
        "public_prevalence": PUBLIC_PREVALENCE,
        "auc_scale": auc_scale(findings),
        "data": plain(data.data),
        "exclusions_total": sum(count for _, count in data.data.exclusions),
        "studies": {study.name: plain(study) for study in data.studies},
        "plan": plain(data.plan),
        "plan_digest": data.plan_digest,
        "frozen_at": data.frozen_at.isoformat(),
        "chain_head": data.chain_head,
        "elsewhere": list(data.elsewhere),
        "looks": [plain(look) for look in data.looks],
        "broken": list(data.broken),
        "later": list(data.later),
        "opening_log": [plain(opening) for opening in data.openings],
        "examples": [plain(_row(example, data)) for example in data.examples],
        "environment": dict(data.environment),
        "codes": {code: plain(kind) for code, kind in glossary(_codes(findings)).items()},
        "checklist": [plain(item) for item in checklist(patient_ids=data.data.patient_ids)],
        "figures": {figure.key: of_figure(figure) for section in figures.values() for figure in section},
    }
    written: Json = finite(whole)
    return written


def _codes(findings: Findings) -> list[str]:
    """Of all that was found."""
    return [
        findings.verdict.code,
        *([findings.ensemble.verdict.code] if findings.ensemble else []),
        *(one.code for one in findings.weaknesses),
        *(model.gained_code for model in findings.models.values()),
        *(code for search in findings.searches.values() for code in search.lesson_codes),
    ]


def plain(record: object) -> Any:
    """A frozen dataclass as JSON's own types."""
    return TypeAdapter(type(record)).dump_python(record, mode="json")


OF_THE_TEST_SPLIT = ("false positive", "false negative", "disagreement")


def _row(example: Example, data: ReportData) -> ExampleRow:
    by_model = _by_model(example.name, data) if example.kind in OF_THE_TEST_SPLIT else {}
    return ExampleRow(
        example.kind, example.entry, example.name, example.patient, example.label, example.probability, by_model
    )


def _by_model(name: str, data: ReportData) -> dict[str, float]:
    """What each model gave the test patch of this name."""
    rows = np.flatnonzero(data.test.names == name)
    return {model.model: float(data.test.probabilities[model.model][row]) for model in data.plan.models for row in rows}


def of_figure(figure: Figure) -> Json:
    """What of a figure stands in the document: its words and its table."""
    return {
        "title": figure.title,
        "alt": figure.alt,
        "note": figure.note,
        "statistic": figure.statistic,
        "columns": list(figure.table.columns),
        "rows": [list(row) for row in figure.table.rows],
    }


def auc_scale(findings: Findings) -> tuple[float, float]:
    """Ends of the strip on which the summary draws all AUCs: their intervals, rounded outwards to .02."""
    ends = [end for model in findings.models.values() for end in (model.test["auc"].low, model.test["auc"].high)]
    known = [end for end in ends if end is not None]
    if not known:
        return 0.0, 1.0
    return max(0.0, math.floor(min(known) * 50 - 0.5) / 50), min(1.0, math.ceil(max(known) * 50 + 0.5) / 50)


def finite(value: Any) -> Any:
    """The same value with None for every number that JSON does not know."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value
