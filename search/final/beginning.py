"""What a finalization begins with: its settings and data, and the configurations that it retrains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import torch
from rich.console import Console

from data_utils.colour.preprocessing import Preprocessing
from data_utils.split.prepare import Prepared
from search.command.last_words import LastWords
from search.command.settings import FinalizeSettings, WorkerSettings
from search.command.signals import Signals
from search.command.terminal import say, screen
from search.comparison import Comparison, data_source, load_models, weights_option
from search.errors import UsageError
from search.final.candidates import FINALISTS, Candidate, are_planned, candidates, planned_finalists
from search.final.plan import MOST_TIME, RACE, last_plan, studies_of
from search.final.race import RULE
from search.final.searched import check_source
from search.training.device import choose_device
from search.workers.cluster import Crew, plan_crew, settled
from studies.files import naming
from studies.records import AnalysisPlan, StudySummary
from studies.storage.results import best_trial, by_hand


@dataclass(frozen=True, eq=False)
class Final:
    """One finalization: what every step of it needs."""

    settings: FinalizeSettings
    comparison: Comparison
    prepared: Prepared
    preprocessing: Preprocessing
    studies: tuple[StudySummary, ...]
    finalists: int
    races: bool  # whether candidates may be dropped
    wanted: dict[str, list[Candidate]]  # model -> its candidates
    crew: Crew
    signals: Signals
    last_words: LastWords
    console: Console

    @property
    def precision(self) -> str:
        """In which all studies of the comparison were trained."""
        return str(self.studies[0].definition["precision"])


def begin(settings: FinalizeSettings, comparison: Comparison, signals: Signals, last_words: LastWords) -> Final:
    """Reads what is searched and what is retrained, and prepares the patches.

    Raises:
        DataError, ModelError, StudyError, SearchError: see where each is raised.
    """
    last = last_plan(comparison)
    before = None if last is None else last[0]
    studies = studies_of(comparison, None if settings.reopen is not None else before)
    if not studies:
        raise UsageError(
            f"no study that the plan of {comparison.name} was frozen on is in the database any more: put a backup of "
            "it back, or begin a new comparison: python -m search.launch --study NEW"
        )
    for study in studies:
        check_source(study)
        best_trial(study)  # raises where none is COMPLETE
        if by_hand(study.trials):
            say(screen(), f"{study.name}: {by_hand(study.trials)}")
    terms, source = comparison.terms(), _source(settings, studies)
    assert terms is not None, "there are studies"
    with naming(comparison.folder / "data"):
        prepared = comparison.prepared(source, comparison.locked_division(), rehash=True)
    device = choose_device(_device_here(settings.worker))
    finalists, races = _finalists(settings.finalists, studies, before)
    return Final(
        settings=settings,
        comparison=comparison,
        prepared=prepared,
        preprocessing=comparison.transformed(prepared, terms.preprocess),
        studies=studies,
        finalists=finalists,
        races=races,
        wanted={study.model: candidates(study, finalists) for study in studies},
        crew=plan_crew(settings.worker, device, torch.cuda.device_count(), prepared.lock.side),
        signals=signals,
        last_words=last_words,
        console=screen(),
    )


def _device_here(asked: WorkerSettings) -> str:
    """Of this command, which predicts; that of the workers may be found on other nodes of a Ray alone."""
    return "auto" if asked.ray_address is not None and asked.device == "cuda" else asked.device


def _finalists(asked: int | None, studies: Sequence[StudySummary], before: AnalysisPlan | None) -> tuple[int, bool]:
    """How many best configurations of each model are retrained, and whether they race.

    Those of the last plan are retrained as that has it, also where it is of an earlier version.
    """
    known = None if before is None else planned_finalists(before, studies)
    finalists = asked or known or FINALISTS
    if before is not None and are_planned(before, studies, finalists):
        return finalists, RACE in before.settings
    return finalists, finalists > 1


def _source(settings: FinalizeSettings, studies: Sequence[StudySummary]) -> str | None:
    """The patches: those that were searched on, where no others are named."""
    return settings.common.data or studies[0].settings.get("source")


def used(final: Final) -> FinalizeSettings:
    """The settings with what was left open as it is settled by now."""
    settings, studies = final.settings, final.studies
    data = data_source(_source(settings, studies))
    weights = settings.vgg16_weights or next(
        filter(None, (study.settings.get("vgg16_weights") for study in studies)), None
    )
    return replace(
        settings,
        finalists=final.finalists,
        vgg16_weights=weights_option(load_models(tuple(study.model for study in studies)), weights),
        common=replace(settings.common, data=data, study=final.comparison.name),
        worker=settled(settings.worker, final.crew),
    )


def planned(final: Final) -> str:
    """A digest of all that can be known of a plan before its members are trained."""
    parts = (
        final.prepared.fingerprint,
        final.prepared.lock.digest,
        final.settings.draws,
        [(model, [candidate.key for candidate in wanted]) for model, wanted in final.wanted.items()],
        # What follows is named where it is there alone, so that all else is as it was before there was any.
        *([("margin", final.settings.margin)] if final.settings.margin is not None else []),
        *([(MOST_TIME, final.settings.max_ms_per_patch)] if final.settings.max_ms_per_patch is not None else []),
        *([(RACE, RULE)] if final.races else []),
        *(["control"] if final.settings.control else []),
    )
    return sha256(repr(parts).encode()).hexdigest()
