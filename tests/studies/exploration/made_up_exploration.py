"""Explorations of made-up numbers: no patch is behind them."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from studies.exploration.explored import FLAGS, MEASURES, Doubts, Explored, PatchMap, Scored, Sealed, Sheet

HOSTILE = '<script>alert("patient")</script> & =1+1'
SEALED = Sealed(lock_digest="5e" * 32, patients=9, patches=210, idc=70)
_KINDS = (
    "idc",
    "not_idc",
    "near_white",
    "near_black",
    "blurred",
    "contradicting",
    "exact_duplicates",
    "near_duplicates",
    "doubted_idc",
    "doubted_not_idc",
)


def explored(*, patches: int = 400, patients: int = 20, seed: int = 0, hostile: bool = False, **other: Any) -> Explored:
    """An exploration with something to say in every section; ``other`` replaces its fields."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(patches) < 0.5).astype(np.int64)
    owner = rng.integers(0, patients, patches)
    ids = np.array([f"{HOSTILE} {number}" if hostile else f"p{number:02d}" for number in range(patients)])
    shift = 0.8 * labels + 0.7 * rng.normal(size=patients)[owner]
    levels = {name: 100 + 20 * (rng.normal(size=patches) - shift) for name in MEASURES}
    levels["red"] += 100  # as tissue has it
    exact = np.arange(patches)
    exact[[1, 2, 5]] = [0, 0, 4]
    near = exact.copy()
    near[[10, 20]] = 9
    modelled = np.setdiff1d(np.arange(patches), [1, 2, 4, 5])
    scored = tuple(_scored(name, labels[modelled], gain, rng) for name, gain in (("colour", 1.5), ("features", 2.5)))
    made = Explored(
        study="made-up",
        source=HOSTILE if hostile else "patches.zip",
        synthetic=False,
        side=50,
        found=patches + 12,
        exclusions=(("other size than 50x50", 12),),
        sealed=None,
        labels=labels,
        patients=ids[owner],
        names=np.array([f"{HOSTILE if hostile else 'patch'}_{row}.png" for row in range(patches)]),
        measures=levels,
        flags={name: rng.random(patches) < 0.02 + 0.25 * (labels == 0) for name in FLAGS},
        highest=np.full(patches, 240, np.uint8),
        exact=exact,
        near=near,
        modelled=modelled,
        whole=len(modelled) + 100,
        scored=scored,
        doubts=_doubts(scored[-1], labels[modelled]),
        map=PatchMap("t-SNE of nothing.", modelled[:150], rng.normal(size=(150, 2))),
        sheets=tuple(_sheet(key, rng.permutation(patches)[:6]) for key in _KINDS),
        settings={"seed": "0"},
    )
    return replace(made, **other)


def without_patients(**other: Any) -> Explored:
    """Where patients are unknown."""
    made = explored(**other)
    return replace(made, patients=np.full(len(made.labels), ""))


def _scored(name: str, labels: np.ndarray, gain: float, rng: np.random.Generator) -> Scored:
    logits = gain * (labels - 0.5) + rng.normal(size=len(labels))
    return Scored(name, logits, np.arange(len(labels)) % 5)


def _doubts(scored: Scored, labels: np.ndarray) -> Doubts:
    probabilities = 1 / (1 + np.exp(-scored.logits))
    given = np.where(labels == 1, probabilities, 1 - probabilities)
    return Doubts(scored.name, probabilities, np.argsort(given), given < 0.2)


def _sheet(key: str, rows: np.ndarray) -> Sheet:
    pictures = []
    for row in rows:
        file = io.BytesIO()
        Image.fromarray(np.full((50, 50, 3), int(row) % 255, np.uint8)).save(file, format="PNG")
        pictures.append(file.getvalue())
    return Sheet(key, rows, tuple(pictures))
