"""Preprocessing: each patch by itself, whatever it is like, and as the peers do it."""

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

from data_utils.colour import preprocessing as module
from data_utils.colour.preprocessing import FIT_PATCHES, KINDS, Moments, Preprocessing, Stains, fit
from data_utils.errors import FormatError
from data_utils.quality.measures import near_white
from data_utils.readers.patches import read_patches

Pixels = npt.NDArray[np.uint8]
CHANGING = [kind for kind in KINDS if kind != "none"]
PATCH = (50, 50, 3)
RECORD = TypeAdapter(Preprocessing)


def made_up() -> Pixels:
    return read_patches("synthetic:300").pixels


MADE_UP = made_up()
FITTED = {kind: fit(kind, MADE_UP, np.arange(200)) for kind in CHANGING}


@pytest.fixture(scope="module")
def real(shared: Path) -> Pixels:
    return np.array(np.load(shared / "data" / "X.npy", mmap_mode="r")[::8])


def odd_patches() -> dict[str, Pixels]:
    """Patches in which there is nothing to measure, or next to nothing."""
    rng = np.random.default_rng(0)
    near_white = rng.integers(236, 256, PATCH)
    one_dot = near_white.copy()
    one_dot[10:12, 10:12] = (120, 60, 140)
    pink = np.broadcast_to((230, 160, 190), PATCH)
    one_stain = 255 * np.exp(-np.outer(rng.uniform(0.2, 2, 2500), (0.1, 0.9, 0.4))).reshape(PATCH)
    two_colours = np.where(np.arange(50)[:, None, None] < 25, (90, 40, 120), (230, 150, 190)) + np.zeros(PATCH)
    made = {
        "black": np.zeros(PATCH),
        "white": np.full(PATCH, 255),
        "grey": np.full(PATCH, 128),
        "pink": pink,
        "near white": near_white,
        "one dot": one_dot,
        "one stain": one_stain,
        "two colours": two_colours,
        "noise": rng.integers(0, 256, PATCH),
        "red": np.broadcast_to((255, 0, 0), PATCH),
    }
    return {name: patch.astype(np.uint8) for name, patch in made.items()}


ODD = odd_patches()


@pytest.mark.parametrize("kind", CHANGING)
@pytest.mark.parametrize("name", ODD)
def test_a_patch_with_nothing_to_measure_is_no_problem(kind: str, name: str) -> None:
    before = ODD[name].copy()
    after = FITTED[kind].apply(ODD[name][None])[0]
    assert after.dtype == np.uint8
    assert after.shape == PATCH
    np.testing.assert_array_equal(ODD[name], before)
    if name in ("black", "white", "grey", "pink", "near white", "red", "one dot"):
        np.testing.assert_array_equal(after, before)  # given back as it is
    if name == "one stain" and kind == "macenko":
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("kind", CHANGING)
@given(
    colours=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=4),
    noise=st.integers(0, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_patch_gives_a_patch(kind: str, colours: list[tuple[int, int, int]], noise: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(len(colours), 0.3))  # often one of them has nearly all pixels
    painted = np.array(colours)[rng.choice(len(colours), (2, 50, 50), p=shares)]
    patches = (painted + rng.integers(-noise, noise + 1, painted.shape)).clip(0, 255).astype(np.uint8)
    after = FITTED[kind].apply(patches)
    assert after.dtype == np.uint8
    np.testing.assert_array_equal(after[1], FITTED[kind].apply(patches[1:])[0])


@pytest.mark.parametrize("kind", CHANGING)
def test_the_result_is_the_same_however_many_are_taken_at_a_time(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pixels = np.concatenate([MADE_UP, np.stack(list(ODD.values()))])
    whole = FITTED[kind].apply(pixels)
    for at_once in (1, 7, 1000):
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        np.testing.assert_array_equal(FITTED[kind].apply(pixels, tmp_path / f"{at_once}.npy"), whole)
    order = np.random.default_rng(0).permutation(len(pixels))
    np.testing.assert_array_equal(FITTED[kind].apply(pixels[order]), whole[order])
    assert not np.array_equal(whole[:300], MADE_UP)


def test_none_is_the_very_same_array() -> None:
    assert fit("none", MADE_UP, np.arange(10)) == Preprocessing()
    assert Preprocessing().apply(MADE_UP) is MADE_UP
    assert Preprocessing().digest == ""


@pytest.mark.parametrize("kind", CHANGING)
def test_it_is_fitted_on_the_rows_that_it_is_given_and_on_no_others(kind: str) -> None:
    others = MADE_UP.copy()
    others[200:] = 255 - others[200:]
    assert fit(kind, others, np.arange(200)) == FITTED[kind]
    assert fit(kind, others, np.arange(100, 300)) != FITTED[kind]
    assert FITTED[kind].patches <= 200
    many = np.arange(5 * FIT_PATCHES) % 200
    assert FIT_PATCHES * 0.9 < fit(kind, MADE_UP, many).patches <= FIT_PATCHES


@pytest.mark.parametrize("kind", CHANGING)
def test_glass_has_no_reference(kind: str) -> None:
    with pytest.raises(FormatError, match=rf"--preprocess {kind}: all training patches are glass.*--preprocess none"):
        fit(kind, np.full((3, *PATCH), 250, np.uint8), np.arange(3))


def test_one_stain_is_no_reference_for_two() -> None:
    with pytest.raises(FormatError, match="do not hold two stains"):
        fit("macenko", ODD["one stain"][None], np.arange(1))


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_back_from_json(kind: str) -> None:
    fitted = FITTED.get(kind, Preprocessing())
    again = RECORD.validate_json(RECORD.dump_json(fitted))
    assert again == fitted
    assert again.digest == fitted.digest
    assert type(again.reference) is type(fitted.reference)


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "macenko"}',
        '{"kind": "none", "reference": {"mean": [1, 2, 3], "spread": [1, 1, 1]}, "patches": 3}',
        '{"kind": "macenko", "reference": {"mean": [1, 2, 3], "spread": [1, 1, 1]}, "patches": 3}',
        '{"kind": "reinhard", "reference": {"mean": [1, 2, 3], "spread": [1, 1, NaN]}, "patches": 3}',
        '{"kind": "reinhard", "reference": {"mean": [1, 2, 1e300], "spread": [1, 1, 1]}, "patches": 3}',
        '{"kind": "reinhard", "reference": {"mean": [1, 2], "spread": [1, 1, 1]}, "patches": 3}',
        '{"kind": "vahadane"}',
    ],
)
def test_what_was_never_fitted_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        RECORD.validate_json(text)


def test_standardised_channels_have_the_moments_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal((150, 120, 140), (10, 20, 15), (4, *PATCH)).clip(0, 255).astype(np.uint8)
    wanted = Moments((180.0, 130.0, 160.0), (12.0, 18.0, 14.0))
    after = Preprocessing("standardise", wanted, 1).apply(pixels).astype(float)
    np.testing.assert_allclose(after.mean(axis=(1, 2)), np.broadcast_to(wanted.mean, (4, 3)), atol=0.1)
    np.testing.assert_allclose(after.std(axis=(1, 2)), np.broadcast_to(wanted.spread, (4, 3)), atol=0.1)


def peer(fitted: Preprocessing) -> NumpyMacenkoNormalizer | NumpyReinhardNormalizer:
    """A normaliser of torchstain with our reference."""
    reference = fitted.reference
    if isinstance(reference, Stains):
        macenko = NumpyMacenkoNormalizer()
        macenko.HERef = np.array([reference.haematoxylin, reference.eosin]).T
        macenko.maxCRef = np.array(reference.strongest)
        return macenko
    assert isinstance(reference, Moments)
    reinhard = NumpyReinhardNormalizer()
    reinhard.target_means, reinhard.target_stds = np.array(reference.mean), np.array(reference.spread)
    return reinhard


def by_peer(kind: str, normaliser: NumpyMacenkoNormalizer | NumpyReinhardNormalizer, pixels: Pixels) -> Pixels:
    if kind == "macenko":
        return np.stack([normaliser.normalize(patch, stains=False)[0] for patch in pixels])
    return np.stack([normaliser.normalize(patch) for patch in pixels])


@pytest.mark.parametrize("kind", ["reinhard", "macenko"])
def test_real_patches_come_out_as_from_torchstain(kind: str, real: Pixels, capsys: pytest.CaptureFixture[str]) -> None:
    """At most one level apart: torchstain cuts fractions off where ours rounds. Patches that are left alone aside."""
    fitted = fit(kind, real, np.arange(len(real)))
    began = time.perf_counter()
    ours = fitted.apply(real)
    between = time.perf_counter()
    changed = (ours != real).any(axis=(1, 2, 3))
    theirs = by_peer(kind, peer(fitted), real[changed])
    rates = [len(real) / (between - began), int(changed.sum()) / (time.perf_counter() - between)]
    assert changed.mean() > 0.9
    apart = np.abs(ours[changed].astype(int) - theirs)
    assert apart.max() <= 1
    assert (ours[changed] >= theirs).mean() > 0.999
    with capsys.disabled():
        print(f"\n{kind}: {rates[0]:.0f} patches a second, torchstain patch by patch {rates[1]:.0f}")


def test_the_stains_of_pooled_pixels_are_those_of_torchstain(real: Pixels) -> None:
    fitted = fit("macenko", real, np.arange(0, len(real), 5)).reference
    assert isinstance(fitted, Stains)
    theirs = NumpyMacenkoNormalizer()
    chosen = real[::5]
    theirs.fit(chosen[~near_white(chosen)])
    np.testing.assert_allclose(np.array([fitted.haematoxylin, fitted.eosin]).T, theirs.HERef, atol=1e-4)
    np.testing.assert_allclose(fitted.strongest, theirs.maxCRef, atol=1e-4)
