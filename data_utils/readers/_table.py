"""Pictures that a table lists: a CSV file with the columns path, label, patient and, where they are known, x and y.

Paths are relative to the table's folder and lead nowhere else.
"""

import csv
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from data_utils.errors import FormatError, LabelError
from data_utils.files import NO_TEXT, check_within, kind, read_small, shown
from data_utils.readers._decode import decode
from data_utils.readers._folder import as_patches
from data_utils.readers._listing import ImageFile, is_picture
from data_utils.readers._names import NUMBERS, WITH_BACKSLASHES, Classes, FileFacts
from data_utils.readers._zip import OUTSIDE
from data_utils.readers.patchset import PatchSet, Progress

_LARGEST = 128 * 2**20  # bytes of a table; of the public set it takes about 25 million
_PATH, _LABEL, _KNOWN = "path", "label", ("path", "label", "patient", "x", "y")
_LONGEST_PLACE = 9  # digits
_POINTED = re.compile(r"(-?[0-9]+)\.0+")
Row = Mapping[str, str]


def is_this(path: Path) -> bool:
    """Whether a path is a table, by its name."""
    return path.suffix.lower() == ".csv" and path.is_file()


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """(path, bytes, modification time in ns) of the table and of every picture that it lists.

    Raises:
        FormatError: as ``read_table``.
    """
    own = path.stat()
    rows, _ = _rows(path)
    listed = ((file, _found(path, file)) for file in _paths(rows, path))
    return [("", own.st_size, own.st_mtime_ns), *((file, one.st_size, one.st_mtime_ns) for file, one in listed)]


def read_table(
    path: Path,
    source: str,
    *,
    labelled: bool,
    positive: str,
    progress: Progress | None,
    into: Path | None,
    pieces: Path | None,
) -> PatchSet:
    """Reads what the table lists; ``pieces`` lets an interrupted reading go on (``_decode.decode``).

    Raises:
        FormatError: no such columns, a file that is missing, twice there or elsewhere, or (where labels are needed)
            a damaged picture.
        LabelError: labels other than 0 and 1, or than two of which one is ``positive``.
    """
    rows, told = _rows(path)
    files = [ImageFile(file, _found(path, file).st_size) for file in _paths(rows, path)]
    labels = _labels(rows, path, positive, needed=labelled)
    facts = [_of_row(number, row, label, path) for number, (row, label) in enumerate(zip(rows, labels, strict=True))]
    decoded = decode(path.parent, files, progress=progress, into=into, pieces=pieces)
    return as_patches(source, files, facts, decoded, labelled=labelled, told=told)


def _rows(path: Path) -> tuple[list[Row], tuple[str, ...]]:
    """The lines below the header by column, and a sentence where there are columns that mean nothing here."""
    try:
        text = read_small(path, _LARGEST).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = [{name: (value or "").strip() for name, value in row.items() if name in _KNOWN} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(
            f"{shown(path)} cannot be read as a table ({shown(error)}); expected CSV in UTF-8: save it so"
        ) from error
    if _PATH not in columns or len(set(columns)) < len(columns) or not rows:
        listed = ", ".join(map(shown, columns[:10])) or "nothing"
        raise FormatError(
            f"{shown(path)} has {len(rows)} lines below the columns {listed}; expected a table with commas between the "
            "columns path, label, patient and, where they are known, x and y, each once"
        )
    ignored = [shown(column) for column in columns if column not in _KNOWN]
    backslashes = sum("\\" in row[_PATH] for row in rows)
    told = [f"{shown(path)}: columns that are not read: {', '.join(ignored)}"] if ignored else []
    if backslashes:
        told.append(f"{backslashes} of {len(rows)} paths {WITH_BACKSLASHES}")
    return [row | {_PATH: row[_PATH].replace("\\", "/")} for row in rows], tuple(told)


def _paths(rows: Sequence[Row], table: Path) -> list[str]:
    """The pictures, each once, below the table's folder.

    Raises:
        FormatError: what is wrong with the first path, and how many are.
    """
    paths = [row[_PATH] for row in rows]
    again = {path for path, count in Counter(paths).items() if count > 1}
    checks: tuple[tuple[Callable[[str], object], str, str], ...] = (
        (lambda path: not path or NO_TEXT.search(path), "are no printable text", "write the name of each picture"),
        (
            OUTSIDE.search,
            "lead out of its folder, or are absolute",
            "put the table where all pictures lie below, and write their paths from there",
        ),
        (lambda path: not is_picture(path), "name no PNG, JPEG or TIFF file", "list pictures only"),
        (again.__contains__, "are listed twice", "list each picture once"),
        (_led_out(paths, table).__contains__, "lead out of its folder by a link", "copy the pictures there"),
    )
    for wrong, words, advice in checks:
        found = [path for path in paths if wrong(path)]
        if found:
            raise FormatError(
                f"{shown(table)}: {len(found)} of {len(paths)} paths {words} (first: {shown(found[0])}); {advice}"
            )
    return paths


def _led_out(paths: Sequence[str], table: Path) -> set[str]:
    """Those in folders that are somewhere else."""
    root = os.path.realpath(table.parent)
    folders = {os.path.dirname(path) for path in paths}  # noqa: PTH120 - there are as many paths as patches
    out = {one for one in folders if not Path(os.path.realpath(table.parent / one)).is_relative_to(root)}
    return {path for path in paths if os.path.dirname(path) in out}  # noqa: PTH120 - see above


def _found(table: Path, path: str) -> os.stat_result:
    """What the system says of a picture."""
    file = table.parent / path
    try:
        check_within(file, table.parent)
        found = file.stat()
    except OSError as error:
        raise FormatError(
            f"{shown(table)} lists {shown(path)}, which cannot be read ({error.strerror}); expected the picture there, "
            "by its path from the table's folder"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(f"{shown(table)} lists {shown(path)}, which is {kind(found.st_mode)}; expected a picture")
    return found


def _labels(rows: Sequence[Row], table: Path, positive: str, *, needed: bool) -> list[int]:
    """0 or 1 of each row; -1 where nobody says it.

    Raises:
        LabelError: others, or none where they are needed.
    """
    said = [row.get(_LABEL, "") for row in rows]
    words = said if positive else [_number(word) for word in said]
    known = sorted({*words} - {""})
    classes = _classes(known, positive)
    missing = words.count("")
    if classes is None or (needed and missing):
        listed = ", ".join(map(shown, known[:5])) or "none"
        raise LabelError(
            f"{shown(table)} has the labels {listed}, and none in {missing} of {len(rows)} lines; expected 0 (no IDC) "
            "or 1 (IDC) in each, or two words of which --positive WORD is the one that means IDC"
        )
    return [classes.index(word) if word else -1 for word in words]


def _classes(known: Sequence[str], positive: str) -> Classes | None:
    """What the labels are called; None where they are not two, or not those."""
    if not positive:
        return NUMBERS if {*known} <= {*NUMBERS} else None
    others = [word for word in known if word != positive]
    return (others[0], positive) if len(known) == 2 and len(others) == 1 else None


def _of_row(number: int, row: Row, label: int, table: Path) -> FileFacts:
    x, y = (_place(row.get(axis, ""), number, table) for axis in ("x", "y"))
    return FileFacts(row.get("patient", ""), x, y, label, "", named=False, at_home=False)


def _number(word: str) -> str:
    """A whole number without the point that pandas writes where others of its column are missing, as in 51.0."""
    found = _POINTED.fullmatch(word)
    return found[1] if found else word


def _place(word: str, number: int, table: Path) -> int:
    """A place on the slide in pixels; -1 where it is unknown."""
    word = _number(word)
    if word in ("", "-1"):
        return -1
    if not word.isascii() or not word.isdigit() or len(word) > _LONGEST_PLACE:
        raise FormatError(
            f"{shown(table)}: place {shown(word)} in line {number + 2}; expected whole pixels of the slide, or nothing "
            "where it is unknown"
        )
    return int(word)
