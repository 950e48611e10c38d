"""Where a search pays: what it gains over the default configuration on data that nobody has tuned for, and its price.

    python -m benchmarks.pays --data ../shared/data/idc_patches.zip --folder FOLDER             all, for days
    python -m benchmarks.pays few some --data PATH --folder FOLDER --models cnn --trials 30     some of them

few: 20 patients with 400 patches. some: 60 patients with 1,500. all: as they are. doubtful: all, with 15 % of the
labels the wrong way round, those that results are judged by as well (which leaves six tenths of every difference of
AUC, where a quarter of the patches have IDC).
rare: one patch with IDC to ten without. stains: all, half of the patients in the colours of another laboratory.

Each is searched and finalized with its control by the commands, as a user would, in a folder of its own: what was
interrupted goes on, and what is done is not done again. Prints a line each: the gain out of fold of each model's
chosen configuration over its default one, of the ensemble over the better single model and over its control (as many
networks of the default configurations, with other seeds), with intervals over patients, and what it took.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._launch import STUDY, WORKERS, Command, Source, launch, place, refusing
from benchmarks._report import conditions
from data_utils.colour.preprocessing import Moments, Preprocessing
from data_utils.errors import FormatError
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import Ints, PatchSet, known
from studies.files import write_whole

FLIPPED = 0.15
ELSEWHERE = Moments(mean=(58.0, 32.0, -16.0), spread=(11.0, 9.0, 5.0))
"""CIELAB of the other laboratory: each mean lies beyond those of 96 in 100 patients of the public set."""
ASKED, DONE = "asked.json", "pays.json"

Make = Callable[[PatchSet, np.random.Generator], PatchSet]


@dataclass(frozen=True)
class Gained:
    """What one search gained; values with their 95 % intervals over patients, out of fold.

    Attributes:
        models: of each, the chosen configuration over the default one; None where it is the default one.
        ensemble: over the better single model; None where there is none.
        control: of the ensemble over its control; None where there is none.
        hours: of a core, in search and retraining, however often they were interrupted.
    """

    models: Mapping[str, Mapping[str, Any] | None]
    ensemble: Mapping[str, Any] | None
    control: Mapping[str, Any] | None
    hours: float


def of_patients(patches: PatchSet, rng: np.random.Generator, patients: int, most: int) -> PatchSet:
    """So many patients, drawn at random, with as equally many of their patches as they have."""
    assert patches.patients is not None
    drawn = rng.permutation(np.unique(patches.patients))[:patients]
    own = [rng.permutation(np.flatnonzero(patches.patients == one)) for one in drawn]
    in_turn = sorted((place, number, row) for number, rows in enumerate(own) for place, row in enumerate(rows))
    return patches.take(np.sort(np.array([row for *_, row in in_turn[:most]])))


def doubtful(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """A share of all labels the wrong way round."""
    labels = known(patches).copy()
    wrong = rng.permutation(len(labels))[: round(FLIPPED * len(labels))]
    labels[wrong] = 1 - labels[wrong]
    return replace(patches, labels=labels)


def rare(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """One patch with IDC to ten without."""
    labels = known(patches)
    without, with_idc = np.flatnonzero(labels == 0), rng.permutation(np.flatnonzero(labels == 1))
    return patches.take(np.sort(np.concatenate([without, with_idc[: len(without) // 10]])))


def stains(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Half of the patients as if stained elsewhere (Reinhard, in CIELAB)."""
    assert patches.patients is not None
    names = rng.permutation(np.unique(patches.patients))
    rows: Ints = np.flatnonzero(np.isin(patches.patients, names[: len(names) // 2]))
    pixels = np.array(patches.pixels)
    pixels[rows] = Preprocessing("reinhard", ELSEWHERE, len(rows)).apply(pixels[rows])
    return replace(patches, pixels=pixels)


REGIMES: Mapping[str, Make] = {
    "few": lambda patches, rng: of_patients(patches, rng, 20, 400),
    "some": lambda patches, rng: of_patients(patches, rng, 60, 1500),
    "all": lambda patches, _: patches,
    "doubtful": doubtful,
    "rare": rare,
    "stains": stains,
}


def search(regime: str, data: str, folder: Path, models: str, asked: Sequence[str]) -> Gained:
    """Searches and finalizes, or goes on with it; what is done is read.

    Args:
        regime: one of ``REGIMES``.
        data: real patches with patients.
        folder: of all regimes.
        models: as --model of search.launch.
        asked: more of its flags.

    Raises:
        DataError: the patches cannot be read, or have no patients; or what is done was asked for otherwise.
        RuntimeError: a command failed; with the end of what it printed.
    """
    own, wanted = folder / regime, ["--data", data, "--model", models, *asked]
    if not (own / "patches").is_dir():
        patches = read_patches(data)
        if patches.patients is None:
            raise FormatError(f"{data} says nothing of patients; give patches of known ones")
        write_whole(own / ASKED, json.dumps(wanted))
        write(REGIMES[regime](patches, np.random.default_rng(0)), own / "patches")
    check_asked(own, wanted)
    if not (own / DONE).is_file():
        source = Source(str(own / "patches"), regime)
        launch(models, source, own / "runs", *asked).seconds(own / "launch.log")
        finalize(source, own / "runs").seconds(own / "finalize.log")
        report = json.loads((own / "runs" / STUDY / "report.json").read_text(encoding="utf-8"))
        write_whole(own / DONE, json.dumps({"hours": hours(report), **gains(report)}))
    return told_by(own / DONE)


def check_asked(own: Path, wanted: Sequence[str]) -> None:
    """Refuses to go on with, or to tell of, what was begun otherwise.

    Raises:
        FormatError: it was begun with other flags, or does not tell them.
    """
    try:
        before = json.loads((own / ASKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FormatError(f"{own} does not tell which flags it was begun with; give another --folder") from None
    if before != wanted:
        raise FormatError(f"{own} was begun with {' '.join(before)}; give the same, or another --folder")


def told_by(path: Path) -> Gained:
    """What is done.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        return Gained(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path} cannot be read ({error}); remove it, and what it told is read again") from None


def write(patches: PatchSet, folder: Path) -> None:
    """As arrays, in a folder that is there when they are whole."""
    begun = folder.with_suffix(".part")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    for name, column in (("X", patches.pixels), ("Y", known(patches)), ("patients", patches.patients)):
        np.save(begun / f"{name}.npy", column, allow_pickle=False)
    begun.rename(folder)


def finalize(source: Source, runs: Path) -> Command:
    """``search.finalize`` of what ``launch`` has searched, with the ensemble's control."""
    fixed = ("--study", STUDY, "--control", "--workers", str(WORKERS))
    return Command("search.finalize", (*fixed, *place(source, runs)))


def gains(report: Mapping[str, Any]) -> dict[str, Any]:
    """What report.json tells of gains: ``Gained`` without its hours."""
    ensemble = report["ensemble"]
    beside = None if ensemble is None else ensemble["beside_control"]
    kept = {one["model"] for one in report["plan"]["models"] if one["chosen"] == "default"}
    return {
        "models": {name: None if name in kept else model["gain"] for name, model in report["models"].items()},
        "ensemble": None if ensemble is None else ensemble["gain"],
        "control": None if beside is None else beside["gain"],
    }


def hours(report: Mapping[str, Any]) -> float:
    """What report.json tells of hours of a core: each worker has one."""
    plan = report["plan"]
    control = (plan["ensemble"] or {}).get("control") or {}
    retrained = [
        *(one for model in plan["models"] for one in model["candidates"]),
        *(one["retrained"] for which in ("parts", "others") for one in control.get(which, [])),
    ]
    searched = sum(one["cost"]["used"] for one in report["searches"].values())
    return float(searched + sum(member["seconds"] for one in retrained for member in one["members"])) / 3600


def words(gain: Mapping[str, Any] | None) -> str:
    """A gain with its interval."""
    if gain is None:
        return "none"
    if gain["low"] is None:
        return f"{gain['value']:+.4f} ({gain['reason']})"
    return f"{gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"


def row(regime: str, gained: Gained) -> list[str]:
    """A line of the table."""
    models = "\n".join(f"{name} {words(gain)}" for name, gain in gained.models.items())
    return [regime, models, words(gained.ensemble), words(gained.control), f"{gained.hours:.2f}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Searches each, and prints the table as far as it is known after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("regimes", nargs="*", metavar="REGIME", help=f"some of {', '.join(REGIMES)} (default: all)")
    parser.add_argument("--data", required=True, help="real patches with patients, as search.launch takes them")
    parser.add_argument("--folder", required=True, type=Path, help="for patches and results; about 3 GB each")
    parser.add_argument("--models", default="all", help="as --model of search.launch")
    parser.add_argument("--trials", type=int, default=30, help="of each model (default: 30)")
    parser.add_argument("--epochs", type=int, help="most of a trial (default: as search.launch)")
    parser.add_argument("--set", metavar="SPACE", help="as --set of search.launch; in a folder of its own")
    asked = parser.parse_args(argv)
    unknown = set(asked.regimes) - set(REGIMES)
    if unknown:
        parser.error(f"no such data: {', '.join(sorted(unknown))}; expected some of {', '.join(REGIMES)}")
    table = Table("data", "chosen over default", "ensemble over single", "ensemble over control", "core-hours")
    console = Console()
    console.print("; ".join(conditions()))
    typed = {"--trials": asked.trials, "--epochs": asked.epochs, "--set": asked.set}
    flags = [word for flag, value in typed.items() if value is not None for word in (flag, str(value))]
    for regime in asked.regimes or REGIMES:
        with refusing(parser):
            gained = search(regime, asked.data, asked.folder, asked.models, flags)
        table.add_row(*row(regime, gained))
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
