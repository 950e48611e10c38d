"""Three comparisons as an earlier commit left them: a search begun, a search done, a test split opened.

``tests/before_wings.tar.xz`` was made by this file with the packages of commit 68fbea7, the last before the wings:
``python -W ignore tests/taken_up.py FOLDER`` in that checkout, with this file put into its ``tests/``.
"""

import os
import shutil
import signal
import sys
import tarfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tree import Tree, copy_tree, end, wait_until

ARCHIVE = Path(__file__).resolve().parent / "before_wings.tar.xz"
PATIENTS, PATCHES = 16, 192
SEARCH = ("--model", "tiny", "--epochs", "3", "--workers", "1", "--seed", "3", "--pruner", "none")


def write_patches(folder: Path) -> Path:
    """Patches that are the same everywhere, from arithmetic alone: stripes, redder where there is IDC."""
    rows = np.arange(PATCHES)
    patients, labels = rows % PATIENTS, (rows // PATIENTS) % 2
    y, x = np.mgrid[:50, :50]
    texture = (7 * x + 13 * y + 31 * rows[:, None, None]) % 40  # (N, 50, 50)
    level = 120 + 6 * (patients % 5) + (rows * 7919 % 23)
    pixels = np.stack([level[:, None, None] + texture + shift for shift in (40, 0, 20)], axis=-1)
    pixels[..., 0] += (18 * labels)[:, None, None]
    folder.mkdir(parents=True)
    np.save(folder / "X.npy", pixels.clip(0, 255).astype(np.uint8))
    np.save(folder / "Y.npy", labels)
    np.save(folder / "patients.npy", np.array([f"p{patient:02}" for patient in patients]))
    return folder


def take_up(folder: Path) -> tuple[Tree, Path]:
    """The old results in a copy of today's packages, and the patches that they are about."""
    data = write_patches(folder / "data")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return copy_tree(folder / "tree", folder / "runs"), data


def make(folder: Path) -> None:
    """Writes ``folder/before_wings.tar.xz``."""
    tree, data = copy_tree(folder / "tree", folder / "runs"), write_patches(folder / "data")
    on = ("--data", str(data))
    for name in ("done", "opened"):
        tree.run("launch", *SEARCH, "--trials", "3", "--study", name, *on)
    tree.run("finalize", "--study", "opened", "--draws", "200", "--workers", "1", *on)
    tree.environment["TINY_PAUSE"] = "0.4"
    killed = tree.start("launch", *SEARCH, "--trials", "4", "--study", "begun", *on)
    database = tree.runs / "studies.db"
    wait_until(lambda: any(state == "RUNNING" and steps for state, steps in _begun(database)), what="a second trial")
    os.killpg(killed.pid, signal.SIGKILL)
    end(killed)
    _pack(tree.runs, folder / ARCHIVE.name)


def _pack(runs: Path, archive: Path) -> None:
    """All but the report and its copy for the dashboard: 5 MB each of Plotly, written again from what is stored."""
    (runs / "opened" / "report.html").unlink()
    shutil.rmtree(runs / "artifacts")
    with tarfile.open(archive, "w:xz") as packed:
        packed.add(runs, "runs")


def _begun(database: Path) -> list[tuple[str, int]]:
    """State and number of values of each trial of the study that was begun, once one of them is complete."""
    import sqlite3

    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "select t.number, t.state, count(v.step) from trials t join studies s using (study_id) "
            "left join trial_intermediate_values v using (trial_id) where s.study_name = 'begun-tiny' group by 1"
        ).fetchall()
    connection.close()
    done = any(state == "COMPLETE" for _, state, _ in rows)
    return [(state, steps) for _, state, steps in rows] if done else []


if __name__ == "__main__":
    make(Path(sys.argv[1]))
