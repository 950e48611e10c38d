"""Jobs that have a worker and say nothing any more, as behind a link that is gone: Tune waits for them for ever."""

import time
from collections.abc import Callable
from dataclasses import dataclass

SILENT_SECONDS = 120.0
TIMES = 10
"""A job is silent after so many times the longest that any of its model took for an epoch, and no sooner than that."""
_STOPPED_SECONDS = 5.0  # between two looks that follow each other; after longer, the driver itself was stopped


@dataclass
class _Speaker:
    model: str
    since: float


class Silence:
    """Of the jobs that have a worker. What no job of a model has taken yet is unknown, and none of it is silent."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = clock()
        self._speakers: dict[str, _Speaker] = {}
        self._longest: dict[str, float] = {}  # seconds that a job of a model took for an epoch, set-up included

    def placed(self, job: str, model: str) -> None:
        """It has a worker from now on."""
        self._speakers[job] = _Speaker(model, self._clock())

    def spoke(self, job: str) -> None:
        """It has reported."""
        speaker = self._speakers.get(job)
        if speaker is not None:
            now = self._clock()
            self._longest[speaker.model] = max(self._longest.get(speaker.model, 0.0), now - speaker.since)
            speaker.since = now

    def ended(self, job: str) -> None:
        """It has none any more."""
        self._speakers.pop(job, None)

    def look(self) -> list[tuple[str, float, float]]:
        """Jobs that are silent: each with the seconds since it spoke, and the longest epoch so far. Told of once."""
        now = self._clock()
        if (stopped := now - self._looked) > _STOPPED_SECONDS:
            for speaker in self._speakers.values():
                speaker.since += stopped
        self._looked = now
        silent = [
            (job, now - speaker.since, self._longest[speaker.model])
            for job, speaker in self._speakers.items()
            if speaker.model in self._longest
            and now - speaker.since > max(SILENT_SECONDS, TIMES * self._longest[speaker.model])
        ]
        for job, _, _ in silent:
            self.ended(job)
        return silent
