"""What ``search.status`` says of trials that nobody works on any more."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from stored import own_study

from search.status import main
from search.trials.launches import Presence
from studies.ledger.hosts import keep_hosts
from studies.ledger.ledger import Ledger
from studies.records import HostLent
from studies.storage.attributes import set_attributes
from studies.storage.studies import open_storage

DEAD = 2**22 + 1  # larger than any process id of Linux


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[RDBStorage]:
    """Trial 0 of a launch that was killed, trial 1 of one that is at work."""
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    ledger = Ledger(storage.engine)
    study = own_study(storage)
    for launch in (ledger.begin_launch("idc", socket.gethostname(), DEAD, 0.0), Presence(ledger, "idc").launch):
        trial = study.ask()
        with ledger.lease("idc-cnn", launch):
            assert ledger.own("idc-cnn", trial.number, launch)
    yield storage
    storage.engine.dispose()


@pytest.mark.usefixtures("storage")
def test_a_trial_that_a_dead_launch_left_is_not_shown_as_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", "--runs", str(tmp_path)]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["trials"] == {"RUNNING": 2}
    assert [(trial["trial"], trial["launch"]) for trial in entry["running"]] == [(0, "died"), (1, "alive")]
    assert main(["--runs", str(tmp_path)]) == 0
    left, running = (line for line in capsys.readouterr().out.splitlines() if " epoch 0" in line)
    assert left.split()[0] == "left"
    assert "left by a launch that died" in left
    assert running.split()[0] == "running"


def test_who_is_on_what_is_shown(storage: RDBStorage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, host in enumerate("ab"):
        set_attributes(
            storage,
            storage.get_trial_id_from_study_id_trial_number(1, number),
            {"worker": f"{host}:7", "device": "cuda"},
        )
    assert main(["--json", "--runs", str(tmp_path)]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert [(trial["worker"], trial["device"]) for trial in entry["running"]] == [("a:7", "cuda"), ("b:7", "cuda")]
    assert main(["--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert " s on b:7 (cuda)" in shown
    assert entry["hosts"] == [{"host": "b", "slots": None, "reason": None, "trials": [1]}]


def test_the_hosts_of_a_launch_are_shown_with_their_workers_and_why_one_gets_none(
    storage: RDBStorage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead, alive = (launch.id for launch in Ledger(storage.engine).open_launches("idc"))
    keep_hosts(storage.engine, dead, [HostLent("a", 9), HostLent("gone", 1)])
    keep_hosts(storage.engine, alive, [HostLent("b", 1)])
    keep_hosts(
        storage.engine, alive, [HostLent("a", 1, "RuntimeError: CUDA error"), HostLent("b", 2), HostLent("c", 1)]
    )
    set_attributes(storage, storage.get_trial_id_from_study_id_trial_number(1, 1), {"worker": "b:7", "device": "cpu"})
    assert main(["--json", "--runs", str(tmp_path)]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["hosts"] == [
        {"host": "a", "slots": 1, "reason": "RuntimeError: CUDA error", "trials": []},
        {"host": "b", "slots": 2, "reason": None, "trials": [1]},
        {"host": "c", "slots": 1, "reason": None, "trials": []},
    ]
    assert main(["--runs", str(tmp_path)]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown if line.startswith("host ")] == [
        "host a gets no trials: RuntimeError: CUDA error",
        "host b with room for 2 workers: trial 1",
        "host c with room for 1 worker",
    ]


@pytest.mark.usefixtures("storage")
def test_a_check_counts_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--study", "idc", "--runs", str(tmp_path)]) == 1
    *found, last = capsys.readouterr().out.splitlines()
    assert "RUNNING without a launch that is alive: 0 (" in found[0]
    assert last == f"1 study checked, {len(found)} problems"
