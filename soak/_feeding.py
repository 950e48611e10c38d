"""What every process that feeds a reader does first: the valid example, then a limit on memory."""

import resource
import shutil
import tempfile
from pathlib import Path

from soak._changes import place_files
from soak._judge import Verdict, judge

LARGEST_PROCESS = 2**30
"""Bytes of address space that a child may take beyond what it has before the first input."""


def feed_example(name: str, *, alarm: bool = True) -> Verdict:
    """Feeds the valid example, which also loads all that the reader needs; ``alarm`` as for ``judge``."""
    from soak._formats import FORMATS

    one = FORMATS[name]
    place = Path(tempfile.mkdtemp(prefix="soak-input-"))
    try:
        place_files(one.example(), place)
        one.read(place)  # imports what it needs, which is not to be measured
        return judge(one.read, place, alarm=alarm)
    finally:
        shutil.rmtree(place)


def limit_memory() -> None:
    """From here on, this process gets no more than a certain address space, whatever an input claims."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + LARGEST_PROCESS
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
