"""The short form of ``python -m soak.inputs``: 720 malformed inputs, and proof that its judge sees what is wrong."""

import mmap
import time
from pathlib import Path

import numpy as np
import pytest

from data_utils.errors import FormatError
from soak import _judge
from soak._changes import Special, place_files
from soak._feeding import feed_example
from soak._formats import FORMATS
from soak._judge import judge
from soak.inputs import feed

MALFORMED = 30
"""Inputs of each of the 24 formats that must be refused."""

SPECIALS = {
    "a pipe": Special("pipe"),
    "a socket": Special("socket"),
    "a folder": Special("folder"),
    "a link to a device": Special("link", "/dev/zero"),
    "a link to itself": Special("link", "itself"),
    "a dangling link": Special("link", "nowhere"),
    "ten gigabytes of nothing": Special("holes", size=10 * 2**30),
}


@pytest.mark.parametrize("name", FORMATS)
def test_malformed_inputs_are_refused_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert feed_example(name).line is None, "the valid example must be read"
    verdicts = []
    for seed in range(4 * MALFORMED):
        verdicts.append(feed(name, seed))
        assert verdicts[-1].problem is None, f"python -m soak.inputs --formats {name} --seed {seed}"
        if sum(verdict.line is not None for verdict in verdicts) == MALFORMED:
            break
    refused = [verdict.line for verdict in verdicts if verdict.line is not None]
    with capsys.disabled():
        most = max(verdict.memory for verdict in verdicts) / 2**20
        print(f"\n{name}: {len(refused)} of {len(verdicts)} refused, at most {most:.1f} MB: {refused[-1][:150]}")
    assert len(refused) == MALFORMED


@pytest.mark.parametrize("instead", SPECIALS)
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("url", "flags")])
def test_no_reader_waits_for_what_is_no_file(name: str, instead: str, tmp_path: Path) -> None:
    feed_example(name)
    files = FORMATS[name].example()
    for number, file in enumerate(files):
        if number == 3:
            break
        place = tmp_path / str(number)
        place.mkdir()
        place_files(files | {file: SPECIALS[instead]}, place)
        verdict = judge(FORMATS[name].read, place)
        assert verdict.problem is None, f"{file}: {verdict.problem}"
        skipped = name in ("folder", "pictures") and instead == "a folder"  # one patch less, which is for nobody to see
        assert verdict.line is not None or skipped, f"{file}: {instead} was read"


# --- the judge itself -----------------------------------------------------------------------------------------------


def hang(_: Path) -> None:
    while True:
        time.sleep(0.01)


def take_memory(_: Path) -> None:
    """From the kernel: what earlier tests have freed may still belong to this process."""
    np.frombuffer(mmap.mmap(-1, _judge.MOST_MEMORY + 2**24), np.uint8)[:] = 1


def claim_memory(_: Path) -> None:
    np.empty(2**32, np.uint8)


def change(place: Path) -> None:
    (place / "a").write_bytes(b"changed")


def fail(_: Path) -> None:
    raise ZeroDivisionError


def talk(_: Path) -> None:
    print("one moment")


def refuse_without_a_word(_: Path) -> None:
    raise FormatError("no")


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (hang, "did not end within"),
        (take_memory, "MB more than its"),
        (change, "changed a file"),
        (fail, "ZeroDivisionError"),
        (talk, "printed more than one line"),
        (refuse_without_a_word, "is not refused in one line that can be read"),
    ],
)
def test_the_judge_sees_what_must_not_happen(
    read: _judge.Read, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_judge, "MOST_SECONDS", 0.5 if read is hang else 30.0)
    (tmp_path / "a").write_bytes(b"1234")
    verdict = judge(read, tmp_path)
    assert verdict.problem is not None
    assert problem in verdict.problem


def test_memory_that_is_claimed_but_not_used_is_not_counted(tmp_path: Path) -> None:
    assert judge(claim_memory, tmp_path).problem is None
