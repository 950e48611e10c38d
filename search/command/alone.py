"""What only one command at a time may do in the folder of a comparison; a command that is killed lets go of it."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_SECONDS = 0.2


@contextmanager
def alone(file: Path, otherwise: Callable[[], None]) -> Iterator[None]:
    """Holds ``file``, which is made, as long as the block runs.

    Args:
        file: whoever holds it is alone.
        otherwise: called once where another process holds it, before it is waited for; what it raises ends the waiting.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as held:
        if not _taken(held.fileno()):
            otherwise()
            while not _taken(held.fileno()):
                time.sleep(_LOOK_SECONDS)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
