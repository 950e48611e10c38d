"""What is left out, by which rule, and that a fingerprint follows what is kept and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from data_utils.errors import FormatError, LockMismatchError
from data_utils.quality._near import symmetries
from data_utils.quality.cleaning import clean
from data_utils.quality.rules import RULE_NAMES, easing, in_order
from data_utils.readers.patches import PatchSet, fingerprint, read_patches
from data_utils.split.lock import SplitLock
from data_utils.split.prepare import Prepared, prepare


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:120")


def with_rows(patches: PatchSet, pixels: np.ndarray, like: np.ndarray) -> PatchSet:
    """More rows, with the labels, patients and names of the rows ``like``."""
    more = patches.take(np.concatenate([np.arange(len(patches)), like]))
    return replace(more, pixels=np.concatenate([patches.pixels, pixels]))


def planted(made: PatchSet) -> PatchSet:
    """The 120 patches, and after them 3 white, 2 black, 4 blurred and 5 turned ones."""
    white = np.full((3, 50, 50, 3), 240, np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    black = np.stack([np.full((50, 50, 3), level, np.uint8) for level in (9, 30)])
    smooth = np.rint(gaussian_filter(made.pixels[20:24].astype(np.float32), (0, 3, 3, 0))).astype(np.uint8)
    turned = symmetries(made.pixels[50:55])[3]
    like = np.concatenate([np.arange(9), np.arange(50, 55)])
    return with_rows(made, np.concatenate([white, black, smooth, turned]), like)


def test_of_exact_duplicates_one_stays_the_same_in_any_order(made: PatchSet) -> None:
    assert made.patients is not None
    copies = np.array([3, 3, 50, 110])
    planted = with_rows(made, made.pixels[copies], copies)
    owners = planted.patients.copy()
    owners[-4:] = ["S0002", "S0012", "S0001", "A"]
    planted = replace(planted, patients=owners)
    cleaned = clean(planted)
    assert cleaned.exclusions == (("exact duplicate", 4),)
    assert len(cleaned) == 120
    kept = dict(zip(cleaned.digests, cleaned.patients, strict=True))
    assert kept[made.digests[3]] == min(made.patients[3], "S0002")
    assert kept[made.digests[110]] == "A"
    order = np.random.default_rng(1).permutation(len(planted))
    assert fingerprint(clean(planted.take(order))) == fingerprint(cleaned)


def test_duplicates_that_contradict_each_other_all_leave(made: PatchSet) -> None:
    copies = np.array([3, 3, 50])
    planted = with_rows(made, made.pixels[copies], copies)
    labels = planted.labels.copy()
    labels[-2] ^= 1
    cleaned = clean(replace(planted, labels=labels))
    assert cleaned.exclusions == (("exact duplicate", 1), ("exact duplicates with contradicting labels", 3))
    assert made.digests[3] not in cleaned.digests
    assert len(cleaned) == 119


def test_earlier_exclusions_are_kept_and_clean_patches_are_not_copied(made: PatchSet) -> None:
    before = replace(made, exclusions=(("doubled copy", 7),))
    cleaned = clean(before)
    assert cleaned.exclusions == (("doubled copy", 7),)
    assert cleaned.pixels is made.pixels


def test_no_rule_is_on_by_default(made: PatchSet) -> None:
    everything = planted(made)
    assert len(clean(everything)) == len(everything)
    assert clean(everything).exclusions == ()


@pytest.mark.parametrize(
    ("rule", "counted"),
    [
        ("no_patient", [("no patient id", 0)]),
        ("near_white", [("near-white: glass, no tissue", 3)]),
        ("near_black", [("near-black: hidden by ink or shadow", 2)]),
        ("blurred", [("blurred: out of focus or empty", 9)]),
        ("near_duplicate", [("near duplicate", 4), ("near duplicates with contradicting labels", 2)]),
    ],
)
def test_each_rule_counts_what_it_leaves_out(made: PatchSet, rule: str, counted: list[tuple[str, int]]) -> None:
    everything = planted(made)
    assert everything.labels is not None
    labels = everything.labels.copy()
    labels[-1] ^= 1
    everything = replace(everything, labels=labels)
    kept = clean(everything, exclude=[rule])
    assert list(kept.exclusions) == counted
    assert len(kept) == len(everything) - sum(count for _, count in counted)


def test_a_patch_is_counted_under_the_first_rule_that_meets_it(made: PatchSet) -> None:
    kept = clean(planted(made), exclude=reversed(RULE_NAMES))
    assert kept.exclusions == (
        ("no patient id", 0),
        ("near-white: glass, no tissue", 3),
        ("near-black: hidden by ink or shadow", 2),
        ("blurred: out of focus or empty", 4),
        ("near duplicate", 5),
    )
    assert set(kept.digests) <= set(planted(made).digests)
    assert len(kept) == 120


def test_of_near_duplicates_the_same_one_stays_in_any_order(made: PatchSet) -> None:
    everything = planted(made)
    order = np.random.default_rng(0).permutation(len(everything))
    shuffled = replace(everything.take(order), names=everything.names)  # names of rows follow the order
    kept, again = (clean(one, exclude=["near_duplicate"]) for one in (everything, shuffled))
    assert fingerprint(kept) == fingerprint(again)


def test_what_is_kept_decides_the_fingerprint_and_nothing_else(made: PatchSet) -> None:
    everything = planted(made)
    whole = fingerprint(clean(everything))
    left = {rule: fingerprint(clean(everything, exclude=[rule])) for rule in RULE_NAMES}
    assert left.pop("no_patient") == whole  # it met nothing
    assert len({whole, *left.values()}) == 5
    assert fingerprint(clean(made, exclude=RULE_NAMES)) == fingerprint(made)


def test_a_patch_of_nobody_is_refused_until_somebody_says_what_becomes_of_it(made: PatchSet) -> None:
    assert made.patients is not None
    owners = made.patients.copy()
    owners[[3, 4, 99]] = ""
    with pytest.raises(
        FormatError, match=r"3 ids that are empty or mean unknown among 120 patches.*--exclude no_patient"
    ):
        clean(replace(made, patients=owners))
    kept = clean(replace(made, patients=owners), exclude=["no_patient"])
    assert kept.exclusions == (("no patient id", 3),)
    assert made.digests[3] not in kept.digests


def test_a_patch_of_nobody_does_not_take_the_place_of_its_copy(made: PatchSet) -> None:
    everything = with_rows(made, made.pixels[:1], np.array([0]))
    assert everything.patients is not None
    owners = everything.patients.copy()
    owners[0] = ""
    kept = clean(replace(everything, patients=owners), exclude=["no_patient"])
    assert kept.exclusions == (("no patient id", 1),)
    assert made.digests[0] in kept.digests


def test_where_patients_are_unknown_nobody_is_left_out_for_it(made: PatchSet) -> None:
    assert clean(replace(made, patients=None), exclude=["no_patient"]).exclusions == (("no patient id", 0),)


def test_rules_are_known_by_name_and_kept_in_order() -> None:
    assert in_order(["blurred", "no_patient", "blurred"]) == ("no_patient", "blurred")
    with pytest.raises(KeyError, match="no rule is called sharp"):
        in_order(["sharp"])
    assert [rule.name for rule in easing(RULE_NAMES)] == ["near_black", "blurred"]


def arrays(folder: Path) -> Path:
    """Patches of whole numbers, the same on every machine and in every version of NumPy."""
    folder.mkdir()
    levels = np.arange(120 * 7500, dtype=np.int64) * 7919 % 251
    np.save(folder / "X.npy", levels.astype(np.uint8).reshape(120, 50, 50, 3))
    np.save(folder / "Y.npy", (np.arange(120) % 3 == 0).astype(np.int64))
    np.save(folder / "patients.npy", np.array([f"P{row % 12:02d}" for row in range(120)]))
    return folder


def prepared_in(folder: Path, source: Path, lock: SplitLock | None = None, **options: object) -> Prepared:
    asked: dict[str, object] = {"name": "first", "fractions": (70, 15, 15), "seed": 0, "lock": lock}
    return prepare(str(source), folder / "cache", **asked | options)


def test_without_rules_fingerprint_and_lock_are_those_of_databases_that_are_in_use(tmp_path: Path) -> None:
    prepared = prepared_in(tmp_path, arrays(tmp_path / "arrays"))
    assert prepared.fingerprint == "fa5edfb3f23383dd3bf16c12a6177189c16eaf21c10d5df2305821b879c9c758"
    before = replace(prepared.lock, sealed="", near=None, fold_draws=0)  # fields that locks in use do not have
    assert before.digest == "c79068fbebc8e566727a525fcba5fc2d6182d89b8fee1df8df3c866c1d04df4e"


def test_rules_are_part_of_the_lock_also_where_they_met_nothing(tmp_path: Path) -> None:
    source = arrays(tmp_path / "arrays")
    plain = prepared_in(tmp_path / "plain", source)
    ruled = prepared_in(tmp_path / "ruled", source, exclude=["near_white"])
    assert ruled.fingerprint == plain.fingerprint
    assert ruled.lock.digest != plain.lock.digest
    assert ruled.exclusions == (("near-white: glass, no tissue", 0),)
    assert json.loads(ruled.lock.to_json())["exclude"] == ["near_white"]
    assert prepared_in(tmp_path / "ruled", source, ruled.lock, exclude=["near_white"]).lock == ruled.lock


@pytest.mark.parametrize("rehash", [False, True])
def test_other_rules_under_the_same_name_are_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rehash: bool
) -> None:
    source = arrays(tmp_path / "arrays")
    first = prepared_in(tmp_path, source, exclude=["near_white"])
    monkeypatch.setattr("numpy.load", None)
    for other, words in (((), "none"), (("blurred",), "blurred"), (("near_white", "blurred"), "near_white,blurred")):
        with pytest.raises(LockMismatchError, match=rf"exclude {words} \(locked: near_white\); .*--study NEW"):
            prepared_in(tmp_path, source, first.lock, exclude=other, rehash=rehash)
