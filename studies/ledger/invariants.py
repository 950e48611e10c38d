"""What must be true of a database at any time, asked of the database alone."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from functools import partial

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from studies.ledger import chain
from studies.ledger.ledger import Launch, Ledger
from studies.measure import Measure, measure_of
from studies.storage.definition import definition_of, own_studies
from studies.storage.results import CUT_SHORT, FINISHED, own_trials, trained_here
from studies.storage.studies import quiet_optuna


def broken(storage: RDBStorage, is_alive: Callable[[Launch], bool], comparison: str = "") -> list[str]:
    """Every invariant that does not hold, in words; empty where all is well.

    Args:
        storage: the database.
        is_alive: whether a launch that has not ended in order is still at work.
        comparison: whose studies are looked at, all where it is empty. The chain is one for all of them.
    """
    ledger = Ledger(storage.engine)
    with quiet_optuna():
        ours = own_studies(storage, comparison)
        studies = [optuna.load_study(study_name=study.name, storage=storage) for study in ours]
    found = [
        problem
        for one, study in zip(ours, studies, strict=True)
        for problem in _of_study(one.comparison, study, ledger, is_alive)
    ]
    of_all = "in the chain of the whole database: " if comparison else ""
    return [*found, *(f"{of_all}{problem}" for problem in chain.broken(storage.engine))]


def left_running(running: Iterable[int], owners: Mapping[int, str], alive: Container[str]) -> list[int]:
    """Trials whose launch was killed: they wait for the next launch, which takes them up again.

    Args:
        running: numbers of the trials that are RUNNING.
        owners: the launch that each trial was last handed to.
        alive: the launches that are at work.
    """
    return [number for number in running if owners.get(number) not in alive]


def _of_study(comparison: str, study: optuna.Study, ledger: Ledger, is_alive: Callable[[Launch], bool]) -> list[str]:
    trials = own_trials(study.get_trials(deepcopy=False))
    measure = measure_of(definition_of(study.user_attrs) or {})
    look = partial(_alive_and_left, comparison, study.study_name, ledger, is_alive)
    alive, left = look(trials)
    if left:  # a launch may end in order, or begin, between the reads of one look
        left &= look(own_trials(study.get_trials(deepcopy=False)))[1]
    problems = [
        *_counted(study, trials, at_rest=not alive),
        *_running(left),
        *_repeated(trials),
        *(problem for trial in trials for problem in _of_trial(study.study_name, trial, measure)),
    ]
    return [f"{study.study_name}: {problem}" for problem in problems]


def _counted(study: optuna.Study, trials: Sequence[FrozenTrial], *, at_rest: bool) -> list[str]:
    settings = study.user_attrs.get("settings", {})
    wanted = settings.get("most_trials", settings.get("trials"))  # the last launch may have asked for fewer
    finished = sum(trial.state.name in FINISHED for trial in trials)
    if wanted is not None and at_rest and finished > wanted:
        return [f"{finished} trials are finished, {wanted} were asked for"]
    return []


def _alive_and_left(
    comparison: str, study: str, ledger: Ledger, is_alive: Callable[[Launch], bool], trials: Sequence[FrozenTrial]
) -> tuple[set[str], set[int]]:
    """The launches that are at work, and the trials that are RUNNING although none of these has them."""
    alive = {launch.id for launch in ledger.open_launches(comparison) if is_alive(launch)}
    running = (trial.number for trial in trials if trial.state == TrialState.RUNNING)
    return alive, set(left_running(running, ledger.owners(study), alive))


def _running(left: Collection[int]) -> list[str]:
    if not left:
        return []
    return [f"RUNNING without a launch that is alive: {_numbers(sorted(left))} (the next launch takes them up)"]


def _repeated(trials: Sequence[FrozenTrial]) -> list[str]:
    """A configuration is tried twice only where somebody enqueued it."""
    seen: dict[str, int] = {}
    problems = []
    for trial in trials:
        if not trial.params or "fixed_params" in trial.system_attrs:
            continue
        key = repr(sorted(trial.params.items()))
        if key in seen:
            problems.append(f"trial {trial.number} repeats the configuration of trial {seen[key]}")
        seen.setdefault(key, trial.number)
    return problems


def _of_trial(study: str, trial: FrozenTrial, measure: Measure) -> list[str]:
    steps = sorted(trial.intermediate_values)
    problems = []
    if steps != list(range(1, len(steps) + 1)):
        problems.append(f"trial {trial.number} has holes in its epochs: {_numbers(steps)}")
    if trial.state == TrialState.COMPLETE and not trained_here(study, trial):
        problems.append(f"trial {trial.number} is COMPLETE, but no launch has trained it: added or told by hand")
    elif trial.state == TrialState.COMPLETE and (not steps or trial.value != _value(trial, measure)):
        chosen = measure.chosen
        problems.append(f"trial {trial.number} is COMPLETE with {trial.value}, which is not its {chosen} epoch's value")
    if trial.state == TrialState.PRUNED and not steps and CUT_SHORT not in trial.user_attrs:
        problems.append(f"trial {trial.number} is PRUNED without an epoch")
    if trial.state == TrialState.FAIL and not trial.user_attrs.get("failure"):
        problems.append(f"trial {trial.number} is FAIL without a reason")
    return problems


def _value(trial: FrozenTrial, measure: Measure) -> float:
    return trial.intermediate_values[measure.epoch(trial.intermediate_values)]


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
