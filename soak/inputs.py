"""``python -m soak.inputs``: feeds malformed inputs to every reader, and watches what the readers do.

An input counts as malformed when its reader refuses it; what is still readable after a change is fed, but not counted.
The readers run in child processes with a limit on memory, so that one that hangs or crashes is seen and named with the
seed that makes the input again. Where atheris is installed, it then looks for more under the guidance of coverage.
The last line is one line of figures; the exit code is 1 where a reader ended in a traceback, did not end, took more
memory than the input's size and a fixed bound, printed anything but one line, or changed a file.
"""

import argparse
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from soak._changes import place_files
from soak._feeding import feed_example, limit_memory
from soak._judge import MOST_MEMORY, MOST_SECONDS, Verdict, judge

ROOT = Path(__file__).resolve().parent.parent
_TRIES = 4  # inputs drawn at most for each that is to be refused
_SILENCE = 60.0  # seconds after which a child that says nothing is ended


@dataclass
class Tally:
    """What became of the inputs of one format, or of all."""

    refused: int = 0
    read: int = 0
    memory: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict, name: str) -> None:
        """One more input."""
        self.refused += verdict.line is not None
        self.read += verdict.line is None
        self.memory = max(self.memory, verdict.memory)
        self.seconds = max(self.seconds, verdict.seconds)
        if verdict.problem is not None:
            self.problems.append(f"{name}: {verdict.problem}")

    def merge(self, other: "Tally") -> None:
        """All of another."""
        self.refused, self.read = self.refused + other.refused, self.read + other.read
        self.memory, self.seconds = max(self.memory, other.memory), max(self.seconds, other.seconds)
        self.problems += other.problems


def feed(name: str, seed: int) -> Verdict:
    """Feeds the input of this seed to the reader of a format, in this process.

    Args:
        name: of the format.
        seed: that makes the input.
    """
    from soak._formats import FORMATS

    one = FORMATS[name]
    rng = random.Random(f"{name} {seed}")
    changed = one.change(rng, one.example())
    place = Path(tempfile.mkdtemp(prefix="soak-input-"))
    try:
        place_files(changed, place)
        return judge(one.read, place)
    finally:
        shutil.rmtree(place)


def main(argv: Sequence[str] | None = None) -> int:
    """Feeds them; the exit code."""
    asked = _parse(argv)
    if asked.child:
        _child(asked.child, asked.seed, asked.inputs)
        return 0
    began, total, fed = time.monotonic(), Tally(), 0
    from soak._formats import FORMATS

    chosen = asked.formats or list(FORMATS)
    shares = sum(FORMATS[name].share for name in chosen)
    for name in chosen:
        tally = _feed_many(name, asked.seed, -(-round(asked.inputs * FORMATS[name].share) // round(shares)))
        print(f"{name}: {_words(tally)}", flush=True)
        total.merge(tally)
        fed += 1
    guided = _guided(asked.guided, chosen, total)
    for problem in total.problems:
        print(problem, flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{_words(total)}, {fed} readers{guided}, seed {asked.seed}, {minutes:.1f} min", flush=True)
    return 1 if total.problems else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak.inputs", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="malformed ones in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first input (default: %(default)s)")
    parser.add_argument("--formats", nargs="+", metavar="NAME", help="some of the readers (default: all)")
    parser.add_argument(
        "--guided", type=int, default=1000, help="inputs by coverage for each file format (default: 1000)"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _words(tally: Tally) -> str:
    return (
        f"{tally.refused} malformed inputs refused in one line, {tally.read} changed ones still read, "
        f"{len(tally.problems)} failures (traceback, hang, memory, changed file), {tally.memory / 2**20:.1f} MB "
        f"beyond the input (bound {MOST_MEMORY >> 20}) and {tally.seconds:.2f} CPU s (bound {MOST_SECONDS:g})"
    )


# --- a child feeds, its parent watches ------------------------------------------------------------------------------


def _feed_many(name: str, seed: int, wanted: int) -> Tally:
    """Feeds inputs until enough were refused; goes on behind one that hangs or ends the child."""
    total, last = Tally(), seed + _TRIES * wanted
    while seed < last and total.refused < wanted:
        command = [sys.executable, "-m", "soak.inputs", "--child", name, "--seed", str(seed)]
        command += ["--inputs", str(wanted - total.refused)]
        with subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True) as child:
            at = seed
            for line in _lines(child):
                at = json.loads(line)["at"]
                if "tally" in json.loads(line):
                    total.merge(Tally(**json.loads(line)["tally"]))
                    seed = at + 1
            if child.wait() == 0:
                break
            total.problems.append(f"{name} {at}: ended its process with {child.returncode}, or said nothing")
            seed = at + 1
    return total


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TZ": "UTC"}


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """What a child says; it is ended when it says nothing for too long."""
    said: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        for line in child.stdout or ():
            said.put(line)
        said.put(None)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            line = said.get(timeout=_SILENCE)
        except queue.Empty:
            child.kill()
            return
        if line is None:
            return
        yield line


def _child(name: str, seed: int, wanted: int) -> None:
    """Says the seed before each input, and what became of the inputs after each."""
    first = feed_example(name)
    if first.problem is not None or first.line is not None:
        raise SystemExit(f"the valid example of {name} is not read: {first}")
    limit_memory()
    refused = 0
    for number in range(seed, seed + _TRIES * wanted):
        print(json.dumps({"at": number}), flush=True)
        tally = Tally()
        tally.add(feed(name, number), f"{name} {number}")
        refused += tally.refused
        print(json.dumps({"at": number, "tally": asdict(tally)}), flush=True)
        if refused >= wanted:
            return


# --- guided by coverage ---------------------------------------------------------------------------------------------


def _guided(runs: int, names: Sequence[str], total: Tally) -> str:
    """Lets atheris look for more; what it did, in words."""
    import importlib.util

    if runs == 0 or importlib.util.find_spec("atheris") is None:
        return ", none by coverage (atheris is not installed)" if runs else ""
    from soak.guided import GUIDED, explore

    done = 0
    for name in [name for name in names if name in GUIDED]:
        found = explore(name, runs)
        print(f"{name}, guided by coverage: {found.inputs} inputs, {found.edges} edges reached", flush=True)
        done += found.inputs
        if found.problem is not None:
            total.problems.append(f"{name}, guided by coverage: {found.problem}")
    return f", and {done} more inputs guided by coverage"


if __name__ == "__main__":
    sys.exit(main())
