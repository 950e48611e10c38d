"""``python -m search.status``: studies, trials by state, the best so far, and what is running now."""

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from data_utils.command import one_line, worded
from search.command.outcome import run_command
from search.command.settings import StatusSettings, parse_status

if TYPE_CHECKING:
    from rich.console import Group
    from sqlalchemy.engine import Engine

    from studies.records import HostLent, StudySummary, TrialResult


def main(argv: Sequence[str] | None = None) -> int:
    """Looks once, or again and again until Ctrl-C."""
    settings = parse_status(argv)
    if settings.check:
        return _check(settings)
    if settings.watch is None:
        _show(settings, look(settings))
        return 0
    return _watch(settings, settings.watch)


def _check(settings: StatusSettings) -> int:
    """Prints what is wrong, a line each; the exit code."""
    from search.command.outcome import FAILED
    from search.upkeep.checks import problems

    studies = look(settings).entries
    found = problems(settings.common)
    for problem in found:
        sys.stdout.write(f"{worded(problem)}\n")
    sys.stdout.write(f"{_counted(len(studies), 'study', 'studies')} checked, ")
    sys.stdout.write(f"{_counted(len(found), 'problem', 'problems')}\n")
    return FAILED if found else 0


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _watch(settings: StatusSettings, seconds: float) -> int:
    from rich.live import Live

    with Live(_tables(look(settings)), screen=False, auto_refresh=False) as live:
        while not getattr(sys.stdout, "gone", False):
            try:
                time.sleep(seconds)
            except KeyboardInterrupt:
                return 0
            live.update(_tables(look(settings)), refresh=True)
    return 0


@dataclass(frozen=True)
class Seen:
    """What there is.

    Attributes:
        entries: one a study, plain enough for JSON.
        others: names of studies that no launch has made; of none where one comparison is asked for.
    """

    entries: list[dict[str, Any]]
    others: list[str]


def look(settings: StatusSettings) -> Seen:
    """The studies as they are stored now.

    Raises:
        StorageError: there is no database.
        UsageError: it holds no study of the comparison that was asked for.
    """
    import optuna  # takes a second; --help does not wait for it

    from search.errors import UsageError
    from studies.storage.definition import own_studies
    from studies.storage.results import summarise
    from studies.storage.studies import open_existing, quiet_optuna

    storage = open_existing(settings.common.storage)
    wanted = settings.common.study
    with quiet_optuna():
        ours = own_studies(storage, wanted)
        if wanted and not ours:
            raise UsageError(f"the database holds no study of {wanted}; leave out --study to see all that there are")
        studies = [optuna.load_study(study_name=study.name, storage=storage) for study in ours]
        entries = [
            _entry(summarise(study, importance=False), one.comparison, storage.engine)
            for one, study in zip(ours, studies, strict=True)
        ]
        others = set() if wanted else {*optuna.get_all_study_names(storage)} - {study.name for study in ours}
        return Seen(entries, sorted(others))


def _best(trial: "TrialResult", study: "StudySummary") -> dict[str, Any]:
    from studies.storage.results import counted

    return {"trial": trial.number, "value": trial.value, "parameters": counted(trial, study.space)}


def _entry(study: "StudySummary", comparison: str, engine: "Engine") -> dict[str, Any]:
    from studies.findings.ablation import path_of
    from studies.findings.costs import cost_of
    from studies.findings.lessons import edges_of, lessons, rung_of
    from studies.storage.results import by_hand, cut_short, taken_over, way_out

    states = Counter(trial.state for trial in study.trials)
    left, hosts = _at_work(study, comparison, engine)
    running = [_running(trial, trial.number in left) for trial in study.trials if trial.state == "RUNNING"]
    best = next((trial for trial in study.trials if trial.number == study.best), None)
    return {
        "study": study.name,
        "model": study.model,
        "objective": study.definition.get("objective"),
        "trials": dict(sorted(states.items())),
        "finished": sum(states[state] for state in ("COMPLETE", "PRUNED", "FAIL")),
        "wanted": study.settings.get("trials"),
        "by_hand": by_hand(study.trials),
        "taken_over": taken_over(study),
        "best": None if best is None else _best(best, study),
        "cost": asdict(cost_of(study)),
        "running": running,
        "hosts": _hosts(hosts, running),
        "failures": Counter(
            trial.attributes.get("failure", "unknown") for trial in study.trials if trial.state == "FAIL"
        ),
        "cut_short": cut_short(study.trials),
        "lessons": lessons(rung_of(study), edges_of(study), path_of(study)),
        "next": way_out(study) if study.best is None and states["FAIL"] + states["PRUNED"] else None,
    }


def _at_work(study: "StudySummary", comparison: str, engine: "Engine") -> tuple[list[int], "list[HostLent]"]:
    """Trials that nobody works on, although they are RUNNING; and the hosts of the launches that are at work."""
    from search.trials.launches import is_alive
    from studies.ledger.hosts import hosts_of
    from studies.ledger.invariants import left_running
    from studies.ledger.ledger import Ledger

    running = [trial.number for trial in study.trials if trial.state == "RUNNING"]
    if not running:
        return [], []
    ledger = Ledger(engine)
    alive = {launch.id for launch in ledger.open_launches(comparison) if is_alive(launch)}
    return left_running(running, ledger.owners(study.name), alive), hosts_of(engine, alive)


def _running(trial: "TrialResult", left: bool) -> dict[str, Any]:
    epoch, value = trial.curve[-1] if trial.curve else (0, None)
    seconds = None if trial.started is None else round((datetime.now(UTC) - trial.started).total_seconds())
    launch = "died" if left else "alive"
    where = {key: trial.attributes.get(key) for key in ("worker", "device")}  # of none before its first epoch
    return {"trial": trial.number, "epoch": epoch, "value": value, "seconds": seconds, "launch": launch, **where}


def _hosts(told: "list[HostLent]", running: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each host with the workers that it holds, where its launch has told, and trials known to be there."""
    trials: dict[str, list[int]] = {host.host: [] for host in told}
    for trial in running:
        if trial["worker"] and trial["launch"] == "alive":
            trials.setdefault(trial["worker"].rpartition(":")[0], []).append(trial["trial"])
    known = {host.host: host for host in told}
    return [
        {
            "host": host,
            "slots": known[host].slots if host in known else None,
            "reason": known[host].reason if host in known else None,
            "trials": numbers,
        }
        for host, numbers in sorted(trials.items())
    ]


def _show(settings: StatusSettings, seen: Seen) -> None:
    if settings.json:
        sys.stdout.write(json.dumps(seen.entries, indent=2) + "\n")
        return
    from rich.console import Console

    Console().print(_tables(seen))


def _tables(seen: Seen) -> "Group":
    from rich.console import Group
    from rich.text import Text

    parts = [part for entry in seen.entries for part in _parts(entry)]
    if not parts:
        parts.append(Text(worded("the database holds no studies yet: begin with python -m search.launch --model cnn")))
    if seen.others:
        parts.append(Text(one_line(f"of other programs, left alone: {', '.join(seen.others)}"), style="dim"))
    return Group(*parts)


def _parts(entry: dict[str, Any]) -> list[Any]:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_row("trials", ", ".join(f"{count} {state}" for state, count in entry["trials"].items()) or "none")
    table.add_row("finished", f"{entry['finished']} of {entry['wanted']}")
    if entry["by_hand"]:
        table.add_row("by hand", entry["by_hand"])
    if entry["taken_over"]:
        table.add_row("taken over", entry["taken_over"])
    best = entry["best"]
    if best is not None:
        table.add_row(f"best {entry['objective']}", f"{best['value']:.4f} (trial {best['trial']})")
        table.add_row(
            "parameters", Text(", ".join(f"{name} {_short(value)}" for name, value in best["parameters"].items()))
        )
    if any(entry["cost"].values()):
        table.add_row("cost", _cost(entry["cost"]))
    for trial in entry["running"]:
        score = "" if trial["value"] is None else f", {trial['value']:.4f}"
        place = f"trial {trial['trial']}, epoch {trial['epoch']}{score}"
        if trial["launch"] == "died":
            table.add_row("left", f"{place}: left by a launch that died; the same launch command takes it up again")
        else:
            on = "" if trial["worker"] is None else f" on {trial['worker']} ({trial['device']})"
            table.add_row("running", f"{place}, {trial['seconds']} s{on}")
    for host in entry["hosts"]:
        table.add_row("host", Text(_host(host)))
    for label, told in _told(entry):
        table.add_row(label, Text(told))
    if entry["next"] is not None:
        table.add_row("next", Text(worded(entry["next"])))
    return [Text(entry["study"], style="bold"), table]


def _host(host: dict[str, Any]) -> str:
    if host["reason"] is not None:
        return f"{host['host']} gets no trials: {host['reason']}"
    slots = "" if host["slots"] is None else f" with room for {_counted(host['slots'], 'worker', 'workers')}"
    trials = ", ".join(map(str, host["trials"]))
    return f"{host['host']}{slots}{f': trial {trials}' if trials else ''}"


def _told(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """What went wrong with trials, and what the search teaches for the next one."""
    return [
        *(("failed", f"{count} x {reason}") for reason, count in entry["failures"].items()),
        *(("cut short", told) for told in entry["cut_short"]),
        *(("lesson", told) for told in entry["lessons"]),
    ]


def _cost(cost: dict[str, float]) -> str:
    """Of all workers together, in words."""
    spans = {name: str(timedelta(seconds=round(seconds))) for name, seconds in cost.items()}
    return (
        f"{spans['used']} of training and evaluation, {spans['waiting']} waiting; "
        f"saved {spans['saved_by_pruning']} by pruning, {spans['saved_by_cache']} by kept features"
    )


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(run_command(main))
