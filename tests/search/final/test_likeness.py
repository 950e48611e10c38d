"""Patches that are unlike the development patches: found by what was done to them, and others left alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from final_models import stored
from scipy.ndimage import gaussian_filter

from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import PatchSet
from search.final.likeness import (
    COLOUR,
    FEATURES,
    LIKENESS_FILE,
    SHARPNESS,
    STAIN,
    Likeness,
    fit,
    keep_likeness,
    load_likeness,
    quantile,
    save_likeness,
)
from search.final.likeness import judged as measured
from search.final.members import StoredModel, place_members
from studies.errors import RecordError

Judge = tuple[StoredModel, Path, Likeness]


def halves(count: int) -> tuple[PatchSet, PatchSet]:
    """Development patches, and as many of other patients who are like theirs."""
    patches = read_patches(f"synthetic:{2 * count}:3")
    assert patches.patients is not None
    rank = np.unique(patches.patients, return_inverse=True)[1]
    return patches.take(np.flatnonzero(rank % 2 == 0)), patches.take(np.flatnonzero(rank % 2))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("likeness")
    model = stored(folder, "cnn", {"depth": 1, "width": 16})
    development, _ = halves(400)
    assert development.patients is not None
    fold = np.unique(development.patients, return_inverse=True)[1] % 2
    keep_likeness(model, folder, development, fold, "cpu")
    found = load_likeness(model, folder)
    assert found is not None
    return model, folder, found


def judged(judge: Judge, pixels: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Distances, and the share of patches beyond the bounds of each kind."""
    model, folder, likeness = judge
    distances, beyond = likeness.judge(model, place_members(model, folder, "cpu"), pixels, measured(pixels), "cpu")
    return distances, {kind: np.mean([kind in one.split(",") for one in beyond]) for kind in likeness.kinds}


def test_patches_of_other_patients_of_the_same_kind_are_hardly_ever_unlike(judge: Judge) -> None:
    _, others = halves(400)
    distances, shares = judged(judge, others.pixels)
    assert set(shares) == {COLOUR, STAIN, SHARPNESS, FEATURES}
    assert max(shares.values()) < 0.1
    assert np.median(distances) < 0.8


def test_what_was_done_to_patches_is_named(judge: Judge) -> None:
    _, others = halves(400)
    pixels = np.asarray(others.pixels[:60])
    _, green = judged(judge, np.roll(pixels, 1, axis=-1))
    assert green[COLOUR] + green[STAIN] > 0.9
    assert green[FEATURES] > 0.9
    _, blurred = judged(judge, gaussian_filter(pixels, (0, 3, 3, 0)))
    assert blurred[SHARPNESS] > 0.9
    noise = np.random.default_rng(0).integers(0, 256, pixels.shape).astype(np.uint8)
    distances, other = judged(judge, noise)
    assert other[FEATURES] == 1
    assert distances.min() > 1
    _, dark = judged(judge, (pixels // 4).astype(np.uint8))
    assert dark[COLOUR] > 0.9


def test_red_and_blue_in_each_other_s_place_are_seen(judge: Judge) -> None:
    """Brightness, saturation and sharpness are the same then, and the network may find nothing unusual."""
    _, _, likeness = judge
    _, others = halves(400)
    swapped = np.ascontiguousarray(others.pixels[..., ::-1])
    assert likeness.as_swapped(measured(others.pixels)).mean() < 0.02
    assert likeness.as_swapped(measured(swapped)).mean() > 0.9
    assert judged(judge, swapped)[1][COLOUR] > 0.9


def test_bounds_of_a_version_that_knew_fewer_measures_are_used_as_they_are(judge: Judge, tmp_path: Path) -> None:
    model, folder, likeness = judge
    save_likeness(replace(likeness, low=likeness.low[:5], high=likeness.high[:5], wholes=None), tmp_path)
    before = load_likeness(model, tmp_path)
    assert before is not None
    pixels = np.ascontiguousarray(halves(400)[1].pixels[..., ::-1])
    _, shares = judged((model, folder, before), pixels)
    assert shares[COLOUR] < 0.1
    assert not before.as_swapped(measured(pixels)).any()
    assert (before.older, likeness.older) == (True, False)


def test_patients_as_wholes_of_a_version_that_counted_less_are_not_used_and_that_is_known(
    judge: Judge, tmp_path: Path
) -> None:
    model, folder, _ = judge
    arrays = dict(np.load(folder / LIKENESS_FILE))
    del arrays["whole_share"]
    np.savez(tmp_path / LIKENESS_FILE, **arrays)
    before = load_likeness(model, tmp_path)
    assert before is not None
    assert (before.wholes, before.older) == (None, True)


def test_it_is_fitted_once_and_again_for_another_plan_or_where_it_was_damaged(judge: Judge, tmp_path: Path) -> None:
    model, folder, likeness = judge
    assert load_likeness(replace(model, plan_digest="other"), folder) is None
    assert load_likeness(model, tmp_path) is None
    before = (folder / LIKENESS_FILE).read_bytes()
    nothing = halves(400)[0]
    keep_likeness(model, folder, nothing, np.zeros(0, np.int64), "cpu")  # would raise if it were fitted
    (folder / LIKENESS_FILE).write_bytes(before[:-50])
    with pytest.raises(RecordError, match=r"likeness\.npz cannot be read .*: put the original back"):
        load_likeness(model, folder)
    (folder / LIKENESS_FILE).write_bytes(before)
    again = load_likeness(model, folder)
    assert again is not None
    assert again.threshold == likeness.threshold


def test_networks_without_a_linear_layer_are_judged_by_pixels_alone(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder, _ = judge
    monkeypatch.setattr("search.final.likeness.penultimate", lambda *_: [])
    development, _ = halves(400)
    likeness = fit(model, folder, development, np.zeros(len(development), np.int64), "cpu")
    assert likeness.kinds == (COLOUR, STAIN, SHARPNESS)
    distances, _ = likeness.judge(model, [], development.pixels[:5], measured(development.pixels[:5]), "cpu")
    assert np.isnan(distances).all()


def test_each_patient_counts_the_same() -> None:
    values, weight = np.array([1.0, 2.0, 3.0, 9.0]), np.array([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert [quantile(values, weight, level) for level in (0.0, 0.5, 0.51, 1.0)] == [1, 3, 9, 9]
