"""The benchmark of a GPU, in its small form on the CPU: with PyTorch alone, and all of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_THERE = (
    *("ray", "optuna", "sqlalchemy", "psutil", "pydantic", "safetensors", "platformdirs", "rich", "plotly"),
    *("sklearn", "scipy", "torchvision", "PIL", "onnx"),
)
"""What a machine with PyTorch and this repository may lack."""
LACKING = f"""
import runpy, sys
for name in {NOT_THERE}:
    sys.modules[name] = None
sys.argv = ["gpu", *sys.argv[1:]]
runpy.run_module("benchmarks.gpu", run_name="__main__", alter_sys=True)
"""


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run where nothing but PyTorch, numpy and this repository can be imported."""
    command = [sys.executable, "-c", LACKING, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def told() -> str:
    """What the small form prints."""
    done = benchmark("--small")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_small_form_goes_through_all_parts_but_the_last(told: str) -> None:
    assert re.findall(r"^(\w+), after \d+ s$", told, re.MULTILINE) == ["correctness", "speed", "waits", "together"]
    assert "OFF" not in told
    assert len(re.findall(r": ok$", told, re.MULTILINE)) == 2 + 2 * 3
    paces = re.findall(r"(\w+) fp32, batches of 32: ours (\d+) patches a second, plain loop (\d+)", told)
    assert [name for name, *_ in paces] == ["cnn", "vgg16"]
    assert all(int(number) > 0 for _, *both in paces for number in both)
    assert len(re.findall(r"(?:cnn|vgg16), [12] at once: \d+ patches a second", told)) == 4


def test_an_epoch_of_ours_looks_at_one_number_beside_what_adamw_counts(told: str) -> None:
    """On a CPU fused AdamW reads how many steps each tensor has behind it; on a GPU it leaves that there."""
    read = dict(re.findall(r"cnn, (ours|plain loop): (\d+) numbers read", told))
    steps, tensors = 2, 20
    assert int(read["ours"]) == 1 + steps * tensors
    assert int(read["plain loop"]) >= steps


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="a GPU is here")
def test_without_a_gpu_it_says_so() -> None:
    done = benchmark()
    assert done.returncode == 2
    assert "PyTorch finds no GPU here; --small runs on the CPU" in done.stderr
