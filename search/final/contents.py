"""Gathers all that a report is made of, from the database and ``runs/NAME`` alone; touches no patch."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from search.comparison import DATA_FILE, ENVIRONMENT_FILE, FINALIZE_FILE, OPENING, OUT_OF_FOLD, Comparison
from search.errors import UsageError
from search.final.plan import came_later, changed, studies_of
from search.final.speeds import stored_speeds
from search.trials.marks import lost
from search.trials.other_splits import overlaps
from studies.errors import RecordError, SealBrokenError
from studies.files import read_file, write_whole
from studies.findings.ensemble import ENSEMBLE
from studies.findings.examples import load_examples
from studies.findings.measured import load_measures
from studies.findings.predictions import TABLE_FILE, as_table, load_predictions, problem_with
from studies.findings.robustness import load_disturbed
from studies.findings.slides import SLIDES, load_tissue
from studies.ledger.chain import broken, head, is_first
from studies.ledger.ledger import OpeningRecord
from studies.records import AnalysisPlan, DataSummary, Disturbed, Floats, Predictions, ReportData, from_json
from studies.report.dashboard import ARTIFACTS, publish
from studies.report.page import REPORT_HTML, REPORT_JSON, write_report

_LARGEST = 16 * 2**20  # bytes of a record; that of the data names each development patient


def write_comparison_report(comparison: Comparison) -> tuple[Path, tuple[str, ...]]:
    """Writes the report of a comparison whose test split was opened, also for the dashboard.

    Returns:
        Its path, and what its reader has to know beside it, a line each.
    """
    data = gather(comparison)
    write_whole(comparison.folder / TABLE_FILE, as_table(data.test))
    report = write_report(data, comparison.folder)
    headline = json.loads(report.with_name(REPORT_JSON).read_text(encoding="utf-8"))["verdict"]["headline"]
    for study in data.studies:
        publish(comparison.storage, study, report, headline, comparison.folder.parent / ARTIFACTS)
    return report, (*data.broken, *data.later)


def gather(comparison: Comparison) -> ReportData:
    """All that the report shows.

    Raises:
        UsageError: the test split was not opened yet.
        RecordError: a stored record cannot be read.
    """
    opening = _closed_opening(comparison)
    plan, frozen = _plan(comparison, opening.plan_digest)
    folder, engine = comparison.folder, comparison.storage.engine
    studies = studies_of(comparison, plan)
    test = load_predictions(folder / OPENING)
    out_of_fold = {model.model: load_predictions(folder / model.model / OUT_OF_FOLD) for model in plan.models}
    return ReportData(
        name=comparison.name,
        data=from_json(DataSummary, _read(folder / DATA_FILE), str(folder / DATA_FILE)),
        studies=studies,
        plan=plan,
        plan_digest=opening.plan_digest,
        frozen_at=frozen,
        frozen_first=is_first(engine, opening.plan_digest, comparison.ledger.numbers_of_openings(comparison.name)),
        openings=comparison.ledger.openings_of_same_patches(comparison.name),
        chain_head=head(engine),
        test=test,
        out_of_fold=out_of_fold | _of_ensemble(plan, folder / OUT_OF_FOLD),
        disturbed=_disturbed(plan, folder),
        measured=_measured(folder, len(next(iter(out_of_fold.values())).labels), len(test.labels)),
        examples=load_examples(folder / "examples") + load_examples(folder / OPENING / "examples"),
        environment=from_json(dict[str, str], _read(folder / ENVIRONMENT_FILE), str(folder / ENVIRONMENT_FILE)),
        elsewhere=tuple((str(one), one.chosen_by > 0 and one.finished > 0) for one in overlaps(comparison)),
        looks=comparison.ledger.looks(comparison.name),
        broken=(*broken(engine), *changed(comparison, plan, studies)),
        tissue=load_tissue(folder / OPENING / SLIDES),
        speeds=stored_speeds(folder),
        later=came_later(comparison, plan),
    )


def _of_ensemble(plan: AnalysisPlan, place: Path) -> dict[str, Predictions]:
    """Its out-of-fold predictions, where it was chosen; none of one that an earlier version has published."""
    chosen = plan.ensemble is not None and plan.ensemble.chosen
    return {ENSEMBLE: load_predictions(place)} if chosen and os.path.lexists(place) else {}


def _disturbed(plan: AnalysisPlan, folder: Path) -> dict[str, Disturbed]:
    """Of each final model; none of those that an earlier version has published."""
    members = {model.model: [one.sha256 for one in model.candidate(model.chosen).members] for model in plan.models}
    found = {name: load_disturbed(sha256, folder / name) for name, sha256 in members.items()}
    return {name: one for name, one in found.items() if one is not None}


def _measured(folder: Path, development: int, test: int) -> tuple[Floats, Floats] | None:
    """Measures of so many patches of either part; None where an earlier version kept none of one of them."""
    before, now = load_measures(folder, development), load_measures(folder / OPENING, test)
    return None if before is None or now is None else (before, now)


def _closed_opening(comparison: Comparison) -> OpeningRecord:
    """The last opening, whose predictions are still those that it closed with."""
    last = comparison.ledger.last_opening(comparison.name)
    if last is None or last.predictions is None:
        raise UsageError(_not_closed(comparison))
    problem = problem_with(comparison.folder / OPENING, last.predictions)
    if problem is not None:
        raise SealBrokenError(lost(comparison, problem))
    return last


def _not_closed(comparison: Comparison) -> str:
    """Why there is nothing to report: no opening, one that was cut off, or another after those that were not."""
    name = comparison.name
    openings = [one for one in comparison.ledger.openings_of_same_patches(name) if one.study == name]
    if not openings:
        return f"the test split of {name} was not opened yet: run python -m search.finalize --study {name}"
    cut_off = f"was cut off: end it by python -m search.finalize --config {comparison.folder / FINALIZE_FILE}"
    closed = [one for one in openings if one.finished_at is not None]
    if not closed:
        return f"the opening of the test split of {name} that was begun on {_day(openings[-1].opened_at)} {cut_off}"
    earlier = f"{name} was opened on {', '.join(_day(one.opened_at) for one in closed)}"
    page = comparison.folder / REPORT_HTML
    written = f"; until then {page} is that of the earlier opening" if page.exists() else ""
    again = f"another opening that was begun on {_day(openings[-1].opened_at)} {cut_off}"
    return f"the test split of {earlier}, and {again}{written}"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _plan(comparison: Comparison, digest: str) -> tuple[AnalysisPlan, datetime]:
    stored = comparison.ledger.plan(digest)
    if stored is None:
        raise SealBrokenError(
            f"the plan {digest[:12]} was taken out of the database: see python -m search.status --check, and put a "
            "backup of the database back"
        )
    text, frozen = stored
    return from_json(AnalysisPlan, text, "the plan in the database"), frozen.astimezone(UTC)


def _read(path: Path) -> bytes:
    try:
        return read_file(path, _LARGEST)
    except RecordError as error:
        raise UsageError(f"{error}, or run python -m search.finalize again") from error
