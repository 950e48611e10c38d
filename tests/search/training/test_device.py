"""What to compute on, in which precision; how much memory there is and when it ran out."""

import ctypes
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from search.command.settings import WorkerSettings
from search.errors import UsageError
from search.training.device import (
    DeviceError,
    choose_device,
    choose_precision,
    free_memory,
    has_bf16,
    held_memory,
    is_out_of_memory,
    peak_memory,
    set_up,
)
from search.trials.terms import chosen_precision
from search.workers.cluster import pack, plan_crew


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match=r"finds no CUDA device.*--device cpu"):
        choose_device("cuda")
    with pytest.raises(DeviceError, match="'gpu'; it must be auto, cpu or cuda"):
        choose_device("gpu")


@pytest.mark.parametrize(("flags", "found"), [({"avx512_bf16"}, "bf16"), ({"amx_bf16"}, "bf16"), ({"avx2"}, "fp32")])
def test_auto_precision_follows_the_processor(flags: set[str], found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.training.device._cpu_flags", lambda: flags)
    assert choose_precision("auto", "cpu") == found
    assert choose_precision("fp32", "cpu") == "fp32"
    assert choose_precision("bf16", "cpu") == "bf16"
    with pytest.raises(DeviceError, match="'fp16'; it must be auto, bf16 or fp32"):
        choose_precision("fp16", "cpu")


def test_later_workers_obey_the_precision_that_a_comparison_was_begun_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.training.device._cpu_flags", lambda: {"avx2"})
    assert chosen_precision("auto", None, "cpu") == "fp32"
    assert chosen_precision("auto", "bf16", "cpu") == "bf16"
    assert chosen_precision("bf16", "bf16", "cpu") == "bf16"
    with pytest.raises(UsageError, match=r"--precision fp32: the studies of this comparison are in bf16.*--study NEW"):
        chosen_precision("fp32", "bf16", "cpu")


@pytest.mark.parametrize(("capability", "found"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_auto_precision_follows_the_gpu(
    capability: tuple[int, int], found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert has_bf16("cuda") is found


def test_peak_memory_of_a_process_is_at_least_what_it_holds() -> None:
    held = torch.ones(20_000_000)  # 80 MB
    assert peak_memory("cpu") > held.nbytes


def test_running_out_of_memory_is_told_from_other_failures() -> None:
    with pytest.raises(RuntimeError) as allocation:
        torch.empty(2**60)
    assert is_out_of_memory(allocation.value)
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_held_memory_counts_what_is_kept_and_forgets_what_is_not() -> None:
    set_up("cpu", torch.get_num_threads())
    before = held_memory("cpu")
    kept = torch.ones(50_000_000)  # 200 MB
    assert held_memory("cpu") - before > 0.9 * kept.nbytes
    del kept
    free_memory("cpu")
    assert held_memory("cpu") - before < 50_000_000


STEPS = """
import resource, torch
from search.training.device import set_up
{}
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(step() for _ in range(20)))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library is not glibc")
@pytest.mark.parametrize(
    ("settings", "takes_new_pages"), [("set_up('cpu', 1)", False), ("torch.set_num_threads(1)", True)]
)
def test_steps_take_the_memory_that_earlier_ones_freed(settings: str, takes_new_pages: bool) -> None:
    ran = subprocess.run([sys.executable, "-c", STEPS.format(settings)], capture_output=True, check=True, text=True)
    assert (int(ran.stdout) > 1000) is takes_new_pages


# --- sharing a GPU --------------------------------------------------------------------------------------------------


ASKED = WorkerSettings(gpus_per_worker="auto", device="cuda")
GB = 2**30


@pytest.mark.parametrize(("peak", "share"), [(2 * GB, 0.125), (20 * GB, 0.3333), (60 * GB, 1.0), (100 * GB, 1.0)])
def test_workers_share_a_gpu_as_far_as_the_measured_memory_goes(peak: int, share: float) -> None:
    begun = plan_crew(ASKED, "cuda", gpus=2)
    assert (begun.packs, begun.workers, begun.gpus) == (True, 2, 1.0)
    packed = pack(begun, ASKED, 2, peak, 80 * GB)
    assert packed.gpus == share
    assert packed.workers == 2 * int(1 / share)
    assert packed.workers * packed.gpus <= 2
    assert not packed.packs


def test_packing_keeps_to_the_number_of_workers_that_was_asked_for() -> None:
    asked = replace(ASKED, workers=3)
    assert pack(plan_crew(asked, "cuda", 1), asked, 1, 2 * GB, 80 * GB).workers == 3
    assert pack(plan_crew(asked, "cuda", 1), asked, 1, 60 * GB, 80 * GB).workers == 1


def test_nothing_is_packed_unless_asked_for() -> None:
    assert not plan_crew(replace(ASKED, gpus_per_worker=None), "cuda", 1).packs
    assert not plan_crew(ASKED, "cpu", 0).packs
