"""Properties of every reader of a single file, for whatever hypothesis makes up: one line, or what was read.

Unlike the seeds of ``soak.inputs``, what hypothesis finds is shrunk to the smallest input that fails.
"""

import contextlib
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_utils.command import one_line
from data_utils.errors import DataError
from data_utils.readers import patches, synthetic
from data_utils.readers.array_file import map_array
from data_utils.split.lock import SplitLock
from search.command._arguments import study_name_of
from soak import _examples as examples
from soak._changes import Files, place_files
from soak._formats import FORMATS
from soak._judge import judge
from soak.guided import GUIDED

FEW = settings(
    max_examples=30,
    deadline=None,  # a loaded machine is no failure; the judge has a limit of its own
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
TEXT = st.text(st.characters(exclude_categories=()), max_size=60)  # surrogates and control characters as well
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def files_of(name: str) -> tuple[Files, str]:
    """A valid input, and the file of it that is changed."""
    files = FORMATS[name].example()
    return files, GUIDED[name] or min(files)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with some stretches of it replaced by others; shrinks towards a single, small change."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        changed[at : at + draw(st.sampled_from([0, 1, 2, 4, 8, 64, 10_000]))] = draw(st.binary(max_size=16))
    return bytes(changed)


def check(name: str, content: bytes, folder: Path) -> None:
    files, file = files_of(name)
    place = folder / f"{len(list(folder.iterdir()))}"
    place.mkdir()
    place_files(files | {file: content}, place)
    assert judge(FORMATS[name].read, place).problem is None


@pytest.mark.parametrize("name", GUIDED)
@FEW
@given(data=st.data())
def test_a_damaged_file_is_refused_in_one_line_or_read(name: str, data: st.DataObject, tmp_path: Path) -> None:
    files, file = files_of(name)
    content = files[file]
    assert isinstance(content, bytes)
    check(name, data.draw(damaged(content)), tmp_path)


@pytest.mark.parametrize("name", [name for name, file in GUIDED.items() if file.endswith(".json")])
@FEW
@given(value=JSON)
def test_any_json_is_refused_in_one_line_or_read(name: str, value: object, tmp_path: Path) -> None:
    check(name, json.dumps(value).encode("utf-8", "surrogatepass"), tmp_path)


@FEW
@given(
    kind=st.sampled_from(["|u1", "<i2", ">u4", "<i8", "<f4", "<f8", "|b1", "<U3", ">U2", "|S4", "<c8"]),
    shape=st.lists(st.integers(0, 4), max_size=4),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 9),
)
def test_whatever_numpy_writes_is_read_as_numpy_reads_it(
    kind: str, shape: list[int], order: str, seed: int, tmp_path: Path
) -> None:
    values = Random(seed).randbytes(np.dtype(kind).itemsize * int(np.prod(shape, dtype=int)))
    if "U" in kind:
        values = bytes(byte if at % 4 == (0 if kind[0] == "<" else 3) else 0 for at, byte in enumerate(values))
    array = np.frombuffer(values, kind).reshape(shape, order=order) if values else np.empty(shape, kind)
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=False)
    ours, theirs = map_array(path), np.load(path, allow_pickle=False)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert ours.tobytes() == theirs.tobytes()


@FEW
@given(assignment=st.dictionaries(st.text(max_size=9), st.sampled_from(["train", "validation", "test"]), max_size=9))
def test_whatever_lock_is_written_is_read_back(assignment: dict[str, str]) -> None:
    lock = SplitLock("study", "f", (70, 15, 15), 3, "patient", assignment)  # type: ignore[arg-type]
    try:
        text = lock.to_json().encode()
    except UnicodeEncodeError:
        return
    assert SplitLock.from_json(text, "lock.json") == lock


@FEW
@given(source=TEXT)
def test_any_text_as_data_is_refused_in_one_line(source: str) -> None:
    with pytest.raises(DataError) as refused:
        patches.signature(f"no/such/{source}")
    assert one_line(str(refused.value)).isprintable()
    with contextlib.suppress(DataError):
        synthetic.parse(f"synthetic:{source}")


@FEW
@given(text=TEXT)
def test_a_message_is_one_line_that_moves_no_cursor(text: str) -> None:
    assert one_line(text).isprintable()


@FEW
@given(data=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_a_study_named_after_its_data_has_a_name_that_is_accepted(data: str) -> None:
    from search.command._arguments import study_name

    assert study_name(study_name_of(data)) == study_name_of(data)


def test_the_examples_are_valid(tmp_path: Path) -> None:
    """Otherwise every change of them would be refused, whatever the reader does."""
    for name, one in FORMATS.items():
        place = tmp_path / name
        place.mkdir()
        place_files(one.example(), place)
        one.read(place)
    assert len(examples.patches()) == examples.PATCHES
