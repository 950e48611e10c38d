"""One small valid input for each reader, as files by their names."""

import functools
import gzip
import hashlib
import io
import json
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from data_utils.readers import synthetic
from data_utils.readers.patchset import PatchSet
from data_utils.split import cache
from data_utils.split.lock import SplitLock
from soak._changes import Files

if TYPE_CHECKING:
    from search.final.members import StoredModel

PATCHES = 12
FEW_BLOCKS = ((4,), (8,))


@functools.cache
def patches() -> PatchSet:
    """A few made-up patches of several patients, of both classes."""
    made = synthetic.make_patches(synthetic.SyntheticRequest(60, 0), "synthetic:60")
    return made.take(np.arange(60)[:: 60 // PATCHES])


def npy(array: np.ndarray) -> bytes:
    """A ``.npy`` file."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """A PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def arrays() -> Files:
    """``X.npy``, ``Y.npy`` and ``patients.npy``."""
    made = patches()
    assert made.labels is not None
    assert made.patients is not None
    return {"X.npy": npy(made.pixels), "Y.npy": npy(made.labels), "patients.npy": npy(made.patients)}


def folder() -> Files:
    """The public patient folder."""
    made = patches()
    assert made.labels is not None
    assert made.patients is not None
    rows = zip(made.pixels, made.patients, made.labels, made.names, strict=True)
    return {f"{patient}/{label}/{name}": png(pixels) for pixels, patient, label, name in rows}


def pictures() -> Files:
    """The same in all other forms that are read: JPEG, TIFF, grey, a palette, opaque transparency, 16 bits."""
    made = patches()
    assert made.labels is not None
    assert made.patients is not None
    forms = [(".jpg", _saved("JPEG", quality=95)), (".jpeg", _saved("JPEG", progressive=True, quality=90))]
    forms += [(".tif", _saved("TIFF")), (".tiff", _saved("TIFF", compression="tiff_lzw"))]
    forms += [(".png", _saved("PNG", mode)) for mode in ("L", "P", "RGBA", "LA")] + [(".png", deep_png)]
    files: Files = {}
    for row, name in enumerate(made.names):
        ending, save = forms[row % len(forms)]
        stem = f"{made.patients[row]}/{made.labels[row]}/{name.removesuffix('.png')}"
        files[f"{stem}{ending}"] = save(made.pixels[row])
    return files


def pictures_as(ending: str) -> bytes:
    """The first of these with this ending."""
    content = next(content for name, content in pictures().items() if name.endswith(ending))
    assert isinstance(content, bytes)
    return content


def _saved(form: str, mode: str = "RGB", **options: object) -> Callable[[np.ndarray], bytes]:
    def save(pixels: np.ndarray) -> bytes:
        content = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(content, form, **options)
        return content.getvalue()

    return save


def deep_png(pixels: np.ndarray) -> bytes:
    """A PNG file of the same pixels in 16 bits a channel, each row filtered in another way; Pillow writes none."""
    deep = pixels.astype(">u2") * 257
    height, width, channels = deep.shape
    rows = deep.view(np.uint8).reshape(height, -1).astype(int)
    padded = np.pad(rows, ((1, 0), (2 * channels, 0)))
    left, up, corner = padded[1:, : -2 * channels], padded[:-1, 2 * channels :], padded[:-1, : -2 * channels]
    away = np.abs(np.stack([up - corner, left - corner, left + up - 2 * corner]))  # of Paeth's guess
    nearest = np.choose(away.argmin(axis=0), [left, up, corner])
    guesses = [0 * rows, left, up, (left + up) // 2, nearest]
    lines = [bytes([y % 5]) + (rows[y] - guesses[y % 5][y]).astype(np.uint8).tobytes() for y in range(height)]
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def packed() -> Files:
    """A zip of arrays, half of them deflated."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        for number, (name, array) in enumerate(arrays().items()):
            method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            target.writestr(f"set/{name}", array, method)  # type: ignore[arg-type]
    return {"set.zip": content.getvalue()}


def tar() -> Files:
    """A tar of the public patient folder, one of its names longer than a header holds."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as target:
        for number, (name, picture) in enumerate(folder().items()):
            entry = tarfile.TarInfo(f"{'long/' * 30}{name}" if number == 3 else name)
            entry.size = len(picture)  # type: ignore[arg-type]
            target.addfile(entry, io.BytesIO(picture))  # type: ignore[arg-type]
    return {"set.tar": content.getvalue()}


def tgz() -> Files:
    """The same, compressed."""
    return {"set.tar.gz": gzip.compress(tar()["set.tar"], mtime=0)}  # type: ignore[arg-type]


def archive() -> Files:
    """A zip of it, half of it deflated."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for number, (name, picture) in enumerate(folder().items()):
            packed.writestr(name, picture, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
    return {"set.zip": content.getvalue()}


def cache_folder() -> Files:
    """A cache of prepared patches."""
    with tempfile.TemporaryDirectory() as place:
        inside = Path(place) / "sealed"
        cache.write_cache(inside, patches(), np.full(PATCHES, "test"), np.arange(PATCHES))
        return {f"sealed/{path.name}": path.read_bytes() for path in inside.iterdir()}


def lock() -> Files:
    """A split lock."""
    parts = ("train", "validation", "test")
    by_patient = {f"S{number:04d}": parts[number % 3] for number in range(PATCHES)}
    made = SplitLock("study", "f" * 64, (70, 15, 15), 0, "patient", by_patient)  # type: ignore[arg-type]
    return {"lock.json": made.to_json().encode()}


def lists() -> Files:
    """Lists of a published split, as one file."""
    return {"lists.json": json.dumps({"train": ["S1", "S2"], "val": ["S3"], "test": ["S4", 5]}).encode()}


def records() -> Files:
    """A record of each kind that is kept as JSON, named after its kind."""
    from studies import final_models
    from studies import records as kinds

    member = final_models.MemberResult(0, 1, 2, 3.5, 0.9, "a" * 64)
    candidate = final_models.CandidateResult("best", 3, {"width": 16}, 0.9, 2, (member,), 0.9, 0.8)
    final = final_models.FinalModel("cnn", (candidate,), "best", 1.0, 0.5, "stated", "random")
    part = kinds.PartSummary("train", 8, 9, 4)
    made = [
        member,
        kinds.AnalysisPlan("study", "f", "l", (final,), ("majority",), "auc", ("auc",), 100, 0, {"planned": "x"}),
        kinds.DataSummary("s", True, "f", 9, (("why", 1),), (part,), True, (("S1", "train", 3, 1),), "l", (7, 1, 2), 0),
    ]  # fmt: skip
    return {f"{type(record).__name__}.json": kinds.to_json(record).encode() for record in made}


def index() -> Files:
    """The index of a report's pictures."""
    from studies.findings.examples import save_index
    from studies.records import Example

    with tempfile.TemporaryDirectory() as place:
        save_index([Example("development", "cnn", "n", "p", 1, 0.5, Path("a.png"), None)], Path(place))
        return {"examples.json": (Path(place) / "examples.json").read_bytes(), "a.png": png(patches().pixels[0])}


def report() -> Files:
    """The numbers of a report."""
    return {"report.json": json.dumps({"chain_head": "0" * 64, "verdict": {"headline": "h"}, "x": [1, 2.5]}).encode()}


def predictions() -> Files:
    """Predictions on disk."""
    from studies.findings.predictions import PREDICTIONS_FILE, save_predictions
    from studies.records import Predictions

    made, scores = patches(), np.linspace(-1, 1, PATCHES)
    assert made.labels is not None
    assert made.patients is not None
    stored = Predictions(
        names=made.names, patients=made.patients, x=made.x, y=made.y, labels=made.labels,
        logits={"cnn": scores}, probabilities={"cnn": scores / 2 + 0.5}, members={"cnn": scores[:, None]},
        thresholds={"cnn": 0.5}, brightness=scores, haematoxylin=scores, eosin=scores, near_white=scores > 2,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        return {PREDICTIONS_FILE: save_predictions(stored, Path(place)).read_bytes()}


def measured() -> Files:
    """What is kept beside predictions and final models as arrays."""
    from search.final.likeness import Cloud, Likeness, made_for, save_likeness
    from studies.findings.measured import save_measures
    from studies.findings.robustness import save_disturbed
    from studies.records import Disturbed

    made = patches()
    assert made.labels is not None
    assert made.patients is not None
    cloud = Cloud(np.zeros((2, 3), np.float32), np.eye(3, dtype=np.float32), 1.5)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        save_measures(np.ones((PATCHES, 5)), place)
        save_disturbed(
            Disturbed(("blurred",), np.ones((2, PATCHES)), made.labels, made.patients, 1.5), ["a" * 64], place
        )
        save_likeness(Likeness(made_for(stored_model()), np.zeros(5), np.ones(5), 2.0, (cloud,)), place)
        return {path.name: path.read_bytes() for path in place.iterdir()}


def published() -> Files:
    """What is kept beside final models as JSON."""
    from search.final.neighbours import publish_neighbours
    from search.final.stored_ensemble import ENSEMBLE_FILE, StoredEnsemble, StoredPart
    from studies.final_models import Fit, Gain, Neighbours
    from studies.findings.slides import save_tissue
    from studies.records import to_json
    from studies.speeds import Layers, NetworkSpeed, Speeds

    layers, fit = Layers(1, 2, 0.5), Fit(1.0, 0.5, None, None, "stated")
    speeds = Speeds("cpu", 64, "fp32", (NetworkSpeed("cnn", "best", "k", layers, layers, ""),))
    gain = Gain(("best",), 0.1, None, None, "too few patients", 3, 9)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        publish_neighbours(place, "study", "p" * 64, Neighbours("ensemble", 1.0, 0.5, 0.5, 0.1, 0.0, 6.5, fit, gain))
        save_tissue({"S0001": b"a picture"}, place)
        ensemble = StoredEnsemble("study", (StoredPart(2, stored_model()),), 1.0, 0.5, "p" * 64)
        made = {ENSEMBLE_FILE: to_json(ensemble).encode(), "speeds.json": to_json(speeds).encode()}
        return made | {path.name: path.read_bytes() for path in place.iterdir() if path.suffix == ".json"}


def checkpoint() -> Files:
    """A checkpoint of ``job``."""
    from search.workers.checkpoints import Checkpoint

    training = {"epoch": 1, "network": {"a.weight": _tensor(64)}, "optimizer": {"state": {0: {"step": _tensor(1)}}}}
    from search.training.jobs import EpochReport

    told = [EpochReport(1, {"auc": 0.75}, 0.5, {"cost": {"training": 1.0}})]
    with tempfile.TemporaryDirectory() as place:
        Checkpoint("contiguous", told, training).write(job(Path(place)))
        return {"last.pt": (Path(place) / "last.pt").read_bytes()}


def job(place: Path) -> "object":
    """A job with its checkpoint in ``place``."""
    from search.training.jobs import Job

    return Job("cnn 0", "cnn", 0, {"width": 16}, 7, 3, 3, place)


def _tensor(count: int) -> object:
    import torch

    return torch.arange(count, dtype=torch.float32)


@functools.cache
def final_model() -> Files:
    """A final model with one member."""
    from optuna.trial import FixedTrial
    from safetensors.torch import save

    from models import cnn
    from search.final.members import MODEL_FILE
    from studies.records import to_json

    weights = save(cnn.build(cnn.suggest(FixedTrial(stored_model().params)), None).state_dict())
    stored = stored_model(hashlib.sha256(weights).hexdigest())
    return {MODEL_FILE: to_json(stored).encode(), stored.members[0][0]: weights}


def stored_model(sha256: str = "a" * 64) -> "StoredModel":
    """A final model whose one member has this sha256."""
    from models import cnn
    from search.final.members import StoredModel

    params, member = {**cnn.DEFAULT, "width": 16, "depth": 1}, ("members/m.safetensors", sha256)
    return StoredModel("study", "cnn", params, (member,), 1.0, 0.5, "fp32", "random", "p" * 64)


def weights() -> Files:
    """Pretrained weights with the few layers of ``FEW_BLOCKS``."""
    from safetensors.numpy import save

    from models import _weights

    real, _weights.BLOCKS = _weights.BLOCKS, FEW_BLOCKS
    tensors = {name: np.zeros(shape, np.float32) for name, shape in _weights.expected_shapes().items()}
    _weights.BLOCKS = real
    return {"w.safetensors": save(tensors, {"mean": "[0.4, 0.5, 0.6]", "std": "[0.2, 0.3, 0.4]", "source": "made up"})}


def configurations() -> Files:
    """What ``--enqueue`` takes."""
    from models.cnn import DEFAULT

    return {"first.json": json.dumps({"cnn": [{**DEFAULT, "width": 16}, {"dropout": 0.25}]}).encode()}


@functools.cache
def database() -> Files:
    """An SQLite database with a study in it."""
    import optuna

    from studies.storage.definition import DEFINITION, StudyDefinition
    from studies.storage.studies import open_storage, quiet_optuna

    with tempfile.TemporaryDirectory() as place:
        storage = open_storage(f"sqlite:///{place}/studies.db")
        with quiet_optuna():
            study = optuna.create_study(storage=storage, study_name="study-cnn")
            words = ("auc", "none", "fp32", "random", "d" * 64, "contiguous")
            definition = StudyDefinition("cnn", "a" * 64, {}, 1, *words, threads=1, pruner="none")
            study.set_user_attr(DEFINITION, definition.as_attributes())
            study.add_trial(optuna.trial.create_trial(value=0.5, intermediate_values={1: 0.5}))
        storage.engine.dispose()
        return {"studies.db": (Path(place) / "studies.db").read_bytes()}


def other_database() -> bytes:
    """An SQLite database of another program."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "other.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE bookmarks (url TEXT)")
            connection.commit()
        return path.read_bytes()


def resealed(content: bytes) -> bytes:
    """A lock whose digest fits its content again, so that what comes after the digest is reached."""
    try:
        fields = json.loads(content)
        fields.pop("digest", None)
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        fields["digest"] = hashlib.sha256(text.encode()).hexdigest()
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return content


def resigned(files: Files) -> Files:
    """A final model whose JSON states the hash that its member has now, so that the member is read."""
    try:
        stored = json.loads(files["model.json"])  # type: ignore[arg-type]
        content = files["members/m.safetensors"]
        stored["members"][0][1] = hashlib.sha256(content).hexdigest()  # type: ignore[arg-type]
        return files | {"model.json": json.dumps(stored).encode()}
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return files
