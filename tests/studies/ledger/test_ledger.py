"""Our own tables, on both databases."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from optuna.storages import RDBStorage

from studies.ledger.chain import broken
from studies.ledger.ledger import LEASE_SECONDS, Ledger
from studies.records import Terms

ROOT = Path(__file__).resolve().parents[3]
OPEN = """
import sys
from studies.ledger.ledger import Ledger
from studies.storage.studies import open_storage
Ledger(open_storage(sys.argv[1]).engine)
"""


@pytest.fixture
def ledger(storage: RDBStorage) -> Ledger:
    return Ledger(storage.engine)


def test_a_lock_is_kept_once_and_never_replaced(ledger: Ledger) -> None:
    assert ledger.lock("idc") is None
    assert ledger.keep_lock("idc", "a" * 64, "first") == "first"
    assert ledger.keep_lock("idc", "b" * 64, "second") == "first"
    assert ledger.lock("idc") == "first"


def test_terms_are_those_of_the_first_launch(ledger: Ledger) -> None:
    assert ledger.terms("idc") is None
    first = Terms("fp32", "macenko", 2)
    ledger.keep_terms("idc", first)
    ledger.keep_terms("idc", Terms("bf16", "none", 8))
    assert ledger.terms("idc") == first
    assert ledger.terms("other") is None


def test_a_launch_is_open_until_it_ends_and_its_silence_is_measured_by_the_database(ledger: Ledger) -> None:
    launch = ledger.begin_launch("idc", "host", 42, 1.5)
    (seen,) = ledger.open_launches("idc")
    assert (seen.id, seen.host, seen.pid, seen.pid_started) == (launch, "host", 42, 1.5)
    assert 0 <= seen.silent < 5
    time.sleep(0.2)
    before = ledger.open_launches("idc")[0].silent
    ledger.beat(launch)
    assert ledger.open_launches("idc")[0].silent < before
    ledger.end_launch(launch)
    assert ledger.open_launches("idc") == []


def test_a_trial_has_one_owner_the_last(ledger: Ledger) -> None:
    assert ledger.owner("idc-cnn", 3) is None
    for number, launch in ((3, "one"), (3, "two"), (4, "one")):
        with ledger.lease("idc-cnn", launch):
            assert ledger.own("idc-cnn", number, launch)
    assert ledger.owner("idc-cnn", 3) == "two"
    assert ledger.owners("idc-cnn") == {3: "two", 4: "one"}


def test_a_trial_is_not_handed_out_under_a_lease_that_was_lost(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.ledger.ledger.LEASE_SECONDS", 0.3)
    with ledger.lease("idc-cnn", "slow"):
        time.sleep(0.4)
        with ledger.lease("idc-cnn", "quick"):
            assert ledger.own("idc-cnn", 3, "quick")
        assert not ledger.own("idc-cnn", 3, "slow")
    assert ledger.owner("idc-cnn", 3) == "quick"


def test_a_lease_is_held_by_one_at_a_time(ledger: Ledger) -> None:
    inside: list[str] = []
    most: list[int] = []

    def work(holder: str) -> None:
        for _ in range(5):
            with ledger.lease("idc-cnn", holder):
                inside.append(holder)
                most.append(len(inside))
                time.sleep(0.005)
                inside.remove(holder)

    threads = [threading.Thread(target=work, args=(f"launch{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 15
    assert max(most) == 1


def test_a_lease_whose_holder_died_is_free_after_its_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.ledger.ledger.LEASE_SECONDS", 0.3)
    assert LEASE_SECONDS > 1
    assert ledger._take("idc-cnn", "dead")
    assert not ledger._take("idc-cnn", "alive")
    with ledger.lease("idc-cnn", "alive"):
        assert not ledger._take("idc-cnn", "other")


def test_a_lease_from_the_future_is_free(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.ledger.ledger._now", lambda _connection: 1_000_000.0)
    assert ledger._take("idc-cnn", "dead")
    monkeypatch.setattr("studies.ledger.ledger._now", lambda _connection: 1_000_000.0 - 3600)  # the clock was set back
    with ledger.lease("idc-cnn", "alive"):
        assert not ledger._take("idc-cnn", "other")


def test_an_opening_is_recorded_with_its_patches_and_closed_once(ledger: Ledger) -> None:
    ledger.freeze_plan("idc", "p" * 64, "{}")
    assert ledger.last_opening("idc") is None
    number = ledger.record_opening("idc", "p" * 64, ["a", "b"], "", "host, process 1")
    record = ledger.last_opening("idc")
    assert record is not None
    assert (record.number, record.plan_digest, record.closed) == (number, "p" * 64, False)
    ledger.close_opening(number, "d" * 64)
    ledger.close_opening(number, "e" * 64)
    record = ledger.last_opening("idc")
    assert record is not None
    assert record.closed


def test_openings_are_counted_by_patches_over_all_names(ledger: Ledger) -> None:
    for study, patches in (("one", ["a", "b"]), ("two", ["b", "c"]), ("three", ["x"])):
        ledger.record_opening(study, "p" * 64, patches, "again" if study == "two" else "", "host")
    seen = ledger.openings_of_same_patches("one")
    assert [(opening.study, opening.reason, opening.patches) for opening in seen] == [
        ("one", "", 2),
        ("two", "again", 2),
    ]
    assert [opening.study for opening in ledger.openings_of_same_patches("three")] == ["three"]


def test_no_opening_is_counted_by_a_patch_of_one_colour(ledger: Ledger) -> None:
    for study, patches in (("one", ["a", "white"]), ("two", ["white", "c"]), ("three", ["white"])):
        ledger.record_opening(study, "p" * 64, patches, "", "host", ["white", "black"])
    (seen,) = ledger.openings_of_same_patches("one")
    assert (seen.study, seen.patches) == ("one", 2)
    assert ledger.openings_of_same_patches("three") == ()
    assert broken(ledger.engine) == []


def test_a_plan_is_found_by_its_digest(ledger: Ledger) -> None:
    ledger.freeze_plan("idc", "p" * 64, "first")
    ledger.freeze_plan("idc", "p" * 64, "second")
    stored = ledger.plan("p" * 64)
    assert stored is not None
    assert stored[0] == "first"
    assert ledger.plan("q" * 64) is None


def test_the_tables_survive_being_opened_again(ledger: Ledger, storage: RDBStorage) -> None:
    ledger.keep_lock("idc", "a" * 64, "text")
    assert Ledger(storage.engine).lock("idc") == "text"


def test_several_processes_may_make_the_tables_at_the_same_moment(storage_url: str) -> None:
    starts = [
        subprocess.Popen([sys.executable, "-c", OPEN, storage_url], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    errors = [process.communicate(timeout=120)[1] for process in starts]
    assert [process.returncode for process in starts] == [0, 0, 0, 0], errors
