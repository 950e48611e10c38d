"""Has workers train the members of candidates: which are missing, on which machines, and what is told meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from search.command.terminal import LOGGER, Standing, Terminal, say
from search.final.beginning import Final
from search.final.candidates import Candidate
from search.final.member_files import member_folder, stored_member
from search.final.plan import last_plan, members_of
from search.final.race import Race
from search.final.retraining import Members
from search.training.jobs import WorkerContext
from search.trials.launches import scratch
from search.workers.bridge import run_work
from search.workers.cluster import Crew, RaySession, check_both, crew_on
from search.workers.machines import of_nodes
from search.workers.trainable import TrialWorker
from studies.storage.patience import interrupt


def train_members(
    final: Final, context: WorkerContext, folds: int, candidates: Sequence[Candidate], races: Sequence[Race] = ()
) -> None:
    """Has workers train the members that are not stored yet, and shows how far they are.

    Args:
        final: the finalization.
        context: what workers are given.
        folds: members of a candidate.
        candidates: whose members.
        races: in which some of them may be dropped.

    Raises:
        SearchError: members failed again and again, or Ray did.
        Interrupted: a signal came; the members that are done are kept.
    """
    ray = RaySession(final.settings.worker, final.last_words)
    check = partial(check_both, final.signals, ray)

    def told(line: str) -> None:
        LOGGER.info("%s", line)
        say(final.console, line)

    interrupt(final.comparison.storage.engine, check)
    members = Members(
        candidates,
        folds=folds,
        folder=final.comparison.folder,
        lock_digest=final.prepared.lock.digest,
        check=check,
        races=races,
        told=told,
    )
    terminal = Terminal(
        title=f"{final.comparison.name}: retraining, {final.crew}",
        objective="auc",
        standings=lambda: {"members": Standing({"COMPLETE": members.done}, members.all, None)},
        console=final.console,
    )
    members.watcher = terminal
    _tell_members(final, members, terminal.title)
    if members.done == members.all:
        return
    with (
        terminal.shown(),
        ray,
        scratch() as folder,
    ):
        ray.ready()
        with final.signals.deferred():
            crew = _crew_of(final, check)
            run_work(
                members,
                replace(context, device=crew.device),
                trainable=TrialWorker,
                workers=crew.workers,
                resources=crew.resources,
                scratch=Path(folder),
                tell=terminal.warn,
                results=None if final.crew.address is None else final.comparison.folder,
            )


def _crew_of(final: Final, check: Callable[[], None]) -> Crew:
    """The workers: on the nodes of the Ray that was joined, where it was; this command itself computes where it is."""
    if final.crew.address is None:
        return final.crew
    machines = of_nodes(partial(say, final.console), check)
    return crew_on(machines, final.settings.worker, final.prepared.lock.side)


def _tell_members(final: Final, members: Members, title: str) -> None:
    if final.prepared.few_folds:
        say(final.console, final.prepared.few_folds)
    say(final.console, f"{title}, {final.precision}; {members.done} of {members.all} members are trained")
    lost = _lost_members(final)
    if lost and final.settings.reopen is None:
        folder = final.comparison.folder
        say(
            final.console,
            f"{lost} members that the plan was frozen with are lost, and trained again; where they come out otherwise, "
            f"as on another machine, that is no result: better to put {folder}/MODEL/members back from a backup",
        )


def _lost_members(final: Final) -> int:
    """Members of the last plan that are not there any more."""
    before = last_plan(final.comparison)
    places = {
        (candidate.model, candidate.trial): member_folder(final.comparison.folder, candidate)
        for wanted in final.wanted.values()
        for candidate in wanted
    }
    planned = [] if before is None else members_of(before[0])
    return sum(
        stored_member(places[model, trial], fold) is None
        for model, trial, _, fold in planned
        if (model, trial) in places
    )
