"""Malformed inputs under the guidance of coverage: what reaches new lines of a reader is changed further (atheris).

``python -m soak.guided NAME RUNS`` is one reader in one process, which libFuzzer ends; ``explore`` starts it and reads
what it found. Half of the changes are libFuzzer's own, half those of the format's mutator.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # else they are imported where atheris watches
    from soak._changes import Files
    from soak._judge import Read

ROOT = Path(__file__).resolve().parent.parent
GUIDED = {
    "arrays": "patients.npy",
    "folder": "",  # the first picture
    "zip": "set.zip",
    "packed": "set.zip",
    "tar": "set.tar",
    "cache": "sealed/names.npy",
    "lock": "lock.json",
    "lists": "lists.json",
    "records": "AnalysisPlan.json",
    "predictions": "predictions.npz",
    "measured": "robustness.npz",
    "published": "ensemble.json",
    "model": "model.json",
    "weights": "w.safetensors",
    "enqueue": "first.json",
}
"""Name of a format: the file of its input that is changed."""
_WATCHED = ["data_utils", "studies", "models", "search", "zipfile", "tarfile", "numpy.lib._format_impl"]
_SECONDS = 600.0


@dataclass(frozen=True)
class Found:
    """What one exploration did: inputs fed, edges of the code that they reached, and the first failure."""

    inputs: int
    edges: int
    problem: str | None


def explore(name: str, runs: int) -> Found:
    """Explores one reader in a process of its own.

    Args:
        name: one of ``GUIDED``.
        runs: inputs.
    """
    with tempfile.TemporaryDirectory(prefix="soak-guided-") as folder:
        command = [sys.executable, "-m", "soak.guided", name, str(runs)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TZ": "UTC"}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False,
                timeout=_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Found(0, 0, f"did not end within {_SECONDS:g} s")
    said = done.stdout + done.stderr
    units = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    edges = re.findall(r"\bcov: (\d+)", said)
    problem = None if done.returncode == 0 and units else f"ended with {done.returncode}: {said[-3000:]}"
    return Found(int(units[-1]) if units else 0, int(edges[-1]) if edges else 0, problem)


def main(name: str, runs: int) -> None:
    """Feeds the reader until libFuzzer has had its runs, or a failure, and ends the process."""
    import atheris

    with atheris.instrument_imports(include=_WATCHED):
        from soak._feeding import feed_example, limit_memory
        from soak._formats import FORMATS

        feed_example(name, alarm=False)  # imports the rest of what the reader needs, to be watched as well
    chosen = FORMATS[name]
    files = chosen.example()
    file = GUIDED[name] or min(files)
    limit_memory()
    arguments = [sys.argv[0], *_options(runs), str(_corpus(files[file]))]
    atheris.Setup(arguments, _feeding(chosen.read, files, file), custom_mutator=_changing(file))
    atheris.Fuzz()


def _feeding(read: "Read", files: "Files", file: str) -> Callable[[bytes], None]:
    """Judges the reader of these files by another content of one of them."""
    from soak._changes import place_files
    from soak._judge import judge

    def feed(content: bytes) -> None:
        place = Path(tempfile.mkdtemp(dir="."))
        try:
            place_files(files | {file: content}, place)
            verdict = judge(read, place, alarm=False)
        finally:
            shutil.rmtree(place)
        if verdict.problem is not None:
            raise AssertionError(f"{content[:2000]!r}: {verdict.problem}")

    return feed


def _changing(file: str) -> Callable[[bytes, int, int], bytes]:
    """Changes a content by what libFuzzer knows, or by what its format is."""
    import atheris

    from soak import _archives as archives
    from soak import _mutations as mutations

    mutate = {
        ".npy": mutations.npy_bytes,
        ".png": mutations.png_bytes,
        ".zip": mutations.zip_bytes,
        ".tar": archives.tar_bytes,
        ".npz": mutations.npz_bytes,
        ".safetensors": mutations.safetensors_bytes,
        ".json": mutations.json_bytes,
    }[Path(file).suffix]

    def change(content: bytes, most: int, seed: int) -> bytes:
        if seed % 2:
            return bytes(atheris.Mutate(content, most))
        try:
            return mutate(random.Random(seed), content)[:most]
        except Exception:  # noqa: BLE001 - of a content that is no longer of the format
            return bytes(atheris.Mutate(content, most))

    return change


def _corpus(example: object) -> Path:
    assert isinstance(example, bytes)
    corpus = Path("corpus")
    corpus.mkdir()
    (corpus / "example").write_bytes(example)
    return corpus


def _options(runs: int) -> list[str]:
    from soak._judge import MOST_SECONDS

    return [
        f"-runs={runs}",
        f"-timeout={MOST_SECONDS:.0f}",
        "-rss_limit_mb=0",
        "-print_final_stats=1",
        "-seed=1",
        f"-max_len={2**18}",
    ]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
