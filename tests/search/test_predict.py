"""``search.predict`` on a comparison that was opened: forms in and out, patches that are left open."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from taken_up import take_up
from tree import Tree


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, str]:
    """A comparison that an earlier version opened, and the folder of its patches."""
    tree, data = take_up(tmp_path_factory.mktemp("predict"))
    return tree, str(data)


def test_several_sources_are_one_table_and_parquet_holds_the_same(opened: tuple[Tree, str], tmp_path: Path) -> None:
    tree, data = opened
    pixels = np.load(Path(data) / "X.npy")
    for number in range(3):
        Image.fromarray(pixels[number]).save(tmp_path / f"one_{number}.png")
    asked = ("predict", "--model", str(tree.runs / "opened" / "tiny"), "--data", data, str(tmp_path / "one_*.png"))
    told = tree.run(*asked, "--out", str(tmp_path / "p.csv")).stderr
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "195 predictions by opened/tiny, " in told
    assert "patches a second" in told
    assert "python -m search.finalize --study opened adds it" in told
    assert {(row["distance"], row["unlike"], row["set"]) for row in rows} == {("", "", "")}
    assert [row["name"] for row in rows[192:]] == ["one_0.png", "one_1.png", "one_2.png"]
    assert {row["source"] for row in rows[:192]} == {data}
    for column in ("probability", "predicted", "member_spread"):
        assert [row[column] for row in rows[192:]] == [row[column] for row in rows[:3]]
    told = tree.run(*asked, "--out", str(tmp_path / "p.parquet"), "--abstain", "0.1").stderr
    table = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert [*table[0]] == [*rows[0]]
    assert [row["name"] for row in table] == [row["name"] for row in rows]
    assert [f"{row['probability']:.6f}" for row in table] == [row["probability"] for row in rows]
    assert table[192]["label"] is None
    assert (rows[192]["label"], rows[0]["label"], table[0]["label"]) == ("", "0", 0)
    left_open = [row for row in table if row["set"] == "0 1"]
    assert f"--abstain 0.1: {len(left_open)} of 195 patches are left open" in told
    assert all(row["predicted"] == (None if row["set"] == "0 1" else int(row["set"])) for row in table)
