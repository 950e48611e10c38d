"""Arrays in HDF5 and in .npz, as h5py and NumPy write them, PatchCamelyon's two files among them; what is refused."""

import builtins
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_utils.errors import DataError, LabelError, NotFoundError
from data_utils.readers.patches import PatchSet, check_there, fingerprint, read_patches, signature


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60@96")


def hdf5(path: Path, **datasets: Any) -> str:
    """A file of these datasets, pixels compressed as PatchCamelyon's are."""
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            packed = {"compression": "gzip", "chunks": (1, *values.shape[1:])} if values.ndim == 4 else {}
            file.create_dataset(name, data=values, **packed)
    return str(path)


def refused(source: str, message: str, kind: type[DataError] = DataError) -> None:
    for read in (read_patches, lambda named: read_patches(named, labelled=False)):
        with pytest.raises(kind, match=message) as caught:
            read(source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("to_disk", [False, True])
def test_patch_camelyon_lies_in_two_files(made: PatchSet, tmp_path: Path, to_disk: bool) -> None:
    source = hdf5(tmp_path / "camelyonpatch_level_2_split_valid_x.h5", x=made.pixels)
    labels = np.asarray(made.labels).astype(np.uint8).reshape(-1, 1, 1, 1)
    hdf5(tmp_path / "camelyonpatch_level_2_split_valid_y.h5", y=labels)
    check_there(source)
    read = read_patches(source, into=tmp_path / "into.npy" if to_disk else None)
    np.testing.assert_array_equal(read.pixels, made.pixels)
    np.testing.assert_array_equal(read.labels, made.labels)
    assert read.patients is None
    before = signature(source)
    hdf5(tmp_path / "camelyonpatch_level_2_split_valid_y.h5", y=1 - labels)
    assert signature(source) != before


@pytest.mark.parametrize("text", ["of any length", "bytes"])
def test_one_file_holds_all_that_is_known(made: PatchSet, tmp_path: Path, text: str) -> None:
    patients = np.asarray(made.patients).astype("S" if text == "bytes" else object)
    xy = np.stack([made.x, made.y], axis=1)
    read = read_patches(hdf5(tmp_path / "set.hdf5", X=made.pixels, Y=made.labels, patients=patients, xy=xy))
    assert fingerprint(read) == fingerprint(made)
    np.testing.assert_array_equal(read.x, made.x)


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("upper", [False, True])
def test_npz_files_are_read_whatever_the_case_of_their_names(
    made: PatchSet, tmp_path: Path, pack: Any, upper: bool
) -> None:
    names = ("X", "Y") if upper else ("x", "y")
    pack(tmp_path / "set.npz", **dict(zip(names, (made.pixels, made.labels), strict=True)), patients=made.patients)
    assert fingerprint(read_patches(str(tmp_path / "set.npz"), into=tmp_path / "into.npy")) == fingerprint(made)


def test_what_is_missing_is_named(made: PatchSet, tmp_path: Path) -> None:
    refused(hdf5(tmp_path / "a.h5", images=made.pixels), r"a.h5 holds images; expected the datasets x \(N, S, S, 3\)")
    with pytest.raises(NotFoundError, match=r"b_x.h5 holds no labels; expected the dataset y beside x, or in b_y.h5"):
        read_patches(hdf5(tmp_path / "b_x.h5", x=made.pixels))
    assert read_patches(str(tmp_path / "b_x.h5"), labelled=False).labels is None
    refused(hdf5(tmp_path / "c.h5", x=made.pixels, y=np.arange(60)), r"c.h5/y has 58 labels other than", LabelError)
    refused(hdf5(tmp_path / "b_y.h5", y=made.labels), "b_y.h5 holds y; expected .*: give b_x.h5, which lies beside it")
    refused(hdf5(tmp_path / "d.h5", x=made.pixels / 255, y=made.labels), r"d.h5/x holds float64 values from 0.* to 1")


def test_values_that_lie_elsewhere_or_are_only_claimed_are_refused(made: PatchSet, tmp_path: Path) -> None:
    hdf5(tmp_path / "other.h5", x=made.pixels)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    refused(str(tmp_path / "link.h5"), "x is a dataset whose values lie in other files; expected plain values")
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file.create_dataset("x", (4, 96, 96, 3), np.uint8, external=[(str(tmp_path / "raw"), 0, 10**6)])
    refused(str(tmp_path / "outside.h5"), "x is a dataset whose values lie in other files")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((60, 96, 96, 3), np.uint8)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (60, 96, 96, 3))
        file.create_virtual_dataset("x", layout)
    refused(str(tmp_path / "virtual.h5"), "x is a dataset whose values lie in other files")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("x", (10**7, 96, 96, 3), np.uint8, chunks=(1, 96, 96, 3))
    refused(str(tmp_path / "bomb.h5"), r"x is a dataset that claims 276480000000 bytes in a file of [0-9]+, though")
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file.create_group("x")
    refused(str(tmp_path / "group.h5"), "x is no dataset; expected plain values")


def test_a_file_that_is_cut_off_is_refused(made: PatchSet, tmp_path: Path) -> None:
    whole = Path(hdf5(tmp_path / "set.h5", x=made.pixels, y=made.labels)).read_bytes()
    (tmp_path / "set.h5").write_bytes(whole[: len(whole) // 2])
    refused(
        str(tmp_path / "set.h5"),
        r"set.h5 \([0-9]+ bytes\) cannot be read as HDF5 \(.*it may be truncated: fetch it again",
    )


def test_without_the_library_one_line_says_what_to_install(
    made: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, real = hdf5(tmp_path / "set.h5", x=made.pixels, y=made.labels), builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    refused(source, r"set.h5 is HDF5, and h5py, which reads it, is not installed: pip install 'histotune\[h5\]'")
