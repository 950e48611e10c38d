"""What was sealed stays known where the folder that it lay in is gone, damaged or not at hand, and in other data.

The tests of this file share two folders of results and follow each other in their order.
"""

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from taken_up import SEARCH as OLD_SEARCH
from taken_up import take_up
from tree import Tree, copy_tree

from data_utils.readers.patches import PatchSet, read_patches
from data_utils.split.cache import read_digests

PATCHES = ("--data", "synthetic:300")
SEARCH = ("--model", "tiny", "--epochs", "1", "--trials", "1")
LOOK = ("explore", "--vgg16-weights", "none", "--study")
WHITE = np.full((50, 50, 3), 255, dtype=np.uint8)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """One, whose test split was opened, and two, another split of the same patches, whose test split was not."""
    folder = tmp_path_factory.mktemp("seals")
    tree = copy_tree(folder / "tree", folder / "runs")
    tree.run("launch", *SEARCH, *PATCHES, "--study", "one")
    tree.run("finalize", "--study", "one", "--draws", "200")
    tree.run("launch", *SEARCH, *PATCHES, "--study", "two", "--split-seed", "7")
    return tree


@pytest.fixture(scope="module")
def seals(tree: Tree) -> dict[str, set[str]]:
    """Name -> what it has sealed, as it lay there at first."""
    return {name: set(read_digests(tree.runs / name / "data" / "sealed").tolist()) for name in ("one", "two")}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, str]:
    """Results of an earlier version, whose database has no patches on record, and where their patches are."""
    tree, data = take_up(tmp_path_factory.mktemp("old"))
    return tree, str(data)


def predict(tree: Tree, study: str, data: str, out: Path, *more: str, expect: int = 0) -> str:
    model = str(tree.runs / study / "tiny")
    done = tree.run("predict", "--model", model, "--data", data, "--out", str(out / "p.csv"), *more, expect=expect)
    return done.stderr


def explored(tree: Tree, study: str) -> dict[str, Any]:
    return dict(json.loads((tree.runs / study / "exploration.json").read_text(encoding="utf-8")))


def arrays_in(folder: Path, patches: PatchSet, *, ids: bool = True) -> str:
    """The patches as arrays, with or without patient ids."""
    folder.mkdir()
    for name, array in (
        ("X", patches.pixels),
        ("Y", patches.labels),
        *([("patients", patches.patients)] if ids else []),
    ):
        np.save(folder / f"{name}.npy", array)
    return str(folder)


def with_white(source: str, row: int) -> PatchSet:
    """Made-up patches, one of which is glass that the camera has clipped."""
    patches = read_patches(source)
    pixels = patches.pixels.copy()
    pixels[row] = WHITE
    return PatchSet(**{**vars(patches), "pixels": pixels})


# --- folders that are gone or not at hand ---------------------------------------------------------------------------


def test_an_exploration_of_a_locked_name_does_not_show_what_another_has_sealed(
    tree: Tree, seals: Mapping[str, set[str]]
) -> None:
    tree.run(*LOOK, "two", *PATCHES)
    told = explored(tree, "two")
    others = seals["one"] - seals["two"]
    assert others
    assert ["sealed for the test of one", len(others)] in told["exclusions"]
    assert told["sealed"]["patches"] == len(seals["two"])
    assert told["totals"]["patches"] == 300 - len(seals["two"]) - len(others)
    made = read_patches("synthetic:300")
    hidden = np.isin(made.digests, [*seals["one"], *seals["two"]])
    folder = tree.runs / "two"
    pages = [folder / "exploration.html", folder / "exploration.json", *(folder / "tables").glob("data-*.csv")]
    written = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert [name for name in made.names[~hidden] if name in written]
    assert [name for name in made.names[hidden] if name in written] == []


def test_what_was_sealed_is_known_without_the_folder_that_it_lay_in(
    tree: Tree, seals: Mapping[str, set[str]], tmp_path: Path
) -> None:
    shutil.rmtree(tree.runs / "two" / "data")
    (tree.runs / "two" / "lock.json").unlink()
    said = predict(tree, "one", "synthetic:300", tmp_path, expect=2)
    unseen = len(seals["two"] - seals["one"])
    assert f"{unseen} of 300 patches are sealed test patches of two, whose test split was not opened yet" in said
    tree.run(*LOOK, "look", *PATCHES)
    told = explored(tree, "look")
    assert told["totals"]["patches"] == 300 - len(seals["one"] | seals["two"])


def test_what_was_sealed_is_known_from_another_folder_of_results(
    tree: Tree, seals: Mapping[str, set[str]], tmp_path: Path
) -> None:
    database = f"sqlite:///{tree.runs}/studies.db"
    elsewhere = Tree(tree.folder, tmp_path / "runs", database)
    elsewhere.run(*LOOK, "look", *PATCHES)
    told = explored(elsewhere, "look")
    assert told["totals"]["patches"] == 300 - len(seals["one"] | seals["two"])
    shutil.copytree(tree.runs / "one" / "tiny", elsewhere.runs / "one" / "tiny")
    said = predict(elsewhere, "one", "synthetic:300", tmp_path, "--storage", database, expect=2)
    assert "are sealed test patches of two, whose test split was not opened yet" in said
    said = predict(elsewhere, "one", "synthetic:300", tmp_path, "--storage", f"sqlite:///{tmp_path}/none.db", expect=2)
    assert f"there is no database {tmp_path}/none.db yet" in said


# --- what an earlier version has left -------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["gone", "damaged"])
def test_a_lock_of_which_nobody_knows_what_it_sealed_has_not_sealed_nothing(
    old: tuple[Tree, str], tmp_path: Path, lost: str
) -> None:
    tree, data = old
    prepared = tree.runs / "done" / "data"
    if lost == "gone":
        shutil.rmtree(prepared)
    else:  # done again as by an earlier version, which put no patches on record
        with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
            connection.execute("drop trigger histotune_patches_no_DELETE")
            connection.execute("drop trigger histotune_chain_no_DELETE")
            connection.execute("delete from histotune_patches where study = 'done'")
            connection.execute("delete from histotune_chain where kind = 'patches' and key = 'done'")
            connection.commit()
        (prepared / "sealed" / "digests.npy").write_bytes(b"damaged")
    refused = [
        predict(tree, "opened", "synthetic:60:9", tmp_path, expect=2),
        tree.run(*LOOK, "look", *PATCHES, expect=2).stderr,
    ]
    for said in refused:
        assert "a split is locked for done, and what it has sealed is on record nowhere (" in said
        assert "run its search.launch again, with its patches and settings, which writes it down" in said
        assert "a split is locked" in said.splitlines()[-1]
        assert (f"delete {prepared / 'meta.json'}, and the next search.launch" in said) == (lost == "damaged")
    if lost == "damaged":
        (prepared / "meta.json").unlink()
    tree.run("launch", *OLD_SEARCH, "--study", "done", "--trials", "3", "--data", data)
    predict(tree, "opened", "synthetic:60:9", tmp_path)
    tree.run(*LOOK, "look", *PATCHES)


def test_a_damaged_cache_of_another_name_does_not_matter_once_its_patches_are_on_record(
    old: tuple[Tree, str], tmp_path: Path
) -> None:
    tree, _ = old
    (tree.runs / "done" / "data" / "sealed" / "digests.npy").write_bytes(b"damaged")
    predict(tree, "opened", "synthetic:60:9", tmp_path)
    tree.run("status", "--check", "--study", "done")


def test_no_look_at_what_is_sealed_is_recorded_in_a_database_that_does_not_hold_its_lock(
    tree: Tree, old: tuple[Tree, str]
) -> None:
    shutil.copytree(tree.runs / "one", old[0].runs / "one")
    said = old[0].run(*LOOK, "look", *PATCHES, "--all", expect=2).stderr
    assert "patches are sealed for the test of one, and its database, in which this look would be recorded" in said
    with closing(sqlite3.connect(old[0].runs / "studies.db")) as connection:
        assert connection.execute("select * from histotune_looks where study = 'one'").fetchall() == []


# --- the same patches and other patches -----------------------------------------------------------------------------


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["launch", "dry run"])
def test_a_warm_start_knows_the_same_patches_without_their_ids(
    tree: Tree, tmp_path: Path, dry: tuple[str, ...]
) -> None:
    bare = arrays_in(tmp_path / "bare", read_patches("synthetic:300"), ids=False)
    start = ("--data", bare, "--study", "bare", "--warm-start", "one")
    said = tree.run("launch", *SEARCH, *start, *dry, expect=2).stderr
    assert "--warm-start one: the configurations of one were trained or chosen by" in said
    assert "patches of the test of bare, which would be no first look then" in said
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
        assert connection.execute("select * from histotune_locks where study = 'bare'").fetchall() == []


def test_a_dry_run_refuses_the_warm_start_that_the_launch_would(tree: Tree) -> None:
    start = (*SEARCH, *PATCHES, "--split-seed", "3", "--study", "three", "--warm-start", "one")
    said = [tree.run("launch", *start, *dry, expect=2).stderr for dry in ((), ("--dry-run",))]
    assert said[0] == said[1]
    assert "patients of the test of three" in said[0]


def test_other_patches_with_like_ids_are_strangers(tree: Tree, tmp_path: Path) -> None:
    white = with_white("synthetic:300:9", 0)
    ids = sorted(set(white.patients.tolist()))
    tested = [white.patients[0], *ids[-4:]]
    lists = {"train": [one for one in ids if one not in tested][4:], "test": tested}
    lists["val"] = [one for one in ids if one not in (*lists["train"], *tested)]
    (tmp_path / "lists.json").write_text(json.dumps(lists))
    data = arrays_in(tmp_path / "white", white)
    split = ("--split-file", str(tmp_path / "lists.json"))
    tree.run("launch", *SEARCH, "--data", data, "--study", "other", "--warm-start", "one", *split)
    bare = arrays_in(tmp_path / "bare", read_patches("synthetic:300"), ids=False)
    tree.run("launch", *SEARCH, "--data", bare, "--study", "bare")
    tree.run("report", "--study", "one")
    told = json.loads((tree.runs / "one" / "report.json").read_text(encoding="utf-8"))["elsewhere"]
    known = {words.split(" are in ")[1].split(" (")[0]: words.split(" are in ")[0] for words, _ in told}
    assert known.keys() == {"two", "bare"}
    assert known["two"].endswith("of the test patients")
    assert known["bare"].endswith("of the test patches")


def test_a_patch_of_one_colour_is_nobodys(tree: Tree, tmp_path: Path) -> None:
    """After the test above: the glass is sealed for the test of other."""
    assert WHITE.tobytes() in {row.tobytes() for row in np.load(tree.runs / "other" / "data" / "sealed" / "pixels.npy")}
    data = arrays_in(tmp_path / "new", with_white("synthetic:60:4", 5))
    assert predict(tree, "one", data, tmp_path).count("sealed") == 0
    tree.run(*LOOK, "glass", "--data", data, "--all")
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
        assert connection.execute("select * from histotune_looks where study = 'other'").fetchall() == []
    tree.run(*LOOK, "glass", "--data", data)
    assert explored(tree, "glass")["exclusions"] == []
