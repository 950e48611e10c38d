"""Databases that a call opens are closed at its end: their connections would last until garbage is collected."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

_OPENED: ContextVar[list["Engine"] | None] = ContextVar("_OPENED", default=None)
"""By this call; None of a command, whose process ends with it."""


@contextmanager
def closed_afterwards() -> Iterator[None]:
    """Closes what is opened within the block."""
    engines: list[Engine] = []
    before = _OPENED.set(engines)
    try:
        yield
    finally:
        _OPENED.reset(before)
        for engine in engines:
            engine.dispose()


def opened(engine: "Engine") -> None:
    """Tells that this one was."""
    engines = _OPENED.get()
    if engines is not None:
        engines.append(engine)
