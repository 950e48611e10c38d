"""What is done to the pixels of every patch before a network sees them; fitted on the training patches alone.

Each patch is brought to a reference by its own statistics, so that its result depends on no other patch: not on the
order, not on how many are taken at a time. A patch that has nothing to measure (glass, a single colour, for Macenko
also too few stained pixels or a single stain) is given back as it is: stretched, its noise would look like tissue.
"""

import math
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter

from data_utils.colour import _macenko
from data_utils.colour._lab import from_lab, to_lab
from data_utils.errors import FormatError
from data_utils.quality.measures import near_white
from data_utils.readers.patchset import USUAL_SIDE, Bools, Ints, Pixels, Progress, chunks, new_pixels

Kind = Literal["none", "standardise", "reinhard", "macenko"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FIT_PATCHES = 1024
"""Most patches that a reference is fitted on, taken evenly from the training patches: 2.5 million pixels of the usual
side; of larger patches so many fewer."""
FLATTEST = 1.0  # standard deviation of a channel, in levels or units of CIELAB, below which there is no contrast
_AT_ONCE = 64  # patches of the usual side in work, so that memory stays flat and in the caches of a CPU: 2 MB an array
_DIGITS = 6  # of fitted numbers: whoever fits again, on another machine, gets the same

Triple = tuple[float, float, float]
Reals = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Moments:
    """The reference of "standardise" (RGB, 0 to 255) and of "reinhard" (CIELAB): of each channel's three.

    Attributes:
        mean: median over the training patches of a patch's mean.
        spread: median over the training patches of a patch's standard deviation.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    mean: Triple
    spread: Triple


@dataclass(frozen=True)
class Stains:
    """The reference of "macenko".

    Attributes:
        haematoxylin, eosin: optical density of red, green and blue; unit vectors.
        strongest: amount of each, the 99th percentile over the pooled pixels of the training patches.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    haematoxylin: Triple
    eosin: Triple
    strongest: tuple[float, float]


@dataclass(frozen=True)
class Preprocessing:
    """A fitted transformation of pixels; ``Preprocessing()`` changes nothing.

    Attributes:
        kind: "none"; "standardise": each channel of a patch to the reference's mean and standard deviation; "reinhard":
            the same in CIELAB (Reinhard et al., "Color transfer between images", IEEE CG&A 21, 2001, whose lαβ is not
            defined for black; CIELAB is what H&E work takes); "macenko": amounts of the patch's own two stains,
            scaled to the reference's strongest and shown in the reference's colours (Macenko et al., ISBI 2009).
        reference: what was fitted; None for "none".
        patches: how many training patches it was fitted on.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    kind: Kind = "none"
    reference: Moments | Stains | None = None
    patches: int = 0

    def __post_init__(self) -> None:
        wanted = {"none": type(None), "macenko": Stains}.get(self.kind, Moments)
        if type(self.reference) is not wanted:
            raise ValueError(f"a preprocessing of the kind {self.kind} has no such reference: {self.reference}")
        if not all(math.isfinite(number) and abs(number) < 1000 for number in _numbers(self.reference)):
            raise ValueError(f"no patches give a reference like this one: {self.reference}")

    @property
    def digest(self) -> str:
        """Sha256 of the canonical JSON; "" for none."""
        return "" if self.kind == "none" else sha256(TypeAdapter(Preprocessing).dump_json(self)).hexdigest()

    @property
    def words(self) -> str:
        """How it was fitted, for a report."""
        if self.kind == "none":
            return "none"
        fitted = f"{self.kind}, fitted on {self.patches} training patches"
        return f"{fitted}: {_in_words(self.reference)} (sha256 {self.digest[:16]})"

    def apply(self, pixels: Pixels, into: Path | None = None, progress: Progress | None = None) -> Pixels:
        """The same patches as a network sees them.

        Args:
            pixels: (N, S, S, 3) uint8 RGB, in memory or memory-mapped; never written to.
            into: a new ``.npy`` file for the result, memory-mapped; in memory by default.
            progress: called with (done, all).

        Returns:
            (N, S, S, 3) uint8 RGB; ``pixels`` itself where nothing is to be done.
        """
        if self.kind == "none":
            return pixels
        side = pixels.shape[1]
        done = new_pixels(len(pixels), side, into)
        for piece in chunks(len(pixels), _AT_ONCE, side):
            flat = np.asarray(pixels[piece]).reshape(-1, side**2, 3)
            changed, sound = self._changed(flat)
            sound &= ~near_white(pixels[piece])
            done[piece] = np.where(sound[:, None, None], changed, flat).reshape(-1, side, side, 3)
            if progress is not None:
                progress(piece.stop, len(pixels))
        return done

    def _changed(self, flat: Pixels) -> tuple[Pixels, Bools]:
        """(n, P, 3) -> the same, changed, and (n,) whether that means anything."""
        if isinstance(self.reference, Stains):
            return _restain(flat, self.reference)
        assert self.reference is not None
        if self.kind == "reinhard":
            moved, sound = _moved(to_lab(flat), self.reference)
            return from_lab(moved), sound
        moved, sound = _moved(_channels(flat), self.reference)
        return np.rint(moved).clip(0, 255).astype(np.uint8).transpose(0, 2, 1), sound


def fit(kind: str, pixels: Pixels, rows: Ints) -> Preprocessing:
    """Fits the reference.

    Args:
        kind: one of ``KINDS``.
        pixels: (N, S, S, 3) uint8 RGB.
        rows: (n,) of the training patches, and of no others; up to 1,024 of them are taken, evenly, without glass.

    Raises:
        FormatError: no reference can be taken from these patches: they are glass, or have no two stains.
    """
    if kind == "none":
        return Preprocessing()
    most = min(len(rows), FIT_PATCHES, FIT_PATCHES * USUAL_SIDE**2 // pixels.shape[1] ** 2)
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))]
    tissue = np.asarray(pixels[chosen])
    flat = tissue[~near_white(tissue)].reshape(-1, pixels.shape[1] ** 2, 3)
    if not len(flat):
        raise FormatError(
            f"--preprocess {kind}: all training patches are glass, expected tissue; use --preprocess none"
        )
    found = _stains(flat) if kind == "macenko" else _moments(kind, flat)
    return Preprocessing(TypeAdapter(Kind).validate_python(kind), found, len(flat))


def _moments(kind: str, flat: Pixels) -> Moments:
    measured = []
    for piece in chunks(len(flat), _AT_ONCE, math.isqrt(flat.shape[1])):
        values = to_lab(flat[piece]) if kind == "reinhard" else _channels(flat[piece])
        measured.append(np.stack([values.mean(axis=2), values.std(axis=2)], axis=1))
    mean, spread = np.median(np.concatenate(measured), axis=0)  # of each (3,)
    return Moments(_triple(mean), _triple(spread))


def _stains(flat: Pixels) -> Stains:
    pooled = flat.reshape(1, -1, 3)
    density = _macenko.densities(pooled, np.float64)
    vectors, sound = _macenko.stain_vectors(density, _macenko.stained(pooled))
    most, there = _macenko.strongest(_macenko.amounts(density, vectors))
    if not (sound & there).all():
        raise FormatError(
            "--preprocess macenko: the training patches do not hold two stains, expected haematoxylin and eosin; "
            "use another --preprocess, or none"
        )
    haematoxylin, eosin = vectors[0].T
    return Stains(_triple(haematoxylin), _triple(eosin), (round(most[0, 0], _DIGITS), round(most[0, 1], _DIGITS)))


def _channels(flat: Pixels) -> Reals:
    """(n, P, 3) levels -> (n, 3, P) float32."""
    return np.ascontiguousarray(flat.transpose(0, 2, 1)).astype(np.float32)


def _moved(values: Reals, reference: Moments) -> tuple[Reals, Bools]:
    """(n, 3, P) with the reference's mean and standard deviation, and (n,) whether each channel had a contrast."""
    mean, spread = values.mean(axis=2, keepdims=True), values.std(axis=2, keepdims=True)
    scale = np.array(reference.spread, np.float32)[:, None] / np.maximum(spread, np.float32(FLATTEST))
    moved: Reals = (values - mean) * scale + np.array(reference.mean, np.float32)[:, None]
    return moved, (spread >= FLATTEST).all(axis=(1, 2))


def _restain(flat: Pixels, reference: Stains) -> tuple[Pixels, Bools]:
    density = _macenko.densities(flat, np.float32)
    vectors, sound = _macenko.stain_vectors(density, _macenko.stained(flat))
    amount = _macenko.amounts(density, vectors)
    most, there = _macenko.strongest(amount)
    scale = np.array(reference.strongest) / np.where(there[:, None], most, 1.0)  # (n, 2)
    colours = np.array([reference.haematoxylin, reference.eosin]).T * scale[:, None, :]  # (n, 3, 2)
    return _macenko.levels(colours.astype(np.float32) @ amount), sound & there


def _triple(values: Reals) -> Triple:
    red, green, blue = (round(float(value), _DIGITS) for value in values)
    return red, green, blue


def _numbers(reference: Moments | Stains | None) -> list[float]:
    return [] if reference is None else [number for numbers in vars(reference).values() for number in numbers]


def _in_words(reference: Moments | Stains | None) -> str:
    named = {} if reference is None else vars(reference)
    return "; ".join(f"{name} {', '.join(f'{number:.4g}' for number in named[name])}" for name in named)
