"""What a worker can see while it works: no test row, in no array, no mapped file and no open file."""

import hashlib
import json
from pathlib import Path

import numpy as np
from tree import copy_tree

from data_utils.holdout import open_sealed
from data_utils.patches import patch_digests
from data_utils.prepare import load_development

# Runs inside a live worker, at the moment when a network is built for a trial: patches are loaded by then.
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
Path(os.environ["SEEN"]).write_text(json.dumps({"seen": sorted(seen), "files": looked_at, "arrays": count}))
"""


def test_no_sealed_row_is_within_reach_of_a_worker(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    probe, seen = tmp_path / "look.py", tmp_path / "seen.json"
    probe.write_text(LOOK_AROUND)
    tree.environment = {"TINY_PROBE": str(probe), "SEEN": str(seen)}
    arguments = ("--model", "tiny", "--data", "synthetic:300", "--study", "seal", "--epochs", "2", "--workers", "1")
    tree.run("launch", *arguments, "--trials", "1")
    told = json.loads(seen.read_text())
    data = tree.runs / "seal" / "data"
    developed, sealed = load_development(data / "development"), open_sealed(data / "sealed")
    # The worker was looked into, and what it may see was found in it: otherwise the rest would prove nothing.
    assert set(developed.digests) <= set(told["seen"])
    assert any(name.endswith("development/pixels.npy") for name in told["files"])
    assert not set(sealed.digests) & set(told["seen"])
    assert not [name for name in told["files"] if "/data/sealed" in name]


def test_the_digests_are_of_pixels() -> None:
    """The test above compares sha256 of raw rows with the digests of the caches: both must be the same thing."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3), dtype=np.uint8)
    assert patch_digests(pixels).tolist() == [hashlib.sha256(row.tobytes()).hexdigest() for row in pixels]
