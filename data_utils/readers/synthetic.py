"""Made-up patients and patches, for a first try and for tests.

A patch shows nuclei on stroma. With IDC they are few and large, without it many and small; number times squared radius
is the same, and a nucleus is shaded by the distance from its centre in radii, so that both classes cover the same area
with the same colours (a Boolean model of random discs): only texture tells them apart. The sizes of both classes
overlap, so that even who measures them without an error is sometimes wrong: nobody reaches an AUC above 0.98. Each
patient has a stain of its own, which tells patients apart but not classes.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError
from data_utils.files import shown
from data_utils.readers.patchset import (
    LARGEST_SIDE,
    SMALLEST_SIDE,
    USUAL_SIDE,
    Ints,
    PatchSet,
    Pixels,
    Strings,
    chunks,
)

VERSION = 2
"""Raised whenever the same parameters give other pixels."""

DEFAULT_COUNT = 1200
MIN_COUNT, MAX_COUNT = 60, 1_000_000
_PATCHES_PER_PATIENT = 5  # on average: statistics need patients, and a first try should not need many patches

_RADIUS = (3.4, 5.8)  # pixels, without and with IDC
_SPREAD = 1.4  # a patch's nuclei are smaller or larger by up to this factor: the classes overlap by a fifth
_COVERAGE = 0.75  # expected number of nuclei over a pixel: 1 - exp(-0.75) = 53 % of the area
_MARGIN = 10.0  # nuclei may be centred outside of the patch

# colours as optical density per channel, after Ruifrok & Johnston 2001
_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], dtype=np.float32)
_EOSIN = np.array([0.07, 0.99, 0.11], dtype=np.float32)

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SyntheticRequest:
    """What ``synthetic:COUNT@SIDE:SEED`` asks for; the side in pixels."""

    count: int
    seed: int
    side: int = USUAL_SIDE

    @property
    def identity(self) -> tuple[int, ...]:
        """What tells its patches from others; of the usual side as it was before there were others."""
        return (self.count, self.seed, *(() if self.side == USUAL_SIDE else (self.side,)))


def parse(source: str) -> SyntheticRequest | None:
    """Reads ``synthetic[:COUNT[@SIDE][:SEED]]``; None for anything else.

    Raises:
        FormatError: it begins so, but goes on otherwise, or asks for too few or too many patches or pixels.
    """
    if source.partition(":")[0] != "synthetic":
        return None
    found = re.fullmatch(r"synthetic(?::([0-9]{1,9})(?:@([0-9]{1,9}))?(?::([0-9]{1,18}))?)?", source)
    if found is None:
        raise FormatError(
            f"--data {shown(source)} is not understood; expected synthetic, synthetic:600, synthetic:600:SEED or, "
            "with patches of 96 pixels, synthetic:600@96"
        )
    count = int(found[1] or DEFAULT_COUNT)
    if not MIN_COUNT <= count <= MAX_COUNT:
        raise FormatError(f"--data {source} asks for {count} patches; expected {MIN_COUNT} to {MAX_COUNT}")
    side = int(found[2] or USUAL_SIDE)
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise FormatError(
            f"--data {source} asks for patches of {side} pixels; expected a side of {SMALLEST_SIDE} to {LARGEST_SIDE}"
        )
    return SyntheticRequest(count, int(found[3] or 0), side)


def make_patches(request: SyntheticRequest, source: str) -> PatchSet:
    """Draws patients and their patches; the same request always gives the same pixels."""
    rng = np.random.default_rng([request.seed, VERSION])
    patients = request.count // _PATCHES_PER_PATIENT
    owner = _owners(rng, request.count, patients)
    labels = _labels(rng, owner, patients)
    x, y = _positions(owner, request.side)
    ids = np.array([f"S{patient + 1:04d}" for patient in range(patients)])[owner]
    return PatchSet(
        pixels=_paint(rng, labels, _stains(rng, patients)[owner], request.side),
        labels=labels,
        patients=ids,
        names=_names(ids, x, y, labels),
        x=x,
        y=y,
        source=source,
        synthetic=True,
        found=request.count,
        exclusions=(),
    )


def _owners(rng: np.random.Generator, count: int, patients: int) -> Ints:
    """(N,) index of each patch's patient, sorted; patients differ in size, each has at least 3 patches."""
    share = rng.dirichlet(np.full(patients, 4.0))
    extra = rng.multinomial(count - 3 * patients, share)
    return np.repeat(np.arange(patients), extra + 3)


def _labels(rng: np.random.Generator, owner: Ints, patients: int) -> Ints:
    """(N,) 0 or 1; how much IDC there is differs between patients, a patient's first two patches show both."""
    prevalence = rng.uniform(0.15, 0.75, patients)
    labels = (rng.random(len(owner)) < prevalence[owner]).astype(np.int64)
    first = np.searchsorted(owner, np.arange(patients))
    labels[first], labels[first + 1] = 1, 0
    return labels


def _positions(owner: Ints, patch: int) -> tuple[Ints, Ints]:
    """Patches of a patient lie side by side in rows of ten, a patch's pixels apart, as in the public set's grid."""
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    return 1 + patch * (place % 10), 1 + patch * (place // 10)


def _names(ids: Strings, x: Ints, y: Ints, labels: Ints) -> Strings:
    rows = zip(ids.tolist(), x.tolist(), y.tolist(), labels.tolist(), strict=True)
    return np.array([f"{patient}_idx5_x{x}_y{y}_class{label}.png" for patient, x, y, label in rows])


def _stains(rng: np.random.Generator, patients: int) -> Array:
    """(patients, 2, 3) optical density per channel of full haematoxylin and full eosin; strength and hue differ."""
    base = np.stack([_HAEMATOXYLIN, _EOSIN])
    hue = base + rng.normal(0, 0.06, (patients, 2, 3))
    strength = rng.uniform(0.75, 1.3, (patients, 2, 1)) * np.array([[1.0], [0.55]])
    stains: Array = np.clip(hue * strength, 0.02, None).astype(np.float32)
    return stains


def _paint(rng: np.random.Generator, labels: Ints, stains: Array, patch: int) -> Pixels:
    pixels = np.empty((len(labels), patch, patch, 3), dtype=np.uint8)
    for piece in chunks(len(labels), 1024, patch):  # bounds the memory of the float images
        pixels[piece] = _paint_chunk(rng, labels[piece], stains[piece], patch)
    return pixels


def _paint_chunk(rng: np.random.Generator, labels: Ints, stains: Array, patch: int) -> Pixels:
    nuclei = _nuclei(rng, _radii(rng, labels), patch)  # (N, patch, patch) in [0, 1]
    stroma = 0.55 + 0.25 * _fibres(rng, len(labels), patch)
    amount = np.stack([0.12 + 0.8 * nuclei, stroma * (1 - 0.5 * nuclei)], axis=-1)  # (N, patch, patch, 2)
    amount *= rng.uniform(0.85, 1.15, (len(labels), 1, 1, 2)).astype(np.float32)  # thickness of the section
    density = np.einsum("nhws,nsc->nhwc", amount, stains)
    density += rng.normal(0, 0.03, density.shape).astype(np.float32)
    painted: Pixels = np.clip(255 * np.exp(-density), 0, 255).astype(np.uint8)
    return painted


def _radii(rng: np.random.Generator, labels: Ints) -> Array:
    """(N,) typical radius of each patch's nuclei, in pixels."""
    factor = _SPREAD ** rng.uniform(-1, 1, len(labels))
    return (np.array(_RADIUS)[labels] * factor).astype(np.float32)


def _nuclei(rng: np.random.Generator, radius: Array, patch: int) -> Array:
    """(N, patch, patch) in [0, 1]: how much of a nucleus each pixel shows, for (N,) radii."""
    side = patch + 2 * _MARGIN
    number = rng.poisson(_COVERAGE * side**2 / (np.pi * radius**2))  # (N,)
    axis = np.arange(patch, dtype=np.float32)
    nearest = np.full((len(radius), patch, patch), 9.0, dtype=np.float32)  # squared, in radii
    for nth in range(number.max()):
        rows = np.flatnonzero(number > nth)
        centre = rng.uniform(-_MARGIN, patch + _MARGIN, (2, len(rows), 1)).astype(np.float32)
        scale = radius[rows, None] * rng.uniform(0.8, 1.2, (2, len(rows), 1)).astype(np.float32)  # ellipses
        down, across = ((axis - centre) / scale) ** 2  # each (rows, patch)
        nearest[rows] = np.minimum(nearest[rows], down[:, :, None] + across[:, None, :])
    shown: Array = 1 / (1 + np.exp(np.clip(8 * (np.sqrt(nearest) - 1), -30, 30)))
    return shown


def _fibres(rng: np.random.Generator, count: int, patch: int) -> Array:
    """(N, patch, patch) in [-1, 1]: waves of a random direction, length and phase, the same for both classes."""
    angle, length, phase = (
        rng.uniform(low, high, (count, 1, 1)).astype(np.float32) for low, high in ((0, 3.15), (7, 20), (0, 6.3))
    )
    axis = np.arange(patch, dtype=np.float32)
    along = np.cos(angle) * axis[:, None] + np.sin(angle) * axis[None, :]
    return np.sin(2 * np.pi * along / length + phase)
