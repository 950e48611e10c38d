"""Where a worker's time goes: the share of training that is arithmetic of the network, for benchmarks/limits.toml.

Trains the configurations of ``benchmarks.whole_search`` for an epoch each in this process, on one thread, under
``torch.profiler``. What is left beside the network's own operators is all that a faster loop could still save. How fast
the same thread multiplies matrices in fp32 and in bf16 bounds what precision can gain.

    python -m benchmarks.arithmetic --model vgg16
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.trial import FixedTrial
from torch.profiler import ProfilerActivity, profile

from benchmarks._launch import FIXED, configurations, patches, prepared, scratch_folder, weights
from benchmarks._report import conditions
from benchmarks.whole_search import CONFIGURATIONS, PATCHES
from data_utils.split.prepare import load_development
from models._registry import load_model
from search.training.device import Compute, choose_precision, layout_on, set_up
from search.training.device_patches import DevicePatches
from search.training.loop import Training, train

DEVICE = "cpu"
SIDE, ROUNDS = 1024, 30
GROUPS = {  # operators of ATen by the beginning of their names; the first that fits
    "convolution": ("mkldnn_convolution", "convolution", "conv", "slow_conv", "thnn_conv"),
    "linear": ("addmm", "mm", "linear", "bmm", "matmul"),
    "normalisation": ("native_batch_norm", "batch_norm", "native_group_norm", "group_norm"),
    "pooling and activation": ("max_pool", "avg_pool", "mean", "amax", "relu", "threshold", "clamp", "silu", "gelu"),
    "optimizer": ("_fused", "_foreach"),
    "gather, views, jitter": ("gather", "index", "log", "exp", "uniform", "rand"),
}


def spent(model_name: str, params: dict[str, Any], development: Path) -> tuple[Counter[str], float]:
    """One epoch: seconds by group of operators, and seconds without the profiler."""
    seconds = _epoch(model_name, params, development)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        _epoch(model_name, params, development)
    found: Counter[str] = Counter()
    for event in profiler.key_averages():
        found[_group(event.key)] += event.self_cpu_time_total / 1e6
    return found, seconds


def _group(key: str) -> str:
    name = key.removeprefix("aten::")
    return next((group for group, starts in GROUPS.items() if name.startswith(starts)), "all else")


def _epoch(model_name: str, params: dict[str, Any], development: Path) -> float:
    model = load_model(model_name)
    config = model.suggest(FixedTrial(params))
    loaded = load_development(development)
    on_device = DevicePatches.load(loaded.pixels, loaded.labels, DEVICE)
    learn = np.flatnonzero(loaded.part == "train")
    tensors = weights() if model.pretrained else None
    precision = choose_precision("auto", DEVICE)
    compute = Compute(DEVICE, precision, layout_on(DEVICE, model))
    training = Training.begin(model, config, tensors, on_device, learn, epochs=1, seed=0, compute=compute)
    began = time.perf_counter()
    for _ in train(training):
        pass
    return time.perf_counter() - began


def multiplications(precision: torch.dtype) -> float:
    """GFLOP/s of one thread that multiplies square matrices: the best of many."""
    left, right = (torch.randn(SIDE, SIDE, dtype=precision) for _ in range(2))
    best = math.inf
    for _ in range(ROUNDS):
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2 * SIDE**3 / best / 1e9


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table of one model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arithmetic", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cnn", choices=sorted(FIXED))
    model = parser.parse_args(argv).model
    set_up(DEVICE, threads=1)
    print("; ".join(conditions()))
    total: Counter[str] = Counter()
    whole = 0.0
    with scratch_folder() as folder:
        development = prepared(patches(PATCHES, folder / "patches"), folder / "prepared").development
        for params in configurations(model, CONFIGURATIONS, **FIXED[model]):
            found, seconds = spent(model, params, development)
            total += found
            whole += seconds
    print(f"{model}: {whole:.1f} s for an epoch of each configuration, on one thread; of that")
    for group, seconds in total.most_common():
        print(f"  {seconds / total.total():6.1%}  {group}")
    fp32, bf16 = multiplications(torch.float32), multiplications(torch.bfloat16)
    print(f"  {SIDE} x {SIDE} matrices: {fp32:.0f} GFLOP/s in fp32, {bf16:.0f} in bf16, {bf16 / fp32:.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
