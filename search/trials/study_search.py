"""Decides for one study of a launch: what is tried next, when it ends, and what is written down.

The database is the only truth: before a trial is handed out, trials are counted in it, under a lease, so that several
launches together end with exactly the number that was asked for.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import optuna
from optuna.distributions import check_distribution_compatibility, json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from models._spec import Model, ParamValue
from search.comparison import space_of
from search.errors import UsageError
from search.training.jobs import EpochReport, Job, forget_checkpoint
from search.training.seeds import derive_seed
from search.trials.enqueue import check_inside
from search.trials.ignored import ignored
from search.trials.in_hand import InHand
from search.trials.launches import Presence
from studies.ledger.hosts import keep_hosts
from studies.ledger.ledger import Ledger
from studies.measure import NOW, Measure
from studies.records import BEST_EPOCH, TRAINED_AS, HostLent
from studies.storage.attributes import at_once, set_attributes
from studies.storage.results import CUT_SHORT, IGNORED, own_trials, trained_as, trained_here

Refused = Callable[[Job, EpochReport, str], object]
RUNNING, LOST = "RUNNING", "LOST"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

DOES_NOT_FIT = "does not fit"
"""Constraint of Optuna's, above 0 for a configuration that is too large, by which samplers keep away from its like."""


def _untold(job: Job, report: EpochReport, state: str) -> None:
    """For nobody."""


def _of_any_size(params: Mapping[str, ParamValue]) -> None:
    """No reason against a configuration."""


def _never_flat(trials: Sequence[FrozenTrial], left: int) -> None:
    """No reason to end a search."""


@dataclass(frozen=True)
class Counts:
    """Trials of a study by state, and how many are wanted in the end."""

    states: Counter[str]
    wanted: int

    @property
    def finished(self) -> int:
        """COMPLETE, PRUNED and FAIL together."""
        return sum(self.states[state.name] for state in FINISHED)

    @property
    def taken(self) -> int:
        """Finished or running."""
        return self.finished + self.states["RUNNING"]


@dataclass(frozen=True)
class Outlook:
    """What is still to come of a study.

    Attributes:
        progress: share of the wanted trials that are finished or running.
        left: trials that are still to be handed out.
        seconds: mean of a trial that has ended, pruned ones included; None before the first.
    """

    progress: float
    left: int
    seconds: float | None


class StudySearch:
    """Hands out the trials of one study and writes down what becomes of them."""

    def __init__(
        self,
        study: optuna.Study,
        model: Model,
        *,
        storage: RDBStorage,
        ledger: Ledger,
        presence: Presence,
        make_sampler: Callable[[int], BaseSampler],
        wanted: int,
        epochs: int,
        objective: str,
        seed: int,
        checkpoints: Path,
        measure: Measure = NOW,
        too_large: Callable[[Mapping[str, ParamValue]], str | None] = _of_any_size,
        flat: Callable[[Sequence[FrozenTrial], int], str | None] = _never_flat,
    ) -> None:
        """See ``search.launch`` for where each of these comes from."""
        self.study = study
        self.model = model
        self.wanted = wanted
        self.stopped = ""  # why it ends before that
        self._storage = storage
        self._places: dict[int, dict[str, ParamValue]] = {}  # trial -> its worker and device, as the database has them
        self._presence = presence
        self._hand = InHand(study, storage=storage, ledger=ledger, presence=presence)
        self._make_sampler = make_sampler
        self._epochs = epochs
        self._objective = objective
        self._seed = seed
        self._checkpoints = checkpoints
        self._measure = measure
        self._too_large = too_large
        self._flat = flat
        self._space = space_of(model)

    def counts(self) -> Counts:
        """Trials by state, as the database has them now."""
        return self._counted(self.study.get_trials(deepcopy=False))

    def _counted(self, trials: Sequence[FrozenTrial]) -> Counts:
        return Counts(Counter(trial.state.name for trial in own_trials(trials)), self.wanted)

    def outlook(self) -> Outlook:
        """How much of the study is left, and what a trial of it takes."""
        trials = self.study.get_trials(deepcopy=False)
        taken = self._counted(trials).taken
        ended = [trial.user_attrs["seconds"] for trial in trials if "seconds" in trial.user_attrs]
        mean = sum(ended) / len(ended) if ended else None
        return Outlook(taken / self.wanted, max(0, self.wanted - taken), mean)

    def anything_to_do(self) -> bool:
        """Whether a trial could be handed out now; trials of dead launches are taken back first."""
        with self._hand.lease():
            self._hand.reclaim()
        return self.counts().taken < self.wanted

    def failures(self) -> dict[int, str]:
        """Why each trial failed, by number, in this launch or another, where none has gone well so far; else nothing.

        Those that did not fit are none of these.
        """
        return _reasons(trial for trial in self._none_well() if _failed(trial))

    def misfits(self) -> dict[int, str]:
        """Why each of a study's first trials did not fit, or failed, where none has gone well so far; else nothing.

        What is left out ends in no time: beside an older trial that is still in its first epoch, or waits to go on, it
        says nothing of the model. So these are the trials before the first that has not ended.
        """
        return _reasons(takewhile(lambda trial: trial.state in FINISHED, self._none_well()))

    def _none_well(self) -> list[FrozenTrial]:
        """What has been tried, by number; nothing where a trial of it goes well."""
        trials = self._tried()
        return [] if any(map(_goes_well, trials)) else trials

    def _tried(self) -> list[FrozenTrial]:
        """Without those that were refused before they were tried, or told by hand, which say nothing of the model."""
        trials = [one for one in own_trials(self.study.get_trials(deepcopy=False)) if "refused" not in one.user_attrs]
        name, ended = self.study.study_name, (TrialState.COMPLETE, TrialState.PRUNED)
        return [trial for trial in trials if trial.state not in ended or trained_here(name, trial)]

    def peak_memory(self) -> int | None:
        """Bytes of the largest trial so far; None where none was measured."""
        trials = self.study.get_trials(deepcopy=False)
        told = [trial.user_attrs["peak_memory"] for trial in trials if "peak_memory" in trial.user_attrs]
        return max(told, default=None)

    def unmeasured(self) -> bool:
        """Whether no trial has ended or is running that tells how much memory trials need."""
        return not self._hand.held and self.peak_memory() is None

    def next_job(self, refused: Refused = _untold) -> Job | None:
        """The next trial: one that was interrupted, enqueued, or chosen by the sampler; None where none is left.

        One that was enqueued with parameters outside of the space ends here, as FAIL, and so does, as PRUNED, one that
        is too large; ``refused`` is told of it.
        """
        while (trial := self._ask()) is not None:
            if reason := self._outside(trial):
                refused(*self._refuse(trial, reason))
                continue
            job = self._drawn(trial)
            if (reason := self._too_large(job.params)) is None:
                return job
            refused(job, EpochReport(0, {}, 0.0, failure=reason), self._left_out(job, reason))
        return None

    def _outside(self, trial: Trial) -> str | None:
        """What of a trial that somebody enqueued or added lies outside of the space; None where nothing does."""
        stored = self._storage.get_trial(self._hand.held[trial.number].trial_id)
        try:
            for params in (stored.system_attrs.get("fixed_params", {}), stored.params):
                check_inside(params, self._space, "enqueued")
            for name, distribution in stored.distributions.items():
                check_distribution_compatibility(json_to_distribution(self._space[name]), distribution)
        except (UsageError, ValueError) as error:
            return str(error)
        return None

    def _refuse(self, trial: Trial, reason: str) -> tuple[Job, EpochReport, str]:
        job = self._job(trial)
        state = self._written_down(job, lambda: self._fail(job, reason, None, refused=True))
        return job, EpochReport(0, {}, 0.0, failure=reason), state

    def _left_out(self, job: Job, reason: str) -> str:
        return self._written_down(job, lambda: self._does_not_fit(job, reason, None, refused=True))

    def _drawn(self, trial: Trial) -> Job:
        with at_once(self._storage, self._hand.held[trial.number].trial_id):
            self.model.suggest(trial)
            if names := ignored(self.model, trial.params, trial.distributions):
                trial.set_user_attr(IGNORED, names)
            if "seed" not in trial.user_attrs:  # a trial that goes on keeps its own, whatever --seed is now
                trial.set_user_attr("seed", self.trial_seed(trial.number))
        return self._job(trial)

    def _ask(self) -> Trial | None:
        """A trial that is ours; None where none is left. What is asked for under a lease that was lost is given up."""
        while True:
            with self._hand.lease():
                trials = self._hand.reclaim()
                if (taken := self._counted(trials).taken) >= self.wanted or self._ends_flat(trials, taken):
                    return None
                self.study.sampler = self._make_sampler(derive_seed(self._seed, _number_asked_next(trials)))
                trial = self.study.ask()
                if self._hand.take(trial, trials):
                    return trial

    def _ends_flat(self, trials: Sequence[FrozenTrial], taken: int) -> bool:
        """Whether nothing is left to gain: then those that are in hand are the last, and the study knows why."""
        reason = None if self.stopped else self._flat(trials, self.wanted - taken)  # what waits again is trained
        if reason is not None:
            self.wanted, self.stopped = taken, reason
            self.study.set_user_attr("settings", {**self.study.user_attrs.get("settings", {}), "stopped": reason})
        return reason is not None

    def _job(self, trial: Trial) -> Job:
        return Job(
            label=f"{self.model.name} {trial.number}",
            model=self.model.name,
            number=trial.number,
            params=dict(trial.params),
            seed=trial.user_attrs.get("seed", 0),  # one that is refused has none
            epochs=self._epochs,
            last_epoch=self._epochs,
            checkpoint=self._checkpoints / str(trial.number),
            reported=max(self._hand.held[trial.number].values, default=0),
            measure=self._measure,
        )

    def trial_seed(self, number: int) -> int:
        """The seed of a trial: from its number, never from its worker."""
        return derive_seed(self._seed, "trial", number)

    def report(self, job: Job, report: EpochReport) -> str:
        """Writes down an epoch; the state of the trial after it, or "LOST" where it is not ours any more."""
        return self._written_down(job, lambda: self._note(job, report))

    def worker_lost(self, job: Job, report: EpochReport) -> str:
        """Ends a trial whose worker died more often than is forgiven; as ``report``."""
        end = self._does_not_fit if report.no_room else self._fail
        return self._written_down(job, lambda: end(job, str(report.failure), None, **report.attributes))

    def give_back(self, job: Job) -> str:
        """Puts a trial back to WAITING whose worker died before it began with it; its state, or "LOST"."""
        return TrialState.WAITING.name if self._hand.give_back(job.number) else LOST

    def keep_hosts(self, lent: Sequence[HostLent]) -> None:
        """Stores which hosts the launch may use."""
        keep_hosts(self._storage.engine, self._presence.launch, lent)

    def _written_down(self, job: Job, note: Callable[[], str]) -> str:
        """The state that ``note`` finds for the trial; what it sets is written by then, in one transaction."""
        try:
            if self._hand.is_mine(job.number):
                with at_once(self._storage, self._hand.held[job.number].trial_id):
                    state = note()
                if state != RUNNING:
                    self._let_go(job.number)
                    forget_checkpoint(job.checkpoint)
                return state
        except UpdateFinishedTrialError:  # somebody ended it by hand, in the dashboard
            forget_checkpoint(job.checkpoint)
        self._let_go(job.number)
        return LOST

    def _let_go(self, number: int) -> None:
        self._places.pop(number, None)
        self._hand.let_go(number)

    def _note(self, job: Job, report: EpochReport) -> str:
        trial, values = self._hand.held[job.number].trial, self._hand.held[job.number].values
        if report.failure is not None and report.no_room:
            return self._does_not_fit(job, report.failure, report)
        if report.failure is not None and not (report.keeps_value and values):
            return self._fail(job, report.failure, report)
        if report.failure is not None:
            return self._finish(
                job, replace(report, epoch=max(values)), TrialState.PRUNED, **{CUT_SHORT: report.failure}
            )
        if report.epoch not in values:
            values[report.epoch] = report.scores[self._objective]
            trial.report(values[report.epoch], report.epoch)
        if report.epoch >= job.last_epoch:
            return self._finish(job, report, TrialState.COMPLETE)
        if report.epoch >= max(values) and trial.should_prune():  # one that is told again was judged before
            return self._finish(job, report, TrialState.PRUNED)
        self._place(job.number, report)
        return RUNNING

    def _place(self, number: int, report: EpochReport) -> None:
        """Writes down on which worker a trial is, with the first epoch there: search.status tells it."""
        where: dict[str, ParamValue] = {
            key: report.attributes[key] for key in ("worker", "device") if key in report.attributes
        }
        if where != self._places.get(number):
            self._places[number] = where
            set_attributes(self._storage, self._hand.held[number].trial_id, where)

    def release(self) -> None:
        """Puts every trial that this launch still has in hand back to WAITING, to be handed out again."""
        self._hand.release()

    def _finish(self, job: Job, report: EpochReport | None, state: TrialState, **more: ParamValue) -> str:
        values = self._hand.held[job.number].values
        best_epoch = self._measure.epoch(values)
        value = values[best_epoch if state == TrialState.COMPLETE else max(values)]
        trained: dict[str, ParamValue] = {
            BEST_EPOCH: best_epoch,
            TRAINED_AS: trained_as(self.study.study_name, job.number),
        }
        self._end(job, report, state, [value], **trained, **more)
        return state.name

    def _fail(self, job: Job, reason: str, report: EpochReport | None, **more: ParamValue) -> str:
        self._end(job, report, TrialState.FAIL, None, failure=reason, **more)
        return TrialState.FAIL.name

    def _does_not_fit(self, job: Job, reason: str, report: EpochReport | None, **more: ParamValue) -> str:
        """Ends a trial that is too large, be it for the memory or for its user; with its value where it has one."""
        self._hand.held[job.number].trial.set_constraint(DOES_NOT_FIT, 1.0)
        if values := self._hand.held[job.number].values:
            last = None if report is None else replace(report, epoch=max(values))
            return self._finish(job, last, TrialState.PRUNED, **{CUT_SHORT: reason}, **more)
        about: dict[str, ParamValue] = {BEST_EPOCH: 0, TRAINED_AS: trained_as(self.study.study_name, job.number)}
        self._end(job, report, TrialState.PRUNED, None, **about, **{CUT_SHORT: reason}, **more)
        return TrialState.PRUNED.name

    def _end(
        self, job: Job, report: EpochReport | None, state: TrialState, values: list[float] | None, **more: ParamValue
    ) -> None:
        """Sets what ``study.tell`` would, without its reading of what was set in this very transaction."""
        running = self._hand.held[job.number]
        told = {} if report is None else {**report.attributes, "epochs": report.epoch, "cost": running.cost(report)}
        set_attributes(self._storage, running.trial_id, {**told, **more})
        self._storage.set_trial_state_values(running.trial_id, state, values)


def _failed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL


def _left_out(trial: FrozenTrial) -> bool:
    """Whether a trial did not fit, and has no value."""
    return CUT_SHORT in trial.user_attrs and trial.value is None


def _goes_well(trial: FrozenTrial) -> bool:
    """Whether a trial has ended as it should, or has come through an epoch and goes on."""
    if trial.state in FINISHED:
        return not _failed(trial) and not _left_out(trial)
    return bool(trial.intermediate_values)


def _reasons(trials: Iterable[FrozenTrial]) -> dict[int, str]:
    told = ((trial.number, trial.user_attrs) for trial in trials)
    return {number: str(attrs.get("failure") or attrs.get(CUT_SHORT, "")) for number, attrs in told}


def _number_asked_next(trials: Sequence[FrozenTrial]) -> int:
    """The number of the trial that ``study.ask`` will hand out: the first that waits, else a new one.

    It seeds the sampler. One that is seeded alike at every start repeats its trials, and one that is seeded by how many
    there are gives the same parameters to a trial that was cut off before it had any and to the next new one.
    """
    return next((trial.number for trial in trials if trial.state == TrialState.WAITING), len(trials))
