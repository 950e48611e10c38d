"""``python -m soak`` (``make soak``): kills drivers and workers for a long time, then feeds malformed inputs.

Its last line is one line of figures; it exits with 1 where anything was not as promised. Ctrl-C or SIGTERM ends it with
all that it started; the command that it prints goes on.
"""

import argparse
import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from soak.databases import KINDS
from soak.kills import soak


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked for; the exit code."""
    asked = _parse(argv)
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="soak-"))).resolve()
    signal.signal(signal.SIGTERM, _interrupt)
    _say(f"seed {asked.seed}, results in {folder}")
    figures, problems = [], []
    try:
        for kind in asked.databases:
            line, found = soak(
                kind, folder / kind, seed=asked.seed, drivers=asked.drivers, workers=asked.workers, say=_say
            )
            figures.append(line)
            problems += [f"{kind}: {problem}" for problem in found]
    except KeyboardInterrupt:
        rest = f"--drivers {asked.drivers} --workers {asked.workers} --databases {' '.join(asked.databases)}"
        _say(f"interrupted; go on with: python -m soak --seed {asked.seed} {rest} --folder {folder}")
        return 130
    if asked.inputs:
        line, code = _malformed_inputs()
        figures.append(line)
        problems += [f"inputs: exit code {code}"] if code else []
    for problem in problems:
        _say(problem)
    if not problems and asked.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    print("soak: " + "; ".join(figures), flush=True)
    return 1 if problems else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=list(KINDS), help="default: both")
    parser.add_argument("--drivers", type=int, default=50, help="kills of a driver (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=20, help="kills of a worker (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments (default: the time)")
    parser.add_argument("--folder", type=Path, help="of results and of how far it came (default: a temporary one)")
    parser.add_argument("--no-inputs", dest="inputs", action="store_false", help="kills only, no malformed inputs")
    return parser.parse_args(argv)


def _malformed_inputs() -> tuple[str, int]:
    """Feeds malformed inputs to every reader; the last line of it, and its exit code."""
    if importlib.util.find_spec("soak.inputs") is None:
        return "inputs: not there", 0
    command = [sys.executable, "-m", "soak.inputs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        last = ""
        for line in process.stdout or ():
            last = line.strip() or last
            _say(line.rstrip())
    return f"inputs: {last}", process.returncode


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
