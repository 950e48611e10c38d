"""How like the development patches others are: in colour, stain, sharpness, and in a network's own features.

The features are what each member's last linear layer is given. Their distance is Mahalanobis' to the nearer class, with
one covariance for both (Lee et al., "A simple unified framework for detecting out-of-distribution samples and
adversarial attacks", NeurIPS 2018, arXiv:1807.03888), shrunk after Ledoit & Wolf (2004). What is usual is known from
patients that a member did not learn from. Fitted once, when a model is published, and kept beside it.
"""

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf
from torch import nn

from data_utils.quality.histograms import mean_colour, saturation
from data_utils.quality.measures import brightness, sharpness, stain_density
from data_utils.readers.patchset import Ints, PatchSet, Pixels, known
from search.final.members import StoredModel, penultimate, place_members
from search.final.scored import patients_of
from search.final.wholes import Wholes, fit_wholes, stored_wholes
from studies.errors import RecordError
from studies.files import write_whole
from studies.npz import MEND, read_npz
from studies.records import Floats

LIKENESS_FILE = "likeness.npz"
USUAL = 0.01
"""Share of a development patient's patches that lie beyond each of the bounds."""
MOST_FITTED = 4096
"""Development patches that it is fitted to, taken evenly."""
COLOUR, STAIN, SHARPNESS, FEATURES = "colour", "stain", "sharpness", "features"
_OF = np.array([COLOUR, COLOUR, STAIN, STAIN, SHARPNESS, COLOUR])
"""What each measure of pixels is about; of a version before, the first five."""
_TAILS = USUAL / (2 * np.array([np.count_nonzero(kind == _OF) for kind in _OF]))
"""Of each measure, on each side: together they are what is usual of its kind."""
_RED_LESS_BLUE = 5  # its place: swapped channels change no other measure by much
_RIDGE = 1e-6  # of the mean variance; features that are 0 on all patches would have none

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Features of the patches that a member learned from.

    Attributes:
        means: (classes, D).
        whitening: (D, D); the covariance of features times its transpose is the unit matrix.
        usual: median distance of patches of patients that the member did not learn from.
    """

    means: Reals
    whitening: Reals
    usual: float

    def distances(self, features: Reals) -> Floats:
        """(N, D) -> (N,) to the nearer class, over the usual one."""
        apart = (features[:, None, :] - self.means) @ self.whitening.T  # (N, classes, D)
        distances: Floats = np.sqrt(np.square(apart).sum(axis=2)).min(axis=1).astype(np.float64)
        return distances / self.usual


@dataclass(frozen=True, eq=False)
class Likeness:
    """What is usual of development patches.

    Attributes:
        made_for: which model it is fitted to, as the function of this name has it.
        low, high: (6,) bounds of the measures of pixels; (5,) of a version that had no red less blue.
        threshold: of the members' mean distance.
        clouds: of each member; none where its networks have no linear layer.
        wholes: of patients; None with too few of them, and of a version that had none.
        older: whether it is of such a version.
    """

    made_for: str
    low: Floats
    high: Floats
    threshold: float
    clouds: tuple[Cloud, ...]
    wholes: Wholes | None = None
    older: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a patch can be unlike in."""
        return (COLOUR, STAIN, SHARPNESS, *([FEATURES] if self.clouds else []))

    def judge(
        self, stored: StoredModel, networks: Sequence[nn.Module], pixels: Pixels, found: Floats, device: str
    ) -> tuple[Floats, list[str]]:
        """How far patches are, and beyond what; ``found`` is what ``judged`` measures of them.

        Returns:
            (N,) mean distance over the members, 1 at the threshold (NaN without features), and (N,) what of each patch
            is beyond its bounds: some of "colour", "stain", "sharpness" and "features", with commas.
        """
        found = found[:, : len(self.low)]
        beyond: npt.NDArray[np.bool_] = np.clip(found, self.low, self.high) != found
        distances = np.full(len(pixels), np.nan)
        if self.clouds:
            distances = _mean_distance(self.clouds, penultimate(stored, networks, pixels, device)) / self.threshold
        about: dict[str, npt.NDArray[np.bool_]] = {
            kind: np.asarray(beyond[:, _OF[: len(self.low)] == kind].any(axis=1)) for kind in (COLOUR, STAIN, SHARPNESS)
        }
        about[FEATURES] = np.greater(distances, 1)
        return distances, [",".join(kind for kind, rows in about.items() if rows[row]) for row in range(len(pixels))]

    def as_swapped(self, found: Floats) -> npt.NDArray[np.bool_]:
        """(N,) whether a patch would have a usual colour if red and blue changed places, and has none as it is.

        Other light makes a patch blue as well: it is no proof.
        """
        if len(self.low) <= _RED_LESS_BLUE:
            return np.zeros(len(found), np.bool_)
        low, high, less = self.low[_RED_LESS_BLUE], self.high[_RED_LESS_BLUE], found[:, _RED_LESS_BLUE]
        unusual: npt.NDArray[np.bool_] = ((less < low) | (less > high)) & (low <= -less) & (-less <= high)
        return unusual

    def unlike_as_wholes(self, means: Floats, counts: Floats) -> list[str]:
        """Beyond what patients are, by (P, 6) means of what ``judged`` measures of their (P,) patches; "" where usual.

        Asked only where there are ``wholes``.
        """
        assert self.wholes is not None
        beyond = self.wholes.beyond(means, counts, 2 * _TAILS)
        kinds = (COLOUR, STAIN, SHARPNESS)
        return [",".join(kind for kind in kinds if one[kind == _OF].any()) for one in beyond]


def measures(pixels: Pixels) -> Floats:
    """(N, 5): brightness, saturation, density of haematoxylin and of eosin, logarithm of the sharpness."""
    return np.stack(
        [brightness(pixels), saturation(pixels), *stain_density(pixels), np.log1p(sharpness(pixels))], axis=1
    )


def judged(pixels: Pixels) -> Floats:
    """(N, 6): the measures, and red less blue, -255 to 255."""
    red, _, blue = mean_colour(pixels).T
    return np.column_stack([measures(pixels), red - blue])


def fit(stored: StoredModel, folder: Path, development: PatchSet, fold: Ints, device: str) -> Likeness:
    """What is usual of a final model's development patches.

    Args:
        stored: the model.
        folder: of its members.
        development: its development patches, N.
        fold: (N,) that of each patch; member k did not learn from those of fold k.
        device: "cpu" or "cuda".
    """
    count = len(development)
    rows = np.unique(np.linspace(0, count - 1, min(count, MOST_FITTED)).astype(np.int64))
    pixels, labels, fold = development.pixels[rows], known(development)[rows], fold[rows]
    weight = _by_patient(patients_of(development)[rows])
    found = judged(pixels)
    low, high = (
        np.array([quantile(one, weight, at) for one, at in zip(found.T, level, strict=True)])
        for level in (_TAILS, 1 - _TAILS)
    )
    features = penultimate(stored, place_members(stored, folder, device), pixels, device)
    clouds = tuple(_cloud(one, labels, fold != number) for number, one in enumerate(features))
    held_out = np.full(len(rows), np.nan)
    for number, (cloud, one) in enumerate(zip(clouds, features, strict=True)):
        held_out[fold == number] = cloud.distances(one[fold == number])
    threshold = quantile(held_out, weight, 1 - USUAL) if clouds else float("nan")
    wholes = fit_wholes(found, patients_of(development)[rows])
    return Likeness(made_for(stored), low, high, threshold, clouds, wholes)


def _cloud(features: Reals, labels: Ints, learned: npt.NDArray[np.bool_]) -> Cloud:
    """Of a member; ``learned`` is (N,) which patches it learned from."""
    classes = np.unique(labels[learned])
    means = np.stack([features[learned & (labels == one)].mean(axis=0) for one in classes])
    apart = features[learned] - means[np.searchsorted(classes, labels[learned])]
    covariance, _ = ledoit_wolf(apart.astype(np.float64), assume_centered=True)
    covariance += np.eye(len(covariance)) * max(_RIDGE * np.trace(covariance) / len(covariance), np.finfo(float).tiny)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.float32)
    cloud = Cloud(means.astype(np.float32), whitening, 1.0)
    return Cloud(cloud.means, whitening, max(float(np.median(cloud.distances(features[~learned]))), _RIDGE))


def _mean_distance(clouds: Sequence[Cloud], features: Sequence[Reals]) -> Floats:
    distances: Floats = np.mean([one.distances(of) for one, of in zip(clouds, features, strict=True)], axis=0)
    return distances


def _by_patient(patients: npt.NDArray[np.str_]) -> Floats:
    """(N,) weights with which each patient counts the same; they add up to 1."""
    _, unit, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    weight: Floats = 1 / (len(sizes) * sizes[unit])
    return weight


def quantile(values: Floats, weight: Floats, level: float) -> float:
    """The least value that a share ``level`` of the weight does not pass."""
    order = np.argsort(values)
    place = np.searchsorted(np.cumsum(weight[order]), level - 1e-9)
    return float(values[order][min(int(place), len(values) - 1)])


# --- on disk --------------------------------------------------------------------------------------------------------


def keep_likeness(stored: StoredModel, folder: Path, development: PatchSet, fold: Ints, device: str) -> None:
    """Fits it and leaves it beside its model, unless it is there; see ``fit``.

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there.
    """
    with suppress(RecordError):  # damaged: it is fitted again
        if load_likeness(stored, folder) is not None:
            return
    save_likeness(fit(stored, folder, development, fold, device), folder)


def save_likeness(likeness: Likeness, folder: Path) -> None:
    """Leaves it beside its model.

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there.
    """
    content = io.BytesIO()
    arrays = {
        f"{number}/{name}": getattr(cloud, name)
        for number, cloud in enumerate(likeness.clouds)
        for name in ("means", "whitening", "usual")
    }
    about = {"made_for": np.array(likeness.made_for), "threshold": np.array(likeness.threshold)}
    arrays |= {} if likeness.wholes is None else likeness.wholes.arrays()
    np.savez(content, allow_pickle=False, low=likeness.low, high=likeness.high, **about, **arrays)
    write_whole(folder / LIKENESS_FILE, content.getvalue())


def load_likeness(stored: StoredModel, folder: Path) -> Likeness | None:
    """That of a final model; None where it was published by a version that kept none, or is of another model.

    Raises:
        RecordError: it cannot be read.
    """
    path = folder / LIKENESS_FILE
    if not os.path.lexists(path):
        return None
    arrays = read_npz(path)
    try:
        found = _from(arrays)
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{path} cannot be read ({error}): {MEND}") from error
    return found if found.made_for == made_for(stored) else None


def made_for(stored: StoredModel) -> str:
    """Of plan and members: an ensemble may hold another configuration than the one that lies beside it."""
    return sha256(repr((stored.plan_digest, stored.members)).encode()).hexdigest()


def _from(arrays: Mapping[str, npt.NDArray[Any]]) -> Likeness:
    count = len({name.partition("/")[0] for name in arrays if "/" in name})
    clouds = tuple(
        Cloud(arrays[f"{k}/means"], arrays[f"{k}/whitening"], float(arrays[f"{k}/usual"])) for k in range(count)
    )
    fitting = all(one.whitening.shape == 2 * one.means.shape[1:] for one in clouds)
    shape = arrays["low"].shape
    if not fitting or shape not in (_OF.shape, (_RED_LESS_BLUE,)) or arrays["high"].shape != shape:
        raise ValueError("its arrays do not belong together")
    bounds = arrays["low"], arrays["high"], float(arrays["threshold"])
    wholes = stored_wholes(arrays)
    older = wholes is None and (len(bounds[0]) <= _RED_LESS_BLUE or "whole_mean" in arrays)
    return Likeness(str(arrays["made_for"]), *bounds, clouds, wholes, older)
