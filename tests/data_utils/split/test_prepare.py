import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import data_utils
from data_utils.errors import FormatError, LockMismatchError, SealError
from data_utils.readers.patches import PatchSet, fingerprint, patch_digests, read_patches
from data_utils.split import prepare as prepare_module
from data_utils.split.cache import read_digests
from data_utils.split.draw import parts
from data_utils.split.holdout import open_sealed, sealed_digests
from data_utils.split.lock import SplitLock
from data_utils.split.prepare import Prepared, digests_by_part, load_development, prepare


def prepared_in(folder: Path, source: Path | str = "synthetic:120", **options: object) -> Prepared:
    asked: dict[str, object] = {"name": "first", "fractions": (70, 15, 15), "seed": 0, "lock": None}
    return prepare(str(source), folder / "cache", **asked | options)


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:120")


@pytest.fixture
def arrays(made: PatchSet, tmp_path: Path) -> Path:
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "X.npy", made.pixels)
    np.save(folder / "Y.npy", made.labels)
    np.save(folder / "patients.npy", made.patients)
    return folder


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


def never(*_: object, **__: object) -> None:
    raise AssertionError("this must not be called")


def test_the_two_caches_hold_every_patch_once_and_sealed_ones_apart(made: PatchSet, tmp_path: Path) -> None:
    prepared = prepared_in(tmp_path)
    development, sealed = load_development(prepared.development), open_sealed(prepared.sealed, prepared.lock.sealed)
    part = dict(zip(made.names, parts(prepared.lock, made), strict=True))
    assert {name for name, where in part.items() if where == "test"} == set(sealed.names)
    assert dict(zip(development.names, development.part, strict=True)) == {
        name: where for name, where in part.items() if where != "test"
    }
    for cached in (development, sealed):
        place = {name: row for row, name in enumerate(made.names)}
        rows = [place[name] for name in cached.names]
        for name in ("pixels", "labels", "patients", "x", "y", "digests"):
            np.testing.assert_array_equal(getattr(cached, name), getattr(made, name)[rows])
        assert cached.synthetic
    assert isinstance(development.pixels, np.memmap)
    assert not development.pixels.flags.writeable
    assert (development.digests[:-1] < development.digests[1:]).all()


def test_the_summary_counts_what_is_there_and_names_no_test_patient(made: PatchSet, tmp_path: Path) -> None:
    prepared = prepared_in(tmp_path)
    part = parts(prepared.lock, made)
    assert made.labels is not None
    assert prepared.parts == tuple(
        (name, len(set(made.patients[part == name])), (part == name).sum(), made.labels[part == name].sum())
        for name in ("train", "validation", "test")
    )
    assert {patient: where for patient, where, _, _ in prepared.patients} == {
        patient: where for patient, where in prepared.lock.assignment.items() if where != "test"
    }
    assert sum(patches for _, _, patches, _ in prepared.patients) == 120 - prepared.test_patches
    assert prepared.fingerprint == fingerprint(made)
    assert (prepared.source, prepared.synthetic, prepared.found) == ("synthetic:120", True, 120)
    np.testing.assert_array_equal(np.sort(made.digests[part == "test"]), sealed_digests(prepared.sealed))


def test_a_second_start_reads_nothing_and_touches_no_cache(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared_in(tmp_path, arrays)
    before = files_of(tmp_path / "cache")
    for path in first.sealed.iterdir():
        os.utime(path, ns=(0, path.stat().st_mtime_ns))
    monkeypatch.setattr("numpy.load", never)
    monkeypatch.setattr(prepare_module, "read_patches", never)
    again = prepared_in(tmp_path, arrays, lock=SplitLock.from_json(first.lock.to_json(), "lock"))
    assert asdict(again) == asdict(first)
    assert files_of(tmp_path / "cache") == before
    assert all(path.stat().st_atime_ns == 0 for path in first.sealed.iterdir())


def test_a_touched_file_is_read_again_and_changed_data_are_refused(
    arrays: Path, made: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared_in(tmp_path, arrays)
    (arrays / "Y.npy").touch()
    assert prepared_in(tmp_path, arrays, lock=first.lock).signature != first.signature
    assert made.labels is not None
    labels = made.labels.copy()
    labels[5] ^= 1
    np.save(arrays / "Y.npy", labels)
    before = files_of(tmp_path / "cache")
    with pytest.raises(LockMismatchError, match=r"study first is locked to another split: data .*--study NEW"):
        prepared_in(tmp_path, arrays, lock=first.lock)
    assert files_of(tmp_path / "cache") == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_rehash_finds_a_change_that_sizes_and_times_hide(arrays: Path, made: PatchSet, tmp_path: Path) -> None:
    first = prepared_in(tmp_path, arrays)
    stat = (arrays / "X.npy").stat()
    pixels = made.pixels.copy()
    pixels[5, 5, 5, 0] ^= 1
    np.save(arrays / "X.npy", pixels)
    os.utime(arrays / "X.npy", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    prepared_in(tmp_path, arrays, lock=first.lock)
    with pytest.raises(LockMismatchError, match="data"):
        prepared_in(tmp_path, arrays, lock=first.lock, rehash=True)


@pytest.mark.parametrize("change", [{"seed": 1}, {"fractions": (60, 20, 20)}, {"name": "second"}])
@pytest.mark.parametrize("rehash", [False, True])
def test_other_settings_under_the_same_name_are_refused(
    tmp_path: Path, change: dict[str, object], rehash: bool
) -> None:
    first = prepared_in(tmp_path)
    with pytest.raises(LockMismatchError, match=next(iter(change))):
        prepared_in(tmp_path, lock=first.lock, rehash=rehash, **change)


def test_the_order_of_rows_changes_nothing(arrays: Path, made: PatchSet, tmp_path: Path) -> None:
    first = prepared_in(tmp_path, arrays)
    pixels = load_development(first.development).pixels.copy()
    order = np.random.default_rng(0).permutation(120)
    for name, column in (("X", made.pixels), ("Y", made.labels), ("patients", made.patients)):
        assert column is not None
        np.save(arrays / f"{name}.npy", column[order])
    again = prepared_in(tmp_path, arrays, lock=first.lock)
    assert again.test_digest == first.test_digest
    np.testing.assert_array_equal(load_development(again.development).pixels, pixels)


def test_a_cache_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    first = prepared_in(tmp_path)
    (tmp_path / "cache" / "meta.json").unlink()
    again = prepared_in(tmp_path, lock=first.lock)
    assert asdict(again) == asdict(first)
    assert (tmp_path / "cache" / "meta.json").exists()


def test_an_interruption_leaves_nothing_behind_and_leftovers_of_the_dead_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_module, "draw_lock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared_in(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    left = prepare_module._sibling(tmp_path / "cache", "partial")
    dead = left.with_name(left.name.rpartition("-")[0] + "-999999999")
    dead.mkdir()
    prepared_in(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_without_patients_there_are_none_to_name(arrays: Path, tmp_path: Path) -> None:
    (arrays / "patients.npy").unlink()
    prepared = prepared_in(tmp_path, arrays)
    development = load_development(prepared.development)
    assert prepared.lock.by == "duplicate group"
    assert (development.patients, prepared.patients) == (None, ())
    assert [patients for _, patients, _, _ in prepared.parts] == [0, 0, 0]
    assert len(development) + prepared.test_patches == 120


def test_duplicates_are_left_out_of_both_caches(arrays: Path, made: PatchSet, tmp_path: Path) -> None:
    rows = np.concatenate([np.arange(120), np.arange(30)])
    for name, column in (("X", made.pixels), ("Y", made.labels), ("patients", made.patients)):
        assert column is not None
        np.save(arrays / f"{name}.npy", column[rows])
    prepared = prepared_in(tmp_path, arrays)
    assert prepared.exclusions == (("exact duplicate", 30),)
    assert (prepared.found, prepared.fingerprint) == (150, fingerprint(made))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["development", "meta.json", "sealed"]


def test_taking_rows_keeps_the_part(tmp_path: Path) -> None:
    development = load_development(prepared_in(tmp_path).development)
    train = development.take(development.part == "train")
    assert set(train.part) == {"train"}
    assert len(train) == len(train.part) == (development.part == "train").sum()


def test_a_cache_with_an_array_without_dimensions_is_not_whole(tmp_path: Path) -> None:
    """Found by ``soak.inputs``, guided by coverage."""
    prepared = prepared_in(tmp_path)
    np.save(prepared.sealed / "names.npy", np.array("row_000000"))
    with pytest.raises(SealError, match="is not a whole cache"):
        open_sealed(prepared.sealed, prepared.lock.sealed)


def test_a_sealed_cache_that_was_changed_is_refused(tmp_path: Path) -> None:
    prepared = prepared_in(tmp_path)
    with pytest.raises(LockMismatchError, match="holds test rows"):
        load_development(prepared.sealed)
    with pytest.raises(SealError, match="holds rows of other parts"):
        open_sealed(prepared.development, "")
    pixels = np.load(prepared.sealed / "pixels.npy", mmap_mode="r+")
    pixels[0, 0, 0, 0] ^= 1
    pixels.flush()
    with pytest.raises(SealError, match="does not hold the patches that were sealed"):
        open_sealed(prepared.sealed, prepared.lock.sealed)
    np.save(prepared.sealed / "digests.npy", sealed_digests(prepared.sealed)[1:])
    with pytest.raises(SealError, match="does not hold the patches that were sealed"):
        sealed_digests(prepared.sealed)
    (prepared.sealed / "digests.npy").unlink()
    (prepared.sealed / "labels.npy").unlink()
    with pytest.raises(SealError, match=r"digests of the sealed test patches cannot be read: .* is not a whole cache"):
        sealed_digests(prepared.sealed)
    with pytest.raises(SealError, match=r"sealed test patches cannot be read: .* is not a whole cache"):
        open_sealed(prepared.sealed, prepared.lock.sealed)


@pytest.mark.parametrize("name", ["labels", "patients"])
def test_sealed_labels_and_patients_that_were_changed_are_refused(tmp_path: Path, name: str) -> None:
    prepared = prepared_in(tmp_path)
    path = prepared.sealed / f"{name}.npy"
    values = np.load(path)
    np.save(path, 1 - values if name == "labels" else values[::-1])
    sealed_digests(prepared.sealed)  # pixels are what they were
    with pytest.raises(SealError, match="pixels, labels or patients were changed since"):
        open_sealed(prepared.sealed, prepared.lock.sealed)


def test_a_development_cache_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"is not a whole cache .*; delete .*meta.json, and the next search.launch"):
        load_development(tmp_path)


def test_what_messages_advise_about_damaged_caches_reads_them_anew_and_deletes_no_seal(tmp_path: Path) -> None:
    first = prepared_in(tmp_path)
    before = read_digests(first.sealed).tolist()
    labels = np.load(first.sealed / "labels.npy")
    for damage in (b"damaged", None):
        if damage is None:
            np.save(first.sealed / "labels.npy", 1 - labels)
        else:
            (first.sealed / "labels.npy").write_bytes(damage)
        with pytest.raises(SealError, match=f"; delete {tmp_path / 'cache' / 'meta.json'}, and the next search.launch"):
            open_sealed(first.sealed, first.lock.sealed)
        (tmp_path / "cache" / "meta.json").unlink()
        assert read_digests(first.sealed).tolist() == before
        prepared_in(tmp_path, lock=first.lock)
        assert open_sealed(first.sealed, first.lock.sealed).labels.tolist() == labels.tolist()


def test_patches_are_known_by_part_but_for_those_of_one_colour(arrays: Path, made: PatchSet, tmp_path: Path) -> None:
    whole = prepared_in(tmp_path / "whole", arrays)
    found = digests_by_part(whole.sealed.parent)
    part = parts(whole.lock, made)
    assert {name: sorted(digests) for name, digests in found.items()} == {
        name: sorted(made.digests[part == name]) for name in ("train", "validation", "test")
    }
    plain = {name: int(np.flatnonzero(part == name)[0]) for name in found}
    pixels = made.pixels.copy()
    for level, row in enumerate(plain.values()):
        pixels[row] = 255 - level
    np.save(arrays / "X.npy", pixels)
    prepared = prepared_in(tmp_path / "plain", arrays)
    assert sorted(prepared.plain) == sorted(patch_digests(pixels[list(plain.values())]))
    assert {name: len(digests) for name, digests in digests_by_part(prepared.sealed.parent).items()} == {
        name: int((part == name).sum()) - 1 for name in found
    }


def test_nothing_but_the_opening_imports_the_holdout() -> None:
    package = Path(data_utils.__file__).parent
    importing = [
        path.name
        for path in package.rglob("*.py")
        if "import holdout" in path.read_text() or "from data_utils.split.holdout" in path.read_text()
    ]
    assert importing == []


def test_the_real_zip_is_prepared(shared: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepared = prepared_in(tmp_path, shared / "data" / "idc_patches.zip", progress=lambda *call: calls.append(call))
    assert calls[-1] == (9613, 9613)
    assert prepared.exclusions == (("other size than 50x50", 322),)
    assert sum(patches for _, _, patches, _ in prepared.parts) == 9291
    for (_, patients, patches, idc), share in zip(prepared.parts, (0.7, 0.15, 0.15), strict=True):
        assert [patients / 230, patches / 9291, idc / 2573] == pytest.approx([share] * 3, abs=0.01)
    assert replace(prepared.lock, seed=1).digest != prepared.lock.digest
