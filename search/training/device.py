"""What a worker computes on, in which precision and memory layout: chosen once, then handed around."""

import ctypes
import gc
import resource
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models._spec import Model
from search.errors import UsageError

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PREDICTION_LAYOUT = "channels_last"
"""In which networks predict, on any device: a prediction is the same wherever it is made."""
_KEPT_BYTES = 2**30
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, where it is one with the calls that are used here."""
    program = ctypes.CDLL(None)
    return program if hasattr(program, "mallopt") and hasattr(program, "malloc_trim") else None


_GLIBC = _glibc()


class DeviceError(UsageError):
    """The device or precision that was asked for is not there; the message is one line that says what to do."""


@dataclass(frozen=True)
class Compute:
    """Where and how to compute; part of what makes two runs equal bit for bit.

    Attributes:
        device: "cpu", "cuda" or "cuda:N".
        precision: "fp32" or "bf16" (autocast; weights and their updates stay fp32).
        layout: of feature maps in memory, "contiguous" or "channels_last".
    """

    device: str = "cpu"
    precision: str = "fp32"
    layout: str = "contiguous"

    def autocast(self) -> torch.autocast:
        """The context in which networks run."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def place(self, network: nn.Module) -> nn.Module:
        """The network on the device, its kernels in the layout."""
        return network.to(self.device).to(memory_format=LAYOUTS[self.layout])

    def arrange(self, images: Tensor) -> Tensor:
        """A batch (N, C, H, W) in the layout."""
        return images.contiguous(memory_format=LAYOUTS[self.layout])


def choose_device(wanted: str) -> str:
    """The device for "auto", "cpu" or "cuda".

    Raises:
        DeviceError: "cuda" was asked for and PyTorch finds none.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"--device is '{wanted}'; it must be auto, cpu or cuda.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "--device cuda: PyTorch finds no CUDA device here; check `nvidia-smi` and that torch "
            f"({torch.__version__}) is a CUDA build, or use --device cpu."
        )
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def choose_precision(wanted: str, device: str, bf16: bool | None = None) -> str:
    """The precision for "auto", "bf16" or "fp32"; "auto" is bf16 where the hardware multiplies it, so that it pays.

    ``bf16`` says whether it does, where that is not the hardware of this process.
    """
    if wanted not in ("auto", "bf16", "fp32"):
        raise DeviceError(f"--precision is '{wanted}'; it must be auto, bf16 or fp32.")
    if wanted != "auto":
        return wanted
    return "bf16" if (has_bf16(device) if bf16 is None else bf16) else "fp32"


def has_bf16(device: str) -> bool:
    """Whether the hardware multiplies bf16: CUDA from compute capability 8; a CPU with AVX512-BF16 or AMX."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def layout_on(device: str, model: Model) -> str:
    """The memory layout in which a model trains: by device and model alone, so that equal searches are equal.

    On CPUs the one that its file names; on GPUs channels_last, as their matrix units take it (NVIDIA, Convolutional
    Layers User's Guide; not measured here).
    """
    return "channels_last" if torch.device(device).type == "cuda" else model.layout


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; on a CPU PyTorch has no class of its own for that."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def free_memory(device: str) -> None:
    """Gives back what nobody uses any more."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    elif _GLIBC is not None:
        _GLIBC.malloc_trim(0)


def held_memory(device: str) -> int:
    """Bytes that this process holds now: on a GPU what PyTorch has allocated, on a CPU what it shares with nobody."""
    if torch.device(device).type == "cuda":
        return torch.cuda.memory_allocated(device)
    import psutil  # the only thing here beside PyTorch, with which alone benchmarks/gpu.py runs

    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))  # pages of mapped files are shared


def set_up(device: str, threads: int) -> None:
    """Settings of a process that will compute on the device: its CPU threads, TF32 of a GPU for what stays fp32."""
    torch.set_num_threads(threads)
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("high")
    else:
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Has the next step take the memory that the last one freed: a tenth of cnn's time goes into pages that are new.

    glibc gives the kernel back what is freed at the top of the heap and what was large; until ``free_memory`` it keeps
    a gigabyte. Another allocator stays as it is.
    """
    if _GLIBC is not None:
        for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            _GLIBC.mallopt(option, _KEPT_BYTES)


def reset_peak_memory(device: str) -> None:
    """Begins a new peak on a GPU; the peak of a process cannot be reset."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str) -> int:
    """Bytes: on a GPU what PyTorch held at most since the last reset, on a CPU what the process ever held at most."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
