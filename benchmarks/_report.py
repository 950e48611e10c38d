"""What every benchmark prints: its conditions, one line a figure, and a verdict by ``benchmarks/limits.toml``."""

import argparse
import math
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

LIMITS = Path(__file__).with_name("limits.toml")
OK, SHORT, LIMIT = "ok", "falls short", "limit"

NOISE = 0.1
"""A figure may be worse than its measured limit by this share and still be at it."""

LIBRARIES = ("torch", "torchvision", "ray", "optuna", "numpy")


@dataclass(frozen=True)
class Result:
    """One figure of one benchmark.

    Attributes:
        name: of the figure; the section of limits.toml that speaks of it has the same.
        value: what was measured, in ``unit``.
        wanted: the bound.
        unit: "x" for a ratio, "s" or "%".
        at_least: whether more is better; otherwise ``wanted`` is the most that is allowed.
        detail: medians, n and what else the figure rests on.
        sound: False where a condition of the figure is broken, for example another AUC; then nothing is "ok".
    """

    name: str
    value: float
    wanted: float
    unit: str = "x"
    at_least: bool = True
    detail: str = ""
    sound: bool = True

    def reaches(self, bound: float) -> bool:
        """Whether the value is as good as ``bound``."""
        return self.value >= bound if self.at_least else self.value <= bound

    @property
    def measured(self) -> str:
        """The value with its unit."""
        return f"{_number(self.value)} {self.unit}"

    @property
    def bound(self) -> str:
        """What was wanted, in words."""
        return f"{'at least' if self.at_least else 'at most'} {_number(self.wanted)} {self.unit}"

    def line(self, limits: "Mapping[str, Limit]") -> str:
        """The result in one line that ends in its verdict."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.name}: {self.measured}, wanted {self.bound}{detail}: {verdict(self, limits)}"


@dataclass(frozen=True)
class Limit:
    """Why a figure cannot be reached.

    Attributes:
        measured: the best that was seen, in the unit of the figure.
        why: where the time goes, in words.
        profile: of py-spy or torch.profiler, as text.
    """

    measured: float
    why: str
    profile: str


def load_limits(path: Path = LIMITS) -> dict[str, Limit]:
    """The measured limits by the name of their figure.

    Raises:
        ValueError: an entry lacks its value, its reason or its profile.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _limit(name, entry) for name, entry in entries.items()}


def _limit(name: str, entry: Mapping[str, object]) -> Limit:
    missing = [key for key in ("measured", "why", "profile") if not entry.get(key)]
    if missing:
        raise ValueError(f"limits.toml, [{name}] has no {', '.join(missing)}; a limit needs measured, why and profile")
    return Limit(float(str(entry["measured"])), str(entry["why"]), str(entry["profile"]))


def verdict(result: Result, limits: Mapping[str, Limit]) -> str:
    """The word that a line ends in; "limit" where a measured limit is reached, up to noise."""
    if not result.sound:
        return SHORT
    if result.reaches(result.wanted):
        return OK
    limit = limits.get(result.name)
    if limit is None:
        return SHORT
    slack = 1 - NOISE if result.at_least else 1 + NOISE
    return LIMIT if result.reaches(limit.measured * slack) else SHORT


def exit_code(results: Sequence[Result], limits: Mapping[str, Limit]) -> int:
    """1 where a figure falls short, or where there is none at all."""
    return int(not results or any(verdict(result, limits) == SHORT for result in results))


def conditions() -> list[str]:
    """Hardware, load before the run, and versions; one line each."""
    from search.command.environment import environment
    from search.training.device import has_bf16

    here = environment()
    bf16 = "bf16" if has_bf16("cpu") else "no bf16"
    return [
        f"{here['processor']}, {here['cores']} cores, {bf16}; everything runs on the CPU",
        "load average before: " + ", ".join(f"{load:.2f}" for load in os.getloadavg()),
        f"Python {here['python']}, " + ", ".join(f"{name} {here[name]}" for name in LIBRARIES),
        f"HistoTune {here['histotune']} at {here['commit'][:12]}, {datetime.now(UTC):%Y-%m-%d}",
    ]


def main(measure: Callable[[bool], list[Result]], description: str | None, argv: Sequence[str] | None = None) -> int:
    """Runs one benchmark by itself; 1 where a figure falls short."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--full", action="store_true", help="at length: more trials, more repeats, more seeds")
    full = parser.parse_args(argv).full
    for line in conditions():
        print(line)
    limits = load_limits()
    results = measure(full)
    for result in results:
        print(result.line(limits), flush=True)
    return exit_code(results, limits)


def _number(value: float) -> str:
    if math.isnan(value):
        return "no number"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
