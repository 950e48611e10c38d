"""The end of a launch: how each study stands, and what can be done next."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from search.command.outcome import command_line
from search.command.settings import CommonSettings
from search.command.terminal import Standing, say
from search.comparison import Comparison
from search.errors import SearchFailed
from search.trials.study_search import StudySearch
from studies.secrets import bare
from studies.storage.results import by_hand, leader, own_trials, summarise, taken_over, way_out, why_no_best


def tell_end(console: Console, common: CommonSettings, comparison: Comparison, searches: Sequence[StudySearch]) -> None:
    """Says how the studies stand, and the next step where it can be taken; a time limit has told its own before.

    Raises:
        SearchFailed: a study holds all its trials, and none is COMPLETE.
    """
    say(console, "\n".join(map(_closing, searches)))
    _check_outcome(searches)
    if all(standing(search).best for search in searches):
        say(console, f"next: {_next(common, comparison)}")


def _next(common: CommonSettings, comparison: Comparison) -> str:
    """To finalize, which takes all studies of a comparison, also those of an earlier launch."""
    studies = (summarise(comparison.load_study(model), importance=False) for model in comparison.models())
    lacking = next((study for study in studies if study.best is None), None)
    if lacking is None:
        return command_line("finalize", _place(common))
    return f"{why_no_best(lacking)}. {way_out(lacking)}"


def standing(search: StudySearch) -> Standing:
    """How a study stands now."""
    trials = own_trials(search.study.get_trials(deepcopy=False))
    first = leader(search.study.study_name, trials)
    best = None if first is None else (first.value or 0.0, first.number, first.params)
    return Standing(Counter(trial.state.name for trial in trials), search.wanted, best)


def _closing(search: StudySearch) -> str:
    now = standing(search)
    states = ", ".join(f"{count} {state}" for state, count in sorted(now.states.items()))
    best = "no trial is COMPLETE" if now.best is None else f"best {now.best[0]:.4f} (trial {now.best[1]})"
    study = summarise(search.study, importance=False)
    told = [f"{search.study.study_name}: {states}; {best}", search.stopped, by_hand(study.trials), taken_over(study)]
    return "; ".join(filter(None, told))


def _check_outcome(searches: Sequence[StudySearch]) -> None:
    """A study that holds all its trials and has no best one can be neither finalized nor searched on as it is.

    Raises:
        SearchFailed: there is one; says why its trials failed, and the way out.
    """
    failed = [
        summarise(search.study, importance=False)
        for search in searches
        if (now := standing(search)).best is None and now.finished >= now.wanted
    ]
    if failed:
        raise SearchFailed(f"{'; '.join(map(why_no_best, failed))}. {way_out(failed[0])}")


def _place(common: CommonSettings) -> list[str]:
    """The options by which another command finds this comparison."""
    place = ["--study", common.study]
    if common.runs != Path("runs"):
        place += ["--runs", str(common.runs)]
    if common.storage not in (f"sqlite:///{common.runs}/studies.db", os.environ.get("HISTOTUNE_STORAGE")):
        place += ["--storage", bare(common.storage)]  # a password is taken from $PGPASSWORD or ~/.pgpass
    return place
