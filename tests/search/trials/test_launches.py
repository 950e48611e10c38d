"""Which launches are alive, whatever the clocks say; and trials that are asked for under a lost lease."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from searches import searching

from search.trials.launches import MISSED_BEATS, Presence, is_alive
from studies.ledger.ledger import BEAT_SECONDS, Launch, Ledger


@pytest.fixture
def ledger(storage: RDBStorage) -> Ledger:
    return Ledger(storage.engine)


def seen(ledger: Ledger, study: str = "idc") -> Launch:
    (launch,) = ledger.open_launches(study)
    return launch


def test_a_launch_is_dead_after_three_missed_beats(ledger: Ledger) -> None:
    Presence(ledger, "idc")
    launch = seen(ledger)
    assert is_alive(launch)
    late = MISSED_BEATS * BEAT_SECONDS
    for host in (launch.host, "elsewhere"):
        assert is_alive(replace(launch, host=host, silent=late - 1))
        assert not is_alive(replace(launch, host=host, silent=late + 1))


def test_on_its_own_host_a_launch_is_dead_with_its_process(ledger: Ledger) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = psutil.Process(sleeper.pid).create_time() - psutil.boot_time()
    ledger.begin_launch("idc", socket.gethostname(), sleeper.pid, started)
    launch = seen(ledger)
    assert is_alive(launch)
    assert not is_alive(replace(launch, pid_started=started - 5))  # its number was given to another process
    sleeper.communicate(b"\n")
    assert not is_alive(launch)
    assert is_alive(replace(launch, host="elsewhere"))  # nobody can tell from here


def test_a_clock_that_is_set_makes_no_living_process_another_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    Presence(ledger, "idc")
    launch = seen(ledger)
    boot = psutil.boot_time()
    for hours in (-2, 2):  # the kernel derives the time of its start from the clock as it is now
        monkeypatch.setattr("psutil.boot_time", lambda hours=hours: boot + hours * 3600)
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda hours=hours: boot + hours * 3600)
        assert psutil.Process(os.getpid()).create_time() > boot + hours * 3600
        assert is_alive(launch)


def test_a_trial_that_was_asked_for_under_a_lost_lease_is_given_up_and_handed_out_once(
    storage: RDBStorage, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presence = Presence(ledger, "idc")
    search = searching(storage, presence, tmp_path, wanted=1)
    ask = search.study.ask
    asked = []

    def slept() -> object:
        """Between asking and owning, the lease runs out and another launch takes it for a moment."""
        trial = ask()
        asked.append(trial.number)
        if len(asked) == 1:
            ledger._give_back("idc-cnn", presence.launch)
        return trial

    monkeypatch.setattr(search.study, "ask", slept)
    job = search.next_job()
    assert job is not None
    assert asked == [0, 0]  # the same trial, handed out under a lease that held
    assert [trial.state for trial in search.study.trials] == [TrialState.RUNNING]
    assert ledger.owner("idc-cnn", 0) == presence.launch
    assert search.next_job() is None
