"""Runs studies: the commands, the bridge between Optuna and Ray Tune, training, and the final test."""

import sys
from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"


def _beside_us() -> None:
    """Refuses a module of another's in the place of a package of ours: ``python -m`` looks in the current folder first.

    Raises:
        SystemExit: with exit code 2 after one line, where a command is starting.
        ImportError: with the same line, for whoever else imports this.
    """
    here = Path(__file__).resolve().parents[1]
    for name in ("data_utils", "models", "studies"):
        spec = find_spec(name)
        found = name if spec is None or spec.origin is None else str(Path(spec.origin).resolve())
        if found == str((here / name / "__init__.py").resolve()):
            continue
        line = (
            f"{found} stands in the way of {here / name}: rename it, go to another folder, or type histotune in place "
            "of python -m search."
        )
        if (begun := (*sys.argv, "")[0]) != "-m" and Path(begun).stem != "histotune":
            raise ImportError(line)
        sys.stderr.write(f"{line}\n")
        raise SystemExit(2)


_beside_us()

from data_utils.interrupt import guard_imports  # noqa: E402 - not before it is known to be ours

guard_imports()
