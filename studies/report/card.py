"""The model card of an exported model, in the form of the Hugging Face hub: a YAML head, then Markdown.

Every number in it is of ``report.json``. The form: Mitchell et al., "Model cards for model reporting", FAT* 2019, and
the hub's own page on model cards, whose parser reads the head in a test.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from studies.findings.ensemble import ENSEMBLE
from studies.report.document import Json

HUB_NAMES = {
    "auc": "roc_auc",
    "average_precision": "average_precision",
    "balanced_accuracy": "balanced_accuracy",
    "sensitivity": "recall",
    "specificity": "specificity",
    "ppv": "precision",
    "f1": "f1",
    "brier": "brier_score",
    "log_loss": "log_loss",
    "ece": "expected_calibration_error",
    "calibration_slope": "calibration_slope",
}
"""Metrics of the report that a card has, and what the hub calls them."""


@dataclass(frozen=True)
class Exported:
    """The file that a card is about.

    Attributes:
        file: its name.
        form: "onnx", "torchscript" or "safetensors".
        runs_by: who can use it, in words.
        sha256: of the file.
        side: of a patch, in pixels.
        check: how far it is from PyTorch, in words.
        licence: in words.
        about: what the file says of itself.
        report_sha256: of the report that the numbers are from.
    """

    file: str
    form: str
    runs_by: str
    sha256: str
    side: int
    check: str
    licence: str
    about: Mapping[str, str]
    report_sha256: str


def card(report: Json, model: str, exported: Exported) -> str:
    """The card of a model of this report, as Markdown."""
    environment = Environment(
        loader=PackageLoader("studies.report"),
        autoescape=False,  # it is Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = lambda value: json.dumps(value, ensure_ascii=False)  # JSON is YAML
    return environment.get_template("card.md.j2").render(
        r=report,
        f=_final(report, model),
        e=exported,
        name=f"{report['study']}-{model}",
        model=model,
        data=PurePath(report["data"]["source"]).name,  # a path of somebody's machine is nobody else's business
        results=results(report, model),
        parts={part["part"]: part for part in report["data"]["parts"]},
        cost=_cost(report, model),
        devices=_devices(report, model),
        members=json.loads(exported.about["members_sha256"]),
    )


@dataclass(frozen=True)
class _Final:
    """What a card says of a single model or of the ensemble.

    Attributes:
        headline: what the comparison has found, in words.
        models: whose configurations it is made of.
        chosen: which these are, and by what, in words.
        fit: has its temperature, and its threshold with the rule behind it.
        test: its metrics on the test patients.
    """

    headline: str
    models: tuple[str, ...]
    chosen: str
    fit: Mapping[str, Any]
    test: Mapping[str, Any]


def _final(report: Json, model: str) -> _Final:
    if model != ENSEMBLE:
        one, verdict = report["models"][model], report["verdict"]
        chosen = f"{one['chosen']} configuration, by {report['plan']['settings']['choice']}"
        return _Final(f"{verdict['headline']} {verdict['detail']}", (model,), chosen, one, one["test"])
    one = report[ENSEMBLE]
    parts = [f"{part['times']} times {part['model']} {part['label']}" for part in one["parts"]]
    return _Final(
        headline=f"{one['verdict']['headline']} {one['verdict']['detail']}",
        models=tuple(dict.fromkeys(part["model"] for part in one["parts"])),
        chosen=f"the mean of {', '.join(parts)}, by {one['rule']} on out-of-fold scores",
        fit=one,
        test={key: one[key] for key in ("auc", "balanced_accuracy")},
    )


def results(report: Json, model: str) -> list[tuple[str, str, float, str]]:
    """(name, that of the hub, value, its interval in words) of each metric on the test patients that is defined."""
    found = ((key, hub, _final(report, model).test.get(key)) for key, hub in HUB_NAMES.items())
    return [
        (report["metrics"][key], hub, estimate["value"], interval(estimate))
        for key, hub, estimate in found
        if estimate is not None and estimate["value"] is not None
    ]


def interval(estimate: Mapping[str, Any]) -> str:
    """A 95 % interval in words, or why there is none."""
    if estimate.get("low") is None or estimate.get("high") is None:
        return f"no interval: {estimate.get('reason') or 'too few patients'}"
    return f"{estimate['low']:.3f} to {estimate['high']:.3f}"


def _cost(report: Json, model: str) -> tuple[float, float]:
    """Hours of workers that the search of a model took, and the training of the members that it ends in."""
    models = _final(report, model).models
    used = sum(report["searches"][f"{report['study']}-{one}"]["cost"]["used"] for one in models)
    planned = [one for one in report["plan"]["models"] if one["model"] in models]
    seconds = [member["seconds"] for of in planned for one in of["candidates"] for member in one["members"]]
    return used / 3600, sum(seconds) / 3600


def _devices(report: Json, model: str) -> Sequence[str]:
    """Devices that its trials were trained on."""
    studies = [report["studies"][f"{report['study']}-{one}"] for one in _final(report, model).models]
    trials = [trial for study in studies for trial in study["trials"]]
    return sorted({str(trial["attributes"]["device"]) for trial in trials if "device" in trial["attributes"]})
