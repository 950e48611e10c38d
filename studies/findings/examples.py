"""The patches that a report shows, as pictures in a folder with an index."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from studies.errors import RecordError
from studies.files import file_size, read_file, write_whole
from studies.npz import FINALIZE_AGAIN
from studies.records import Example, from_json

_INDEX = "examples.json"
_LARGEST = 2**20  # bytes of it
_EXAMPLES = TypeAdapter(tuple[Example, ...])


def save_index(examples: Sequence[Example], folder: Path) -> None:
    """Writes the index of pictures that lie in the folder already, whole or not at all; paths are relative to it."""
    write_whole(folder / _INDEX, _EXAMPLES.dump_json(tuple(examples), indent=1).decode())


def load_examples(folder: Path) -> tuple[Example, ...]:
    """What the index names; nothing where there is none.

    Raises:
        RecordError: the index cannot be read.
    """
    index = folder / _INDEX
    if not os.path.lexists(index):
        return ()
    try:
        listed = from_json(tuple[Example, ...], read_file(index, _LARGEST), str(index))
    except RecordError as error:
        raise RecordError(f"{error}, or {FINALIZE_AGAIN}") from error
    return tuple(_inside(example, folder) for example in listed)


def problem_with_pictures(folder: Path) -> str | None:
    """Why a report cannot show what the index names, in words; None where it can."""
    try:
        for example in load_examples(folder):
            for picture in (example.picture, example.heatmap):
                if picture is not None:
                    file_size(picture)
    except RecordError as error:
        return str(error)
    return None


def _inside(example: Example, folder: Path) -> Example:
    heatmap = None if example.heatmap is None else _below(folder, example.heatmap)
    return replace(example, picture=_below(folder, example.picture), heatmap=heatmap)


def _below(folder: Path, name: Path) -> Path:
    """A picture beside the index; a report must not carry other files out of the house."""
    if name.name != str(name) or name.suffix != ".png":
        raise RecordError(
            f"{folder / _INDEX} names {str(name)!r}, which is no picture beside it; put the original back"
        )
    return folder / name
