"""What a launch tells Prometheus, against what its database holds."""

from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from searches import searching
from sqlalchemy.exc import OperationalError

from search.training.jobs import EpochReport
from search.trials.launches import Presence
from search.trials.metrics import LOOK_SECONDS, Metrics
from studies.ledger.ledger import Ledger
from studies.storage.patience import Patience, set_patience


def numbers(metrics: Metrics) -> dict[str, float]:
    """Name and labels -> value."""
    lines = [line for line in metrics.text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_numbers_are_those_of_the_database_as_of_the_last_look(storage: RDBStorage, tmp_path: Path) -> None:
    now = [100.0]
    search = searching(storage, Presence(Ledger(storage.engine), "idc"), tmp_path, wanted=3, epochs=1)
    metrics = Metrics(9, [search], storage.engine, lambda: now[0])
    assert not any("study=" in name for name in numbers(metrics)), "not looked yet"
    jobs = [search.next_job() for _ in range(2)]
    assert jobs[0] is not None
    told = {"seconds": 7.5, "device": "cuda", "worker": "w"}
    assert search.report(jobs[0], EpochReport(1, {"auc": 0.8}, 0.1, told)) == "COMPLETE"
    metrics.staffed(1, 2)
    metrics.look()
    read = numbers(metrics)
    states = {name: value for name, value in read.items() if name.startswith("histotune_trials{")}
    assert {name.split('"')[3]: value for name, value in states.items()} == {
        "WAITING": 0, "RUNNING": 1, "COMPLETE": 1, "PRUNED": 0, "FAIL": 0,
    }  # fmt: skip
    assert read['histotune_trials_wanted{study="idc-cnn"}'] == 3
    assert read['histotune_best_value{study="idc-cnn"}'] == 0.8
    assert read['histotune_device_seconds_total{study="idc-cnn",device="cuda"}'] == 7.5
    assert (read["histotune_workers_placed"], read["histotune_workers_waiting"]) == (1, 2)
    search.next_job()
    metrics.look()
    assert numbers(metrics) == read, "too soon for another look"
    now[0] += LOOK_SECONDS
    metrics.look()
    assert numbers(metrics)['histotune_trials{study="idc-cnn",state="RUNNING"}'] == 2


def test_without_a_port_nobody_looks(storage: RDBStorage, tmp_path: Path) -> None:
    search = searching(storage, Presence(Ledger(storage.engine), "idc"), tmp_path)
    metrics = Metrics(None, [search], storage.engine)
    metrics.look()
    assert "study=" not in metrics.text()


def test_a_database_that_is_away_is_told_while_it_is(
    storage: RDBStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(f"sqlite:///{tmp_path}/x.db", 60)
    set_patience(storage.engine, patience)
    metrics, seen = Metrics(9, [], storage.engine), list[dict[str, float]]()
    monkeypatch.setattr("studies.storage.patience.why_away", lambda _: "held")
    monkeypatch.setattr("studies.storage.patience._PAUSE_SECONDS", 0.2)

    def away_at_first() -> int:
        seen.append(numbers(metrics))
        if len(seen) < 3:
            raise OperationalError("", {}, Exception("held"))
        return 1

    assert patience(away_at_first) == 1
    seen.append(numbers(metrics))
    assert [read["histotune_database_waits_total"] for read in seen] == [0, 1, 1, 1]
    seconds = [read["histotune_database_wait_seconds_total"] for read in seen]
    assert seconds[0] == 0 < 0.15 < seconds[1] < seconds[2] <= seconds[3]
