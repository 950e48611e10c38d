"""What a worker can see while it works: no test row, in no array, no mapped file and no open file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree import Tree, copy_tree

from data_utils.readers.patches import patch_digests
from data_utils.split.draw import MOST_FOLDS
from data_utils.split.holdout import open_sealed
from data_utils.split.prepare import load_development

Json = dict[str, Any]

# Runs inside a live process, at the moment when a network is built: patches are loaded by then.
LOOK_AROUND = """
import gc, hashlib, json, os, sys
from pathlib import Path
import numpy as np
import torch

ROW = 50 * 50 * 3
seen = set()

def look(data, offset=0):
    usable = (len(data) - offset) // ROW * ROW
    rows = np.frombuffer(data, np.uint8, usable, offset).reshape(-1, ROW)
    seen.update(hashlib.sha256(row.tobytes()).hexdigest() for row in rows)

def arrays():
    for thing in gc.get_objects():
        try:
            if isinstance(thing, torch.Tensor):
                thing = thing.detach().cpu().numpy()
            if isinstance(thing, np.ndarray) and thing.dtype == np.uint8 and thing.nbytes % ROW == 0 and thing.nbytes:
                yield thing
        except (ReferenceError, RuntimeError):
            continue

def files():
    for line in Path("/proc/self/maps").read_text().splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6:
            yield parts[5]
    for link in Path("/proc/self/fd").iterdir():
        try:
            yield os.readlink(link)
        except FileNotFoundError:
            continue

count = 0
for array in arrays():
    look(np.ascontiguousarray(array).tobytes())
    count += 1
LIBRARIES = (sys.prefix, sys.base_prefix, "/usr/", "/lib")  # installed before any patch was read
looked_at = sorted({name for name in files() if name.startswith("/") and not name.startswith(LIBRARIES)})
for name in looked_at:
    data = Path(name).read_bytes() if Path(name).is_file() else b""
    if data[1:6] == b"NUMPY":
        look(data, 10 + int.from_bytes(data[8:10], "little"))
    elif len(data) % ROW == 0 or name.endswith((".bin", ".raw")):
        look(data)
place = Path(os.environ["SEEN"], str(os.getpid()))
place.mkdir(parents=True, exist_ok=True)
told = json.dumps({"seen": sorted(seen), "files": looked_at, "arrays": count})
(place / f"{len(list(place.iterdir()))}.json").write_text(told)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Where the tests below search, and then retrain."""
    folder = tmp_path_factory.mktemp("seal")
    probe = folder / "look.py"
    probe.write_text(LOOK_AROUND)
    tree = copy_tree(folder / "tree", folder / "runs")
    tree.environment = {"TINY_PROBE": str(probe)}
    tree.fresh = True  # workers have what Ray lets them inherit, and nothing else
    return tree


def looked_around(tree: Tree, seen: Path, name: str, *arguments: str) -> tuple[list[Json], list[Json]]:
    """Runs a command; what was seen in its workers, and in the process of the command itself."""
    tree.environment["SEEN"] = str(seen)
    driver = tree.start(name, *arguments, "--study", "seal", "--workers", "1")
    output, _ = driver.communicate(timeout=550)
    assert driver.returncode == 0, output
    looks = [(path.parent.name, json.loads(path.read_text())) for path in sorted(seen.rglob("*.json"))]
    workers = [told for pid, told in looks if pid != str(driver.pid)]
    return workers, [told for pid, told in looks if pid == str(driver.pid)]


def check_sealed(tree: Tree, workers: list[Json]) -> set[str]:
    """No look into a worker met a sealed row; the digests of all sealed rows."""
    data = tree.runs / "seal" / "data"
    developed, sealed = load_development(data / "development"), set(open_sealed(data / "sealed", "").digests)
    # The workers were looked into, and what they may see was found in them: otherwise the rest would prove nothing.
    assert workers
    for told in workers:
        assert set(developed.digests) <= set(told["seen"])
        assert any(name.endswith("development/pixels.npy") for name in told["files"])
        assert not sealed & set(told["seen"])
        assert not [name for name in told["files"] if "/data/sealed" in name]
    return sealed


def test_no_sealed_row_is_within_reach_of_a_worker(tree: Tree, tmp_path: Path) -> None:
    arguments = ("--model", "tiny", "--data", "synthetic:300", "--epochs", "2", "--trials", "1")
    workers, _ = looked_around(tree, tmp_path / "seen", "launch", *arguments)
    check_sealed(tree, workers)


def test_no_sealed_row_is_within_reach_of_a_worker_that_retrains(tree: Tree, tmp_path: Path) -> None:
    """After the search of the test above. The driver, which opens the split in the end, proves the probe."""
    workers, driver = looked_around(tree, tmp_path / "seen", "finalize")
    sealed = check_sealed(tree, workers)
    assert len(workers) >= MOST_FOLDS
    assert any(sealed <= set(told["seen"]) for told in driver)


def test_the_digests_are_of_pixels() -> None:
    """The test above compares sha256 of raw rows with the digests of the caches: both must be the same thing."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3), dtype=np.uint8)
    assert patch_digests(pixels).tolist() == [hashlib.sha256(row.tobytes()).hexdigest() for row in pixels]
