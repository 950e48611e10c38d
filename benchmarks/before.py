"""Was speed bought with quality? Validation AUC of the same configurations and seeds, now and at an older commit.

Both run as a user would run them, in turn, each from its own tree: the default configuration and random ones of the
space (vgg16 at 50 pixels), none pruned, on the same patches and the same split.

    python -m benchmarks.before COMMIT [--model cnn] [--configurations 5] [--seeds 2] [--epochs 8] [--patches 2000]
"""

import argparse
import io
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._launch import (
    FIXED,
    ROOT,
    Source,
    launch,
    patches,
    scratch_folder,
    stored_trials,
    write_configurations,
)
from benchmarks._report import conditions


def main(argv: Sequence[str] | None = None) -> int:
    """Runs both and prints their table."""
    typed = _parse(argv)
    print(*conditions(), sep="\n", flush=True)
    with scratch_folder() as folder:
        older = tree(typed.commit, folder / "older")
        source = patches(typed.patches, folder / "patches")
        first = write_configurations(folder / "first.json", typed.model, typed.configurations)
        aucs: dict[str, list[list[float]]] = {"then": [], "now": []}
        for seed in range(typed.seeds):
            for when, code in (("then", older), ("now", ROOT)):
                place = folder / f"{when}-{seed}"
                place.mkdir()
                more = ("--trials", str(typed.configurations), "--epochs", str(typed.epochs), "--seed", str(seed))
                found = trained(typed.model, source, place, first, code, more)
                aucs[when].append(found)
                print(f"  seed {seed}, {when}: {' '.join(f'{auc:.4f}' for auc in found)}", flush=True)
    words = f"{source.words}, {typed.epochs} epochs, {typed.seeds} seeds"
    Console(width=120).print(table(f"{typed.model}, {words}", np.array(aucs["then"]), np.array(aucs["now"])))
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.before", description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="what is compared with")
    parser.add_argument("--model", default="cnn", choices=sorted(FIXED), help="default: %(default)s")
    parser.add_argument("--configurations", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--patches", type=int, default=2000, help="default: %(default)s")
    return parser.parse_args(argv)


def tree(commit: str, folder: Path) -> Path:
    """The files of a commit, written to a new folder."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def trained(model: str, source: Source, place: Path, first: Path, code: Path, more: Sequence[str]) -> list[float]:
    """Validation AUC of each configuration, in their order."""
    fixed = ("--pruner", "none", "--enqueue", str(first))
    launch(model, source, place / "runs", *fixed, *more, folder=code).seconds(place / "log")
    return [float(trial.value) for trial in stored_trials(place / "runs", model)]


def table(title: str, then: np.ndarray, now: np.ndarray) -> Table:
    """Means over seeds, and their differences with a standard error over all runs.

    Args:
        title: what was trained.
        then: (seeds, configurations) AUC at the older commit.
        now: the same of this code.
    """
    made = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("configuration", "then", "now", "now minus then", "most between two seeds"):
        made.add_column(heading, justify="left" if heading == "configuration" else "right")
    for number, (old, new) in enumerate(zip(then.T, now.T, strict=True)):
        spread = max(np.ptp(old), np.ptp(new))
        told = (old.mean(), new.mean(), new.mean() - old.mean(), spread)
        made.add_row(
            str(number), *(f"{value:+.4f}" if place == 2 else f"{value:.4f}" for place, value in enumerate(told))
        )
    differences = (now - then).ravel()
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    made.add_row("all", f"{then.mean():.4f}", f"{now.mean():.4f}", f"{differences.mean():+.4f} ± {error:.4f}", "")
    return made


if __name__ == "__main__":
    sys.exit(main())
