import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_utils.errors import FormatError
from data_utils.quality.cleaning import clean
from data_utils.quality.measures import duplicate_groups, near_white, stain_density
from data_utils.readers.patches import PatchSet, fingerprint, read_patches


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:600")


def histograms(pixels: np.ndarray, bins: int) -> np.ndarray:
    """(N, 3 * bins) share of pixels in each bin of each channel."""
    binned = pixels.reshape(len(pixels), -1, 3).astype(np.int64) * bins // 256
    return np.stack([(binned == level).mean(axis=1) for level in range(bins)], axis=1).reshape(len(pixels), -1)


@pytest.mark.parametrize("bins", [8, 32])
def test_colour_alone_does_not_tell_the_classes_of_unseen_patients_apart(made: PatchSet, bins: int) -> None:
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    scores = cross_val_predict(
        regression,
        histograms(made.pixels, bins),
        made.labels,
        groups=made.patients,
        cv=StratifiedGroupKFold(5),
        method="predict_proba",
    )[:, 1]
    assert roc_auc_score(made.labels, scores) <= 0.80


def test_texture_does_tell_them_apart(made: PatchSet) -> None:
    grey = made.pixels.mean(axis=-1)
    contrast = grey.std(axis=(1, 2))
    edges = (
        np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    ) / contrast
    assert roc_auc_score(made.labels, -edges) > 0.90


def test_the_same_request_gives_the_same_patches_and_another_seed_others(made: PatchSet) -> None:
    assert fingerprint(read_patches("synthetic:600:0")) == fingerprint(made)
    assert not set(read_patches("synthetic:600:1").digests) & set(made.digests)


def test_every_patient_shows_both_classes_and_none_is_like_another(made: PatchSet) -> None:
    assert made.labels is not None
    patients = np.unique(made.patients)
    assert len(patients) == 120
    for patient in patients:
        assert set(made.labels[made.patients == patient]) == {0, 1}
    haematoxylin, _ = stain_density(made.pixels)
    means = [haematoxylin[made.patients == patient].mean() for patient in patients]
    within = np.mean([haematoxylin[made.patients == patient].std() for patient in patients])
    assert np.std(means) > 0.5 * within


def test_no_made_up_patch_is_a_duplicate_or_white(made: PatchSet) -> None:
    assert clean(made).exclusions == ()
    assert len(set(duplicate_groups(made))) == 600
    assert not near_white(made.pixels).any()


def test_names_have_the_public_form_and_are_unique(made: PatchSet) -> None:
    assert made.labels is not None
    assert len(set(made.names)) == 600
    assert made.names[0] == f"{made.patients[0]}_idx5_x{made.x[0]}_y{made.y[0]}_class{made.labels[0]}.png"


def test_counts_are_as_asked_for() -> None:
    assert len(read_patches("synthetic")) == 1200
    small = read_patches("synthetic:60")
    assert (len(small), len(set(small.patients))) == (60, 12)


@pytest.mark.parametrize(
    "source", ["synthetic:", "synthetic:many", "synthetic:600:", "synthetic:1:2:3", "synthetic:-5"]
)
def test_what_is_not_understood_is_refused(source: str) -> None:
    with pytest.raises(FormatError, match=f"--data {source} is not understood; expected synthetic, synthetic:600"):
        read_patches(source)


@pytest.mark.parametrize("count", [0, 59, 1_000_001])
def test_too_few_or_too_many_are_refused(count: int) -> None:
    with pytest.raises(FormatError, match=f"asks for {count} patches; expected 60 to 1000000"):
        read_patches(f"synthetic:{count}")
