"""Runs the benchmarks one after the other, prints their table, and ends with 1 where a figure falls short.

    python -m benchmarks.run                     all, in about 40 minutes on two cores (make bench)
    python -m benchmarks.run --full              all, at length (make bench-full)
    python -m benchmarks.run training data       some of them
    python -m benchmarks.run --write             all, and puts the table into BENCHMARKS.md

BENCHMARKS.md says what each compares and how to read the table.
"""

import argparse
import importlib
import math
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks._report import Limit, Result, conditions, exit_code, load_limits, verdict

BENCHMARKS = (
    "start",
    "orchestration",
    "overhead",
    "training",
    "features",
    "whole_search",
    "quality",
    "trials",
    "cluster",
    "data",
    "ingest",
    "report",
)
PAGE = Path(__file__).resolve().parent.parent / "BENCHMARKS.md"
BEGIN, END = "<!-- benchmarks: begin (written by benchmarks/run.py) -->", "<!-- benchmarks: end -->"


def run_all(names: Sequence[str], full: bool, limits: Mapping[str, Limit]) -> list[Result]:
    """Every figure of the named benchmarks, each line printed as soon as it is known."""
    found: list[Result] = []
    for name in names:
        began = time.perf_counter()
        print(f"\n{name}, load average {os.getloadavg()[0]:.2f}", flush=True)
        results = run_one(name, full)
        for result in results:
            print(result.line(limits))
        print(f"  took {time.perf_counter() - began:.0f} s", flush=True)
        found += results
    return found


def run_one(name: str, full: bool) -> list[Result]:
    """The figures of one benchmark, measured in a process of its own; one that failed is a figure that falls short."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measure, name, full).result()
        except Exception as problem:  # noqa: BLE001 - the others are still worth their time
            traceback.print_exc()
            reason = str(problem).splitlines()[0] if str(problem) else ""
            return [Result(name, math.nan, math.nan, detail=f"{type(problem).__name__}: {reason}", sound=False)]


def _measure(name: str, full: bool) -> list[Result]:
    return importlib.import_module(f"benchmarks.{name}").measure(full)


def table(results: Sequence[Result], limits: Mapping[str, Limit], facts: Sequence[str]) -> str:
    """The conditions and the figures in Markdown."""
    rows = [
        f"| {result.name} | {result.measured} | {result.bound} | {verdict(result, limits)} | {result.detail} |"
        for result in results
    ]
    head = ["| figure | measured | wanted | | medians, n |", "| --- | --- | --- | --- | --- |"]
    return "\n".join(["; ".join(facts) + ".", "", *head, *rows])


def written(page: str, text: str) -> str:
    """The page with ``text`` between the two markers.

    Raises:
        ValueError: the markers are not there.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"BENCHMARKS.md has no place for the table: expected a line {BEGIN} and later a line {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--full", action="store_true", help="at length: more trials, more repeats, more seeds")
    parser.add_argument("--write", action="store_true", help="put the table into BENCHMARKS.md; needs all of them")
    typed = parser.parse_args(argv)
    if unknown := set(typed.names) - set(BENCHMARKS):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    if typed.write and typed.names:
        parser.error("--write needs all benchmarks: leave out the names")
    limits, facts = load_limits(), conditions()
    print("\n".join(facts))
    results = run_all(typed.names or BENCHMARKS, typed.full, limits)
    text = table(results, limits, facts)
    print(f"\n{text}")
    if typed.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    return exit_code(results, limits)


if __name__ == "__main__":
    sys.exit(main())
