"""HistoTune from Python: what the commands do, as functions that return what came of it.

    from search.api import explore, export, finalize, heatmap, launch, predict, report, status

Keywords are the flags of the command of the same name, with the same defaults: ``help(launch)`` shows them. Each call
leaves the process as it was: no Ray, no thread, no handler of a signal; environment, hooks and logging are put back.
One call is at work at a time; ``status`` alone may be asked meanwhile, in another thread.

Errors are those of ``search.errors``, with the one line that the command would print:

    SearchError
    ├── UsageError      bad input or a refusal (exit code 2)
    └── SearchFailed    the work itself failed (exit code 1)

``__cause__`` has the more exact one where there is one, of ``data_utils.errors`` or ``studies.errors`` for example.
Ctrl-C is a KeyboardInterrupt, and ends the work in order: the same call goes on.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from search.answers import Best, Estimate, Exploration, Export, Model, Predictions, Report, Search, Study
from search.command import applying
from search.command import settings as of
from search.command.called import call_of, settings_of, takes
from search.command.guest import guest
from search.command.keywords import (
    ExploreKeywords,
    ExportKeywords,
    FinalizeKeywords,
    HeatmapKeywords,
    LaunchKeywords,
    PredictKeywords,
    ReportKeywords,
    StatusKeywords,
)
from search.command.outcome import of_two_kinds
from search.command.versions import tell_untried
from search.errors import Interrupted, SearchError, SearchFailed, UsageError
from studies.exploration.finding import Finding
from studies.storage.closing import closed_afterwards

__all__ = [
    "Best", "Estimate", "Exploration", "Export", "Finding", "Interrupted", "Model", "Predictions", "Report", "Search",
    "SearchError", "SearchFailed", "Study", "UsageError", "explore", "export", "finalize", "heatmap", "launch",
    "predict", "report", "status",
]  # fmt: skip


@takes(of.ExploreSettings)
def explore(*, progress: bool = True, **asked: Unpack[ExploreKeywords]) -> Exploration:
    """Looks at the patches before any training, and writes a page.

    Returns:
        Where the page is, and what was found.

    Raises:
        UsageError: bad input or a refusal.
        SearchFailed: a disk is full, or was taken away.
        KeyboardInterrupt: see the module.
    """
    with guest(call_of(of.ExploreSettings, asked), progress=progress):
        settings = settings_of(of.parse_explore, of.ExploreSettings, asked)
        from search.upkeep.exploration import explore as begin  # takes seconds to import
        from studies.exploration.page import DOCUMENT

        page = begin(settings)
        document = page.with_name(DOCUMENT)
        findings = json.loads(document.read_text(encoding="utf-8"))["findings"]
        return Exploration(settings.common.study, page, document, tuple(Finding(**one) for one in findings))


@takes(of.LaunchSettings)
def launch(*, progress: bool = True, **asked: Unpack[LaunchKeywords]) -> Search:
    """Searches until every study holds the trials that were asked for, or ``timeout`` is reached.

    Called again, it goes on where it was, also after Ctrl-C or where the process was killed.

    Returns:
        How the studies of the comparison stand.

    Raises:
        UsageError: bad input, a refusal, or this process has a Ray already.
        SearchFailed: a study ends without a COMPLETE trial, or Ray or a database died.
        KeyboardInterrupt: see the module.
    """
    with guest(call_of(of.LaunchSettings, asked), progress=progress) as signals:
        settings = settings_of(of.parse_launch, of.LaunchSettings, asked)
        tell_untried()
        from search.trials.session import search  # takes seconds to import

        search(settings, signals)
        common = settings.common
        return Search(common.study, common.runs / common.study, _studies(common))


@takes(of.FinalizeSettings)
def finalize(*, progress: bool = True, **asked: Unpack[FinalizeKeywords]) -> Report:
    """Takes a comparison from its studies to its report; the test split is opened for it, where it was not yet.

    Returns:
        The report.

    Raises:
        UsageError: bad input, a refusal, or this process has a Ray already.
        SearchFailed: a member cannot be trained, or Ray or a database died.
        KeyboardInterrupt: see the module.
    """
    with guest(call_of(of.FinalizeSettings, asked), progress=progress) as signals:
        settings = settings_of(of.parse_finalize, of.FinalizeSettings, asked)
        tell_untried()
        from search.final.procedure import finalize as begin  # takes seconds to import

        page, notes = begin(settings, signals)
        return _report(page, notes)


@takes(of.ReportSettings)
def report(*, progress: bool = True, **asked: Unpack[ReportKeywords]) -> Report:
    """Writes the report of a comparison again, from what is stored; no patch is touched.

    Returns:
        The report.

    Raises:
        UsageError: bad input, or the test split was not opened yet.
        SearchFailed: a disk is full, or was taken away.
    """
    with guest(call_of(of.ReportSettings, asked), progress=progress):
        settings = settings_of(of.parse_report, of.ReportSettings, asked)
        from search.comparison import Comparison  # these take seconds to import
        from search.final.contents import write_comparison_report

        return _report(*write_comparison_report(Comparison.open(settings.common)))


@takes(of.StatusSettings)
def status(**asked: Unpack[StatusKeywords]) -> tuple[Study, ...]:
    """How the studies of a database stand now, or those of one comparison; also while a call is at work.

    Returns:
        One a model and comparison, by name.

    Raises:
        UsageError: there is no database, or it holds no study of that name.
        SearchFailed: it does not answer.
    """
    with of_two_kinds(lambda: call_of(of.StatusSettings, asked)), closed_afterwards():
        return _studies(settings_of(of.parse_status, of.StatusSettings, asked).common)


@takes(applying.PredictSettings, out="default: none is written; what it would hold is returned")
def predict(*, progress: bool = True, **asked: Unpack[PredictKeywords]) -> Predictions:
    """Applies a final model to other patches, with or without labels.

    Returns:
        What it says of each patch. All of it is held in memory; the command alone can do without.

    Raises:
        UsageError: bad input or a refusal.
        SearchFailed: a disk is full, or was taken away.
        KeyboardInterrupt: see the module.
    """
    with guest(call_of(applying.PredictSettings, asked), progress=progress):
        written = asked.get("out") is not None
        settings = settings_of(
            of.parse_predict, applying.PredictSettings, asked if written else {**asked, "out": "none.csv"}
        )
        from search.applied import prediction  # takes seconds to import

        pieces: list[Mapping[str, Sequence[object]]] = []
        if written:
            prediction.predict(settings, pieces.append)
        else:
            prediction.score(settings, nullcontext(pieces.append))
        return Predictions(_arrays(pieces), settings.out if written else None)


@takes(applying.HeatmapSettings)
def heatmap(*, progress: bool = True, **asked: Unpack[HeatmapKeywords]) -> Path:
    """Shows what a final model says of whole slides: one page, and a picture of each slide.

    Returns:
        The page.

    Raises:
        UsageError: bad input or a refusal, or the place of no patch is known.
        SearchFailed: a disk is full, or was taken away.
        KeyboardInterrupt: see the module.
    """
    with guest(call_of(applying.HeatmapSettings, asked), progress=progress):
        settings = settings_of(of.parse_heatmap, applying.HeatmapSettings, asked)
        from search.applied.heatmap import heatmap as begin  # takes seconds to import

        return begin(settings)


@takes(applying.ExportSettings)
def export(*, progress: bool = True, **asked: Unpack[ExportKeywords]) -> Export:
    """Writes a final model as one file that runs without HistoTune, with a model card beside it.

    Returns:
        Both, and how far the file is from PyTorch.

    Raises:
        UsageError: bad input, or there are no development patches or no report of the model.
        SearchFailed: the file does not say what PyTorch says.
        KeyboardInterrupt: see the module.
    """
    with guest(call_of(applying.ExportSettings, asked), progress=progress):
        settings = settings_of(of.parse_export, applying.ExportSettings, asked)
        from search.applied.export import export as begin  # takes seconds to import

        card, check = begin(settings)
        return Export(settings.out, card, check.patches, check.logit, check.probability)


# --- from what is stored --------------------------------------------------------------------------------------------


def _studies(common: of.CommonSettings) -> tuple[Study, ...]:
    from search.status import look

    return tuple(_study(entry) for entry in look(of.StatusSettings(common=common)).entries)


def _study(entry: Mapping[str, Any]) -> Study:
    return Study(
        name=entry["study"],
        model=entry["model"],
        objective=entry["objective"],
        trials=entry["trials"],
        finished=entry["finished"],
        wanted=entry["wanted"],
        best=None if entry["best"] is None else Best(**entry["best"]),
        failures=dict(entry["failures"]),
        seconds=entry["cost"],
        lessons=tuple(entry["lessons"]),
    )


def _report(page: Path, notes: Sequence[str]) -> Report:
    from studies.report.page import REPORT_JSON

    document = page.with_name(REPORT_JSON)
    told = json.loads(document.read_text(encoding="utf-8"))
    models = {
        name: Model(
            name=name,
            folder=page.parent / name,
            test={key: _estimate(one) for key, one in model["test"].items()},
            threshold=model["threshold"],
        )
        for name, model in told["models"].items()
    }
    verdict = told["verdict"]
    return Report(
        study=told["study"],
        folder=page.parent,
        page=page,
        document=document,
        headline=verdict["headline"],
        winner=verdict["winner"],
        openings=told["openings"],
        models=models,
        notes=tuple(notes),
    )


def _estimate(told: Mapping[str, Any]) -> Estimate:
    return Estimate(told["value"], told["low"], told["high"], told.get("reason") or "")


def _arrays(pieces: Sequence[Mapping[str, Sequence[object]]]) -> dict[str, npt.NDArray[Any]]:
    """The columns of all pieces, each as an array."""
    import pyarrow as pa

    from search.applied.table import KINDS

    return {
        name: np.asarray(
            pa.array([cell for piece in pieces for cell in piece[name]], KINDS[name]).to_numpy(zero_copy_only=False)
        )
        for name in (pieces[0] if pieces else ())
    }
