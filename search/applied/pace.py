"""How far a prediction has come, and how fast: a bar where somebody watches, else a line now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from search.command.terminal import say

SECONDS = 30.0
"""Between two lines."""


class Pace:
    """Counts patches.

    Attributes:
        done: so many are scored.
    """

    def __init__(self, console: Console, count: int) -> None:
        """``count`` patches are to come."""
        self._console, self._count, self.done = console, count, 0
        self._began = self._told = time.monotonic()
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=count, rate="")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block it is shown; its time begins there."""
        self._began = self._told = time.monotonic()
        with self._bar:
            yield

    def advance(self, patches: int) -> None:
        """So many more are done."""
        self.done += patches
        self._bar.update(self._task, completed=self.done, rate=self.rate())
        if not self._console.is_terminal and time.monotonic() - self._told > SECONDS:
            self._told = time.monotonic()
            say(self._console, f"{self.done} of {self._count} patches, {self.rate()}")

    def rate(self) -> str:
        """Patches a second so far, in words."""
        seconds = max(time.monotonic() - self._began, 1e-6)
        rate = self.done / seconds
        return f"{rate:.0f} patches a second" if rate >= 10 else f"{rate:.2g} patches a second"
