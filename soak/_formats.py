"""Every reader of something that a user could hand over: a valid example, how it is changed, and how it is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from data_utils.errors import FormatError
from data_utils.readers import patches
from data_utils.split import holdout
from data_utils.split.lock import SplitLock
from data_utils.split.split_file import read_lists
from soak import _archives as archives
from soak import _examples as examples
from soak import _mutations as mutations
from soak import _pictures as shapes
from soak._changes import Files, Special, any_bytes, any_file, special
from soak._texts import SETTINGS, flags, read_flags, read_settings_file, read_url, settings_file, url

Change = Callable[[Random, Files], Files]


@dataclass(frozen=True)
class Format:
    """One reader.

    Attributes:
        example: a valid input.
        change: makes another of it, mostly a malformed one.
        read: the input in a folder; raises where it refuses it.
        share: of the inputs that a soak draws; small for slow readers.
    """

    example: Callable[[], Files]
    change: Change
    read: Callable[[Path], object]
    share: float = 1.0


def _one(mutate: mutations.Mutate) -> Change:
    """Changes one file of an input by the mutator of its format, or puts something else in its place."""

    def change(rng: Random, files: Files) -> Files:
        name = rng.choice(sorted(files))
        content = files[name]
        if rng.random() < 0.1 or not isinstance(content, bytes):
            return any_file(rng, files)
        return files | {name: mutate(rng, content)}

    return change


# --- patches --------------------------------------------------------------------------------------------------------


def _read_patches(source: Path, *, labelled: bool) -> None:
    """Reads all of it, as a command would, and writes names and ids as a table would."""
    patches.signature(str(source))
    read = patches.read_patches(str(source), labelled=labelled)
    patches.fingerprint(read)
    ids = [] if read.patients is None else read.patients.tolist()
    "\n".join([*read.names.tolist(), *ids]).encode("utf-8")


def _either_way(source: Path) -> None:
    """With labels, as for a search; without, as for a prediction, must be well in more cases and fail in none else."""
    _read_patches(source, labelled=False)
    _read_patches(source, labelled=True)


def _change_folder(rng: Random, files: Files) -> Files:
    name = rng.choice(sorted(files))
    content = files[name]
    how = rng.random()
    if how < 0.5 and isinstance(content, bytes):
        return files | {name: shapes.picture_bytes(rng, content)}
    if how < 0.6:
        return any_file(rng, files)
    rest = {other: kept for other, kept in files.items() if other != name}
    if how < 0.85:
        return rest | {rng.choice(_NAMES).replace("NAME", name): content}
    return files | {rng.choice(("S0001/link", "S0001/0/link.png", "more.png", "deep/" * 200 + "x.png")): special(rng)}


_NAMES = (
    "NAME\udcff.png", "\udcff\udcfe/NAME", "S1\n/NAME", "\x1b[2J/0/NAME", "NAME.PNG", "NAME/NAME", ".hidden.png",
    "S1/0/S1_idx5_x99999999999999999999_y1_class0.png", "S1/0/S1_idx5_x1_y1_class٣.png", "_idx5_x1_y1_class0.png",
    "S1/9/S1_idx5_x1_y1_class9.png", "S1/0/S1_idx5_x-1_y1_class0.png", "a/" * 300 + "x.png", "x" * 240 + ".png",
    "\u202egnp.png", " .png", "S1\\0\\NAME", "train/0/NAME", "val/NAME", "0/NAME", "S1/0/any.png", "S1/1/class0.png",
    "NAME.txt", "Thumbs.db", "S2/0/NAME", "X.npy/NAME",
)  # fmt: skip


# --- what the program wrote -----------------------------------------------------------------------------------------


def _change_lock(rng: Random, files: Files) -> Files:
    changed = _one(mutations.json_bytes)(rng, files)
    content = changed.get("lock.json")
    return (
        changed | {"lock.json": examples.resealed(content)}
        if isinstance(content, bytes) and rng.random() < 0.6
        else changed
    )


def _read_cache(place: Path) -> None:
    holdout.sealed_digests(place / "sealed")
    holdout.open_sealed(place / "sealed", "")


def _read_lock(place: Path) -> None:
    if SplitLock.read(place / "lock.json") is None:
        raise FormatError(f"there is no lock in {place}, which is well: a new one is drawn")


def _read_records(place: Path) -> None:
    from studies import records
    from studies.files import read_file
    from studies.final_models import MemberResult

    for kind in (MemberResult, records.AnalysisPlan, records.DataSummary):
        path = place / f"{kind.__name__}.json"
        records.from_json(kind, read_file(path, 2**24), str(path))


def _read_index(place: Path) -> None:
    from studies.findings.examples import load_examples
    from studies.report.page import _Picture

    listed = load_examples(place)
    for example in listed:
        _Picture.of(example, 0)
    if not listed:
        raise FormatError(f"there is no index in {place}, which is well: a report without pictures")


def _read_report(place: Path) -> None:
    from search.upkeep.checks import _head_in

    if _head_in(place / "report.json") is None:
        raise FormatError(f"{place} has no report that can be read, which --check says")


def _read_predictions(place: Path) -> None:
    from studies.findings.predictions import load_predictions

    load_predictions(place)


def _read_measured(place: Path) -> None:
    from search.final.likeness import load_likeness
    from studies.findings.measured import load_measures
    from studies.findings.robustness import load_disturbed

    found = (
        load_measures(place, examples.PATCHES),
        load_disturbed(["a" * 64], place),
        load_likeness(examples.stored_model(), place),
    )
    if any(one is None for one in found):
        raise FormatError(f"a file is missing in {place}, or of other members, which is well: it is left aside")


def _read_published(place: Path) -> None:
    from search.final.neighbours import load_neighbours
    from search.final.speeds import stored_speeds
    from search.final.stored_ensemble import load_ensemble
    from studies.findings.slides import load_tissue

    found = load_ensemble(place), stored_speeds(place), load_neighbours(place, "p" * 64), load_tissue(place) or None
    if any(one is None for one in found):
        raise FormatError(f"a file is missing in {place}, which is well: it is left aside")


def _read_checkpoint(place: Path) -> None:
    """A damaged checkpoint is no error: the job begins again, which is said in the log."""
    from search.workers.checkpoints import Checkpoint

    if Checkpoint.read(examples.job(place)) is None:
        raise FormatError(f"the checkpoint in {place} is left aside, the job begins again")


def _change_model(rng: Random, files: Files) -> Files:
    changed = (
        _one(mutations.json_bytes)(rng, files) if rng.random() < 0.6 else _one(mutations.safetensors_bytes)(rng, files)
    )
    return examples.resigned(changed) if rng.random() < 0.6 else changed


def _read_model(place: Path) -> None:
    from search.final.members import load_member, load_stored

    stored = load_stored(place)
    load_member(stored, place, 0)


# --- what a user wrote ----------------------------------------------------------------------------------------------


def _read_weights(place: Path) -> None:
    from models import _weights

    real, _weights.BLOCKS = _weights.BLOCKS, examples.FEW_BLOCKS  # the real ones have 58 MB
    try:
        _weights.read_weights(place / "w.safetensors")
    finally:
        _weights.BLOCKS = real


def _read_configurations(place: Path) -> None:
    from models._registry import load_model
    from search.trials.enqueue import read_configurations

    read_configurations(place / "first.json", load_model("cnn"))


def _change_database(rng: Random, files: Files) -> Files:
    if rng.random() < 0.1:
        return {"studies.db": examples.other_database()}
    return _one(any_bytes)(rng, files)


def _read_database(place: Path) -> None:
    """Refused before it is opened for writing; what is well is opened read-only by the same check."""
    from studies.storage.database_url import check_file

    check_file(place / "studies.db")


FORMATS = {
    "arrays": Format(examples.arrays, _one(mutations.npy_bytes), _either_way, 2),
    "folder": Format(examples.folder, _change_folder, _either_way, 2),
    "pictures": Format(examples.pictures, _change_folder, _either_way),
    "zip": Format(examples.archive, _one(mutations.zip_bytes), lambda place: _either_way(place / "set.zip"), 2),
    "packed": Format(examples.packed, _one(mutations.zip_bytes), lambda place: _either_way(place / "set.zip")),
    "tar": Format(examples.tar, _one(archives.tar_bytes), lambda place: _either_way(place / "set.tar")),
    "tgz": Format(examples.tgz, _one(archives.tgz_bytes), lambda place: _either_way(place / "set.tar.gz")),
    "cache": Format(examples.cache_folder, _one(mutations.npy_bytes), _read_cache),
    "lock": Format(examples.lock, _change_lock, _read_lock),
    "lists": Format(
        examples.lists, _one(mutations.json_bytes), lambda place: read_lists(str(place / "lists.json"), "error")
    ),
    "records": Format(examples.records, _one(mutations.json_bytes), _read_records),
    "index": Format(examples.index, _one(mutations.json_bytes), _read_index),
    "report": Format(examples.report, _one(mutations.json_bytes), _read_report),
    "predictions": Format(examples.predictions, _one(mutations.npz_bytes), _read_predictions),
    "measured": Format(examples.measured, _one(mutations.npz_bytes), _read_measured),
    "published": Format(examples.published, _one(mutations.json_bytes), _read_published),
    "checkpoint": Format(examples.checkpoint, _one(mutations.checkpoint_bytes), _read_checkpoint),
    "model": Format(examples.final_model, _change_model, _read_model),
    "weights": Format(examples.weights, _one(mutations.safetensors_bytes), _read_weights),
    "enqueue": Format(examples.configurations, _one(mutations.json_bytes), _read_configurations),
    "settings": Format(lambda: {"launch.toml": SETTINGS}, settings_file, read_settings_file),
    "database": Format(examples.database, _change_database, _read_database, 0.5),
    "url": Format(lambda: {"url": b"sqlite:///studies.db"}, url, read_url),
    "flags": Format(lambda: {"flags": b'["status"]'}, flags, read_flags, 2),
}
"""By name; ``python -m soak.inputs`` feeds them all."""

__all__ = ["FORMATS", "Format", "Special"]
