"""Predictions as a table on disk, CSV or Parquet by the name of the file, written piece by piece."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Columns = Mapping[str, Sequence[object]]
"""Name -> values of the same number of patches; None where nothing is known."""
KINDS = {
    "name": pa.string(),
    "patient": pa.string(),
    "x": pa.int64(),
    "y": pa.int64(),
    "label": pa.int64(),
    "probability": pa.float64(),
    "predicted": pa.int64(),
    "member_spread": pa.float64(),
    "set": pa.string(),
    "distance": pa.float64(),
    "unlike": pa.string(),
    "source": pa.string(),
}
"""Every column that there can be, and what it holds."""
_PARQUET = (".parquet", ".pq")


@contextmanager
def table_at(place: Path, name: str) -> Iterator[Callable[[Columns], None]]:
    """What adds rows to a new table at ``place``, which is to have this file name in the end."""
    write = _parquet if Path(name).suffix.lower() in _PARQUET else _csv
    with write(place) as add:
        yield add


@contextmanager
def _csv(place: Path) -> Iterator[Callable[[Columns], None]]:
    with place.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        begun = False

        def add(columns: Columns) -> None:
            nonlocal begun
            if not begun:
                rows.writerow(columns)
                begun = True
            rows.writerows([_text(cell) for cell in row] for row in zip(*columns.values(), strict=True))

        yield add


def _text(cell: object) -> object:
    """A cell as CSV has it: None is written as nothing."""
    return f"{cell:.6f}" if isinstance(cell, float) else cell


@contextmanager
def _parquet(place: Path) -> Iterator[Callable[[Columns], None]]:
    writer: pq.ParquetWriter | None = None

    def add(columns: Columns) -> None:
        nonlocal writer
        schema = pa.schema([(name, KINDS[name]) for name in columns])
        writer = writer or pq.ParquetWriter(place, schema)
        writer.write_table(pa.table(dict(columns), schema=schema))

    try:
        yield add
    finally:
        if writer is not None:
            writer.close()
