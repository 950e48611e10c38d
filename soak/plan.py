"""When is who killed: drawn once from a seed, so that a soak that was cut off goes on with the same plan."""

import random
from dataclasses import dataclass

START_UP, TRAINING, END, WHOLE = "start-up", "training", "end", "whole"
LONGEST_START_UP = 14.0
"""Seconds from the command to a moment after the first batch, on two quiet cores."""
LONGEST_TRAINING = 12.0
LONGEST_END = 4.0
BETWEEN_WORKERS = 8.0
_SHARES = {START_UP: 0.35, TRAINING: 0.45, END: 0.2}
_LONGEST = {START_UP: LONGEST_START_UP, TRAINING: LONGEST_TRAINING, END: LONGEST_END}


@dataclass(frozen=True)
class Launch:
    """One start of the command.

    Attributes:
        phase: where its driver is killed; "whole" for the last one, which is left alone.
        delay: seconds from the beginning of the phase to the kill.
        workers: seconds from the first trial, or from the kill before, to each kill of a worker.
    """

    phase: str
    delay: float
    workers: tuple[float, ...] = ()


def draw(seed: int, drivers: int, workers: int) -> list[Launch]:
    """The launches of a soak: each but the last loses its driver, some lose workers before.

    Args:
        seed: of all draws.
        drivers: kills of a driver.
        workers: kills of a worker, spread over the launches that get as far as training.
    """
    rng = random.Random(seed)
    phases = rng.choices(list(_SHARES), list(_SHARES.values()), k=drivers)
    delays = [rng.uniform(0, _LONGEST[phase]) for phase in phases]
    trains = [number for number, phase in enumerate(phases) if phase == TRAINING] or [drivers]
    kills: dict[int, list[float]] = {}
    for _ in range(workers):
        kills.setdefault(rng.choice(trains), []).append(rng.uniform(0, BETWEEN_WORKERS))
    drawn = [*zip(phases, delays, strict=True), (WHOLE, 0.0)]
    return [Launch(phase, delay, tuple(kills.get(number, ()))) for number, (phase, delay) in enumerate(drawn)]
