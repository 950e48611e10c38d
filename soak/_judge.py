"""What a reader does with one input: reads it or refuses it in one line, in time, within memory, and changes nothing.

Memory is what the kernel says that the process took at most while it read, not what the code seems to ask for.
"""

import contextlib
import hashlib
import io
import os
import signal
import stat
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from data_utils.command import one_line
from data_utils.errors import DataError
from models._errors import ModelError
from search.command.outcome import BAD_INPUT
from search.errors import UsageError
from studies.errors import StudyError
from studies.secrets import masked

MOST_SECONDS = 5.0
"""Of the processor, for one input."""
PATIENCE = 6
"""So many times as long by the clock: the machine may have other work."""
MOST_MEMORY = 96 * 2**20
"""Bytes beyond the input's own size."""
LONGEST_LINE = 1100
REFUSALS = (DataError, ModelError, StudyError, UsageError)
"""What ``search.command.outcome`` turns into one line and exit code 2."""

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Verdict:
    """What became of one input.

    Attributes:
        line: with which it was refused; None where it was read.
        problem: what must not happen; None where all is well.
        memory: bytes that reading took beyond the input's size; negative where it took less.
        seconds: of the processor that reading took.
    """

    line: str | None
    problem: str | None
    memory: int
    seconds: float


def judge(read: Read, place: Path, *, alarm: bool = True) -> Verdict:
    """Reads one input in the main thread of this process.

    Args:
        read: raises one of ``REFUSALS``, or ends with exit code 2 and a line on stderr.
        place: folder that holds all files of the input, and nothing else.
        alarm: whether to end a reading that takes too long; not where somebody else does, with the same signal.
    """
    before, size = _state(place), _size(place)
    start = _reset_peak()
    began = time.process_time()
    with _outputs() as (printed, warned):
        line, problem = _attempt(read, place, printed, alarm=alarm)
    seconds, memory = time.process_time() - began, _peak() - start - size
    warned = [one for one in warned if not issubclass(one.category, ResourceWarning)]  # of whatever was read before
    if problem is None and (warned or (line is None and printed.getvalue())):
        problem = f"printed more than one line: {printed.getvalue()}{[str(one.message) for one in warned]}"
    if problem is None and line is not None:
        problem = _of_line(line)
    if problem is None and memory > MOST_MEMORY:
        problem = f"took {memory / 2**20:.0f} MB more than its {size} bytes"
    if problem is None and _state(place) != before:
        problem = "changed a file"
    return Verdict(line, problem, memory, seconds)


def _attempt(read: Read, place: Path, printed: io.StringIO, *, alarm: bool) -> tuple[str | None, str | None]:
    """The line with which it was refused, and what must not happen."""
    try:
        with _limit() if alarm else contextlib.nullcontext():
            read(place)
    except REFUSALS as error:
        return one_line(masked(str(error))), None
    except SystemExit as error:
        line = printed.getvalue().removesuffix("\n")
        printed.truncate(0)
        return (None, None) if error.code == 0 else (line, None if error.code == BAD_INPUT else f"exit {error.code}")
    except _HangError:
        return None, f"did not end within {MOST_SECONDS:g} s of the processor, or six times as long by the clock"
    except BaseException:  # noqa: BLE001 - whatever a user would see as a traceback
        return None, traceback.format_exc()
    return None, None


def _of_line(line: str) -> str | None:
    if "\n" in line or not 20 <= len(line) <= LONGEST_LINE or not line.isprintable():
        return f"is not refused in one line that can be read: {line[:2000]!r}"
    return None


class _HangError(BaseException):
    """It takes too long."""


@contextlib.contextmanager
def _limit() -> Iterator[None]:
    """Ends what works for too long, and what waits for so much longer that no busy machine explains it."""
    working, waiting = time.process_time() + MOST_SECONDS, time.monotonic() + PATIENCE * MOST_SECONDS

    def ring(_number: int, _frame: FrameType | None) -> None:
        if time.process_time() > working or time.monotonic() > waiting:
            raise _HangError

    before = signal.signal(signal.SIGALRM, ring)
    # What is left is pytest's own limit, where it runs under pytest.
    left, again = signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS, MOST_SECONDS / 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, again)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _outputs() -> Iterator[tuple[io.StringIO, list[warnings.WarningMessage]]]:
    """What is printed, and which warnings would be."""
    printed = io.StringIO()
    streams = contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed)
    with streams[0], streams[1], warnings.catch_warnings(record=True, action="always") as warned:
        yield printed, warned


# --- files ----------------------------------------------------------------------------------------------------------


def _state(place: Path) -> list[tuple[str, int, int, str]]:
    """Name, mode, time and content of everything; links and pipes are not followed."""
    return sorted(
        (os.fsdecode(os.fsencode(path)), found.st_mode, found.st_mtime_ns, _content(path, found))
        for path in _everything(place)
        for found in [path.lstat()]
    )


def _everything(place: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(place):
        yield from (Path(folder) / name for name in [*folders, *files])


def _content(path: Path, found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return str(path.readlink())
    if not stat.S_ISREG(found.st_mode) or found.st_size > 2**28:
        return str(found.st_size)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _size(place: Path) -> int:
    """Bytes on disk; what a file with holes merely claims does not count."""
    return sum(found.st_blocks * 512 for path in _everything(place) for found in [path.lstat()])


# --- memory ---------------------------------------------------------------------------------------------------------


def _reset_peak() -> int:
    """Bytes that the process has now; the kernel measures its peak from here on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _kilobytes("VmRSS")


def _peak() -> int:
    return _kilobytes("VmHWM")


def _kilobytes(field: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(text.split(f"{field}:", 1)[1].split(maxsplit=1)[0])
