import json
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_utils.errors import FormatError, LabelError, LockMismatchError, TooFewPatientsError
from data_utils.quality._near import symmetries
from data_utils.readers.patches import PatchSet, fingerprint, read_patches
from data_utils.split import draw
from data_utils.split.draw import PARTS, count_folds, draw_lock, folds, parts
from data_utils.split.lock import SplitLock, verify_fingerprint, verify_settings

FRACTIONS = (70, 15, 15)


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:600")


@pytest.fixture(scope="module")
def lock(made: PatchSet) -> SplitLock:
    return draw_lock(made, "first", FRACTIONS, 0)


@pytest.fixture(scope="module")
def anonymous(made: PatchSet) -> PatchSet:
    """Patients unknown; rows 0 to 19 are there again, turned, at the end."""
    more = made.take(np.concatenate([np.arange(600), np.arange(20)]))
    turned = symmetries(made.pixels[:20])[5]
    return replace(more, pixels=np.concatenate([made.pixels, turned]), patients=None)


def shares(patches: PatchSet, part: np.ndarray) -> np.ndarray:
    """(3 parts, 2) share of IDC and of other patches."""
    assert patches.labels is not None
    return np.array(
        [[(part[patches.labels == label] == name).mean() for label in (1, 0)] for name in PARTS],
    )


def test_no_patient_is_in_two_parts_and_both_classes_are_in_each(made: PatchSet, lock: SplitLock) -> None:
    assert made.patients is not None
    assert made.labels is not None
    part = parts(lock, made)
    seen = {name: set(made.patients[part == name]) for name in PARTS}
    assert sum(len(patients) for patients in seen.values()) == len(set(made.patients)) == 120
    assert {name: len(patients) for name, patients in seen.items()} == {"train": 84, "validation": 18, "test": 18}
    assert all(set(made.labels[part == name]) == {0, 1} for name in PARTS)
    assert lock.by == "patient"


def test_shares_of_patches_and_of_idc_are_near_the_fractions(made: PatchSet, lock: SplitLock) -> None:
    np.testing.assert_allclose(
        shares(made, parts(lock, made)), np.array([[0.7] * 2, [0.15] * 2, [0.15] * 2]), atol=0.04
    )


def test_shares_are_within_one_percent_on_the_real_patches(shared: Path) -> None:
    real = read_patches(str(shared / "data"))
    part = parts(draw_lock(real, "real", FRACTIONS, 0), real)
    assert real.patients is not None
    np.testing.assert_allclose(shares(real, part), np.array([[0.7] * 2, [0.15] * 2, [0.15] * 2]), atol=0.01)
    assert [len(set(real.patients[part == name])) for name in PARTS] == [160, 35, 34]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), fractions=st.sampled_from([(70, 15, 15), (50, 25, 25), (34, 33, 33)]))
def test_any_draw_keeps_patients_whole(made: PatchSet, seed: int, fractions: tuple[int, int, int]) -> None:
    part = parts(draw_lock(made, "any", fractions, seed), made)
    pairs = set(zip(made.patients, part, strict=True))
    assert len(pairs) == 120
    assert set(part) == set(PARTS)


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_rows(made: PatchSet, lock: SplitLock) -> None:
    order = np.random.default_rng(0).permutation(600)
    assert draw_lock(made.take(order), "first", FRACTIONS, 0) == lock
    assert draw_lock(made, "first", FRACTIONS, 1).assignment != lock.assignment


def test_without_patients_copies_stay_together(anonymous: PatchSet) -> None:
    for seed in range(5):
        lock = draw_lock(anonymous, "anonymous", FRACTIONS, seed)
        part = parts(lock, anonymous)
        assert (part[:20] == part[-20:]).all()
        assert len(set(part[:20])) > 1
    assert lock.by == "duplicate group"
    np.testing.assert_allclose(shares(anonymous, part), np.array([[0.7] * 2, [0.15] * 2, [0.15] * 2]), atol=0.02)
    order = np.random.default_rng(0).permutation(620)
    assert draw_lock(anonymous.take(order), "anonymous", FRACTIONS, 4) == lock


def test_fewer_than_ten_patients_are_refused(made: PatchSet) -> None:
    nine = made.take(np.isin(made.patients, np.unique(made.patients)[:9]))
    with pytest.raises(TooFewPatientsError, match="synthetic:600 has 9 patients; expected at least 10"):
        draw_lock(nine, "few", FRACTIONS, 0)
    ten = made.take(np.isin(made.patients, np.unique(made.patients)[:10]))
    part = parts(draw_lock(ten, "ten", FRACTIONS, 0), ten)
    assert Counter(dict(set(zip(ten.patients, part, strict=True))).values()) == {"train": 7, "validation": 2, "test": 1}


def test_idc_in_too_few_patients_is_refused(made: PatchSet) -> None:
    two = np.isin(made.patients, np.unique(made.patients)[:2])
    with pytest.raises(LabelError, match=r"no split has both classes .* \(2 of 120 have any\)"):
        draw_lock(replace(made, labels=two.astype(np.int64)), "few", FRACTIONS, 0)


def test_a_lock_survives_json(lock: SplitLock) -> None:
    again = SplitLock.from_json(lock.to_json(), "lock.json")
    assert again == lock
    assert again.digest == lock.digest
    assert json.loads(lock.to_json())["digest"] == lock.digest


def test_an_edited_lock_is_refused(lock: SplitLock) -> None:
    patient = next(patient for patient, part in lock.assignment.items() if part == "test")
    edited = json.loads(lock.to_json())
    edited["assignment"][patient] = "train"
    with pytest.raises(LockMismatchError, match=r"^lock.json was edited: .*--study NEW$"):
        SplitLock.from_json(json.dumps(edited), "lock.json")
    for field, value in (("seed", 5), ("fractions", [60, 20, 20]), ("name", "x"), ("fingerprint", "y")):
        with pytest.raises(LockMismatchError, match="was edited"):
            SplitLock.from_json(json.dumps(json.loads(lock.to_json()) | {field: value}), "lock.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"assignment": {"S0001": "holdout"}}, "assignment.S0001"),
        ({"fractions": [70, 30]}, "fractions"),
        ({"by": "slide"}, "by"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_lock_of_another_form_is_refused(lock: SplitLock, change: dict[str, object], message: str) -> None:
    with pytest.raises(FormatError, match=rf"^lock.json is not a readable split lock: {message}"):
        SplitLock.from_json(json.dumps(json.loads(lock.to_json()) | change), "lock.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "7"])
def test_what_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"^lock.json is not a split lock"):
        SplitLock.from_json(text, "lock.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractions": (60, 20, 20)}, r"fractions 60/20/20 \(locked: 70/15/15\)"),
        ({"seed": 7}, r"seed 7 \(locked: 0\)"),
        ({"name": "second"}, r"name second \(locked: first\)"),
        ({"exclude": ("blurred", "near_white")}, r"exclude near_white,blurred \(locked: none\)"),
    ],
)
def test_another_demand_is_refused_with_what_differs(lock: SplitLock, change: dict[str, object], message: str) -> None:
    asked: dict[str, object] = {"fractions": FRACTIONS, "seed": 0, "name": "first"}
    verify_settings(lock, **asked)
    with pytest.raises(LockMismatchError, match=rf"study first is locked to another split: {message}; .*--study NEW"):
        verify_settings(lock, **asked | change)


def test_other_patches_are_refused(made: PatchSet, lock: SplitLock) -> None:
    verify_fingerprint(lock, fingerprint(made), made.side)
    with pytest.raises(LockMismatchError, match=r"data 000000000000 \(locked: [0-9a-f]{12}\); .*--study NEW"):
        verify_fingerprint(lock, "0" * 64, made.side)


def test_a_lock_from_before_there_were_rules_and_lists_keeps_its_digest(lock: SplitLock) -> None:
    assert "exclude" not in lock.to_json()
    assert "published" not in lock.to_json()
    assert "sealed" not in replace(lock, sealed="").to_json()
    ruled = replace(lock, exclude=("blurred",))
    assert ruled.digest != lock.digest != replace(lock, sealed="").digest
    assert SplitLock.from_json(ruled.to_json(), "lock.json") == ruled


def test_a_lock_with_an_unknown_rule_is_refused(lock: SplitLock) -> None:
    with pytest.raises(FormatError, match="names a rule that is not known here: sharp"):
        SplitLock.from_json(replace(lock, exclude=("sharp",)).to_json(), "lock.json")


def test_patches_that_the_lock_does_not_know_are_refused(made: PatchSet, lock: SplitLock) -> None:
    stranger = made.patients.copy()
    stranger[5] = "?"
    with pytest.raises(LockMismatchError, match=r"1 patches of synthetic:600 are not in the lock .*first: \?"):
        parts(lock, replace(made, patients=stranger))
    with pytest.raises(LockMismatchError, match="has no patient ids"):
        parts(lock, replace(made, patients=None))


def test_folds_hold_whole_patients_and_both_classes(made: PatchSet, lock: SplitLock) -> None:
    development = made.take(parts(lock, made) != "test")
    assert development.labels is not None
    drawn = folds(lock, development)
    assert len(set(zip(development.patients, drawn, strict=True))) == 102
    assert set(drawn) == set(range(5))
    assert all(set(development.labels[drawn == fold]) == {0, 1} for fold in range(5))
    np.testing.assert_array_equal(folds(lock, development), drawn)
    assert (folds(replace(lock, seed=1), development) != drawn).any()


def test_folds_without_patients_keep_copies_together(anonymous: PatchSet) -> None:
    lock = draw_lock(anonymous, "anonymous", FRACTIONS, 0)
    drawn = folds(lock, anonymous)
    assert (drawn[:20] == drawn[-20:]).all()


def with_idc_in(patches: PatchSet, patients: int) -> PatchSet:
    """The same with IDC in every second patch of the first so many patients, in no other."""
    assert patches.patients is not None
    chosen = np.isin(patches.patients, np.unique(patches.patients)[:patients])
    return replace(patches, labels=(chosen & (np.arange(len(patches)) % 2 == 0)).astype(np.int64))


@pytest.mark.parametrize(("patients", "count"), [(2, 2), (3, 3), (4, 4), (5, 5), (6, 5)])
def test_folds_are_as_many_as_have_both_classes_and_at_most_five(
    made: PatchSet, lock: SplitLock, patients: int, count: int
) -> None:
    few = with_idc_in(made, patients)
    drawn = folds(lock, few)
    assert all(set(few.labels[drawn == fold]) == {0, 1} for fold in range(count))
    assert set(drawn) == set(range(count))
    assert len(set(zip(few.patients, drawn, strict=True))) == 120
    found, words = count_folds(lock, few)
    assert found == count
    assert words == (
        ""
        if count == 5
        else f"final models are retrained over {count} folds, not 5: each fold needs both classes, and of 120 "
        f"development patients {patients} have patches with IDC, 120 have others"
    )


def test_the_five_folds_of_a_lock_are_what_they_always_were(made: PatchSet, lock: SplitLock) -> None:
    """Members were trained on these before there could be fewer, and before the best of many draws was taken."""
    development = made.take(parts(lock, made) != "test")
    for old, drawn in (
        (replace(lock, sealed="", near=None, fold_draws=0), "57829102f511d6e1"),
        (replace(lock, fold_draws=0), "984cb600b3c62901"),
    ):
        assert sha256(folds(old, development).tobytes()).hexdigest()[:16] == drawn


def unevenness(patches: PatchSet, fold: np.ndarray) -> float:
    """Largest distance of a fold's share of patches, of IDC or of others from an equal one."""
    assert patches.labels is not None
    rows = (np.ones(len(patches)) > 0, patches.labels == 1, patches.labels == 0)
    return max(float(np.abs(np.bincount(fold[row]) / row.sum() - 1 / (fold.max() + 1)).max()) for row in rows)


def of_sizes(made: PatchSet, sizes: list[tuple[int, int]]) -> PatchSet:
    """Patches of so many patients, each with so many of IDC and so many others."""
    patients = np.repeat([f"p{at}" for at in range(len(sizes))], [idc + others for idc, others in sizes])
    labels = np.concatenate([np.repeat([1, 0], one) for one in sizes])
    return replace(made.take(np.arange(len(labels))), patients=patients, labels=labels)


def test_the_folds_of_a_new_lock_are_the_most_even_of_many_draws(made: PatchSet, lock: SplitLock) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        few = of_sizes(made, [(int(rng.integers(1, 30)), int(rng.integers(1, 30))) for _ in range(12)])
        first, best = (folds(replace(lock, fold_draws=draws), few) for draws in (0, lock.fold_draws))
        assert unevenness(few, best) < 0.8 * unevenness(few, first)
        assert len(set(zip(few.patients, best, strict=True))) == 12
        np.testing.assert_array_equal(folds(lock, few), best)


def test_a_lock_with_more_draws_of_folds_than_can_be_waited_for_is_refused(lock: SplitLock) -> None:
    for draws in (-1, 10**9):
        with pytest.raises(FormatError, match="fractions, seed, draws or side are out of range; put the original back"):
            SplitLock.from_json(replace(lock, fold_draws=draws).to_json(), "lock.json")


def test_folds_of_many_patches_of_unknown_patients_are_not_counted_twice(
    anonymous: PatchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = draw_lock(anonymous, "anonymous", FRACTIONS, 0)
    assert count_folds(lock, anonymous) == (5, "")
    one = replace(anonymous, labels=(np.arange(len(anonymous)) < 3).astype(np.int64))
    assert count_folds(lock, one)[0] == 3
    monkeypatch.setattr(draw, "_MANY_PATCHES", 100)
    monkeypatch.setattr(draw, "folds", lambda *_: pytest.fail("was divided"))
    assert count_folds(lock, anonymous) == (5, "")


def test_folds_that_cannot_have_both_classes_are_refused(made: PatchSet, lock: SplitLock) -> None:
    line = "synthetic:600: development patients with patches of IDC: 1, with others: 120; expected at least 2 of each"
    with pytest.raises(LabelError, match=line):
        folds(lock, with_idc_in(made, 1))
