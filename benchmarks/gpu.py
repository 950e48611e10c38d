"""What one GPU does for our training, against a plain PyTorch loop in the same run; at most 8 minutes.

It needs torch, numpy and this repository: no Ray, no Optuna, nothing from a registry. Patches are made up, vgg16 begins
from random weights, configurations are the default ones. **It has not run on a GPU yet** (docs/not-run.md): a test runs
its small form on the CPU, in which vgg16 sees 32 pixels.

- *correctness*: logits of one network on CPU and GPU, losses of the same epochs on both, views and stain jitter, a
  training that goes on from its state. The exit code is 1 where one of these is off.
- *speed*: patches a second of ours and of the plain loop, by model, precision and batch.
- *waits*: how often an epoch waits for the device, by PyTorch's profiler; on a CPU fused AdamW reads a number of
  each tensor at each step, which takes no waiting.
- *together*: patches a second of several networks at once, each in a process of its own, all on one device.
- *payback*: how many patches a network must train on until torch.compile, or CUDA graphs, have paid for themselves.

    python -m benchmarks.gpu [--small]
"""

import argparse
import multiprocessing
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks._plain import Cast, PlainLoop, compute_on, made_up, our_epochs, ours
from data_utils.colour.augment import VIEWS, dihedral, stain_jitter
from models._registry import load_model
from search.training.device import Compute, choose_precision, set_up
from search.training.loop import Training, evaluate, train

MODELS = {"cnn": 1, "vgg16": 8}
"""Each with the part of the patches that it trains on: one epoch of all would take it too long."""
LIMIT = 450.0
"""Seconds after which nothing new is begun."""
LATE = 120.0  # seconds for processes to come to a figure together
TOLERANCE = {"fp32": 0.05, "bf16": 0.25}
"""Largest difference of logits, in standard deviations of theirs; GPUs multiply fp32 as TF32."""
LOSS, COLOUR = 0.05, 0.01
"""Largest difference of an epoch's loss, as a share of it; and of a colour in [0, 1]."""
_WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
_READ = "aten::_local_scalar_dense"  # a number of the device that Python looks at


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        device: "cuda" or "cpu".
        patches: of an epoch of cnn.
        seconds: that a pace is measured.
        batches, precisions, together: what is gone through.
        changed: parameters of a model that are not its default ones.
    """

    device: str
    patches: int
    seconds: float
    batches: tuple[int, ...]
    precisions: tuple[str, ...]
    together: tuple[int, ...]
    changed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """Patches of an epoch of a model."""
        return self.patches // MODELS[name]

    def training(self, name: str, batch: int, compute: Compute, count: int, **params: Any) -> Training:
        """``ours`` with what is changed."""
        return ours(name, batch, compute, count, **self.changed.get(name, {}), **params)


GPU = Size("cuda", 16_384, 2.0, (32, 128, 512), ("fp32", "bf16"), (1, 2, 4, 8))
SMALL = Size("cpu", 64, 0.1, (32,), ("fp32",), (1, 2), {"vgg16": {"input_size": 32}})


class Report:
    """Prints, counts what was off, and keeps the time."""

    def __init__(self) -> None:
        self.off = 0
        self._began = time.monotonic()

    def line(self, text: str) -> None:
        """A figure."""
        print(f"  {text}", flush=True)

    def check(self, what: str, found: float, most: float) -> None:
        """A difference, which may be no larger; no number is too large."""
        good = found <= most
        self.off += not good
        self.line(f"{what}: {found:.2g} (at most {most:g}): {'ok' if good else 'OFF'}")

    def part(self, heading: str) -> bool:
        """Whether there is time left for a part."""
        spent = time.monotonic() - self._began
        late = spent > LIMIT
        print(f"{heading}, after {spent:.0f} s{': left out, the time is over' if late else ''}", flush=True)
        return not late


def correctness(size: Size, told: Report) -> None:
    """Whether the device computes what the CPU does."""
    cpu = torch.from_numpy(made_up(VIEWS * 2)[0]).permute(0, 3, 1, 2)
    turned = [
        dihedral(cpu.to(device), torch.arange(VIEWS * 2, device=device) % VIEWS) for device in ("cpu", size.device)
    ]
    told.check("views", float(not torch.equal(turned[0], turned[1].cpu())), 0)
    drawn = torch.Generator
    colours = [
        stain_jitter((cpu / 255).to(device), 0.2, drawn().manual_seed(1)).cpu() for device in ("cpu", size.device)
    ]
    told.check("stain jitter, colour", float((colours[0] - colours[1]).abs().max()), COLOUR)
    for name in MODELS:
        for precision in size.precisions:
            _check_logits(name, precision, size, told)
        _check_losses(name, size, told)


def _check_logits(name: str, precision: str, size: Size, told: Report) -> None:
    rows = np.arange(min(64, size.of(name)))
    pair = [
        size.training(name, 32, compute_on(device, kind, load_model(name)), len(rows))
        for device, kind in (("cpu", "fp32"), (size.device, precision))
    ]
    expected, found = (evaluate(one.network, one.patches, rows, one.compute)[:, 0] for one in pair)
    told.check(f"{name} {precision}, logits", float(abs(found - expected).max() / expected.std()), TOLERANCE[precision])


def _check_losses(name: str, size: Size, told: Report) -> None:
    """Of epochs without what a device draws by itself; then of one that goes on from the state of the first."""
    count, still = min(256, size.of(name)), {"stain_jitter": 0.0, "dropout": 0.0}
    pair = [
        size.training(name, 32, compute_on(device, "fp32", load_model(name)), count, epochs=2, **still)
        for device in ("cpu", size.device)
    ]
    expected = [scores.train_loss for scores in train(pair[0])]
    epochs = train(pair[1])
    found = [next(epochs).train_loss]
    state = deepcopy(pair[1].state_dict())
    found += [scores.train_loss for scores in epochs]
    told.check(f"{name}, losses", max(abs(a - b) / b for a, b in zip(found, expected, strict=True)), LOSS)
    again = size.training(name, 32, pair[1].compute, count, epochs=2, **still)
    again.load_state_dict(state)
    (last,) = (scores.train_loss for scores in train(again))
    told.check(f"{name}, loss of one that goes on", abs(last - found[-1]) / found[-1], LOSS)


def pace(step: Callable[[], int], size: Size) -> float:
    """Patches a second of a step, which says how many it took; once it has warmed up."""
    step()
    _wait(size.device)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < size.seconds or not done:
        done += step()
    _wait(size.device)
    return done / (time.perf_counter() - began)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def speed(size: Size, told: Report) -> None:
    """Patches a second, and what the plain loop had learned."""
    for name in MODELS:
        for precision in size.precisions:
            for batch in size.batches:
                training = _training(name, batch, precision, size)
                mine = pace(our_epochs(training), size)
                plain = PlainLoop(_training(name, batch, precision, size))
                theirs = pace(plain.epoch, size)
                told.line(
                    f"{name} {precision}, batches of {batch}: ours {mine:.0f} patches a second, plain loop "
                    f"{theirs:.0f}: {mine / theirs:.2f} x; its loss came to {plain.loss:.3f}"
                )


def _training(name: str, batch: int, precision: str, size: Size) -> Training:
    return size.training(name, batch, compute_on(size.device, precision, load_model(name)), size.of(name))


def waits(size: Size, told: Report) -> None:
    """Of an epoch after the first."""
    for name in MODELS:
        for who, step in (
            ("ours", our_epochs(_training(name, 32, "fp32", size))),
            ("plain loop", PlainLoop(_training(name, 32, "fp32", size)).epoch),
        ):
            step()
            counts = _counted(step, size.device)
            told.line(
                f"{name}, {who}: {counts[_READ]} numbers read, {sum(counts[one] for one in _WAITS)} synchronisations "
                f"in {-(-size.of(name) // 32)} steps"
            )


def _counted(step: Callable[[], int], device: str) -> Counter[str]:
    """How often each operation was called."""
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with profile(activities=kinds) as seen:
        step()
    return Counter({event.key: event.count for event in seen.key_averages()})


def together(size: Size, told: Report) -> None:
    """What several processes train together, and how much more than one that is."""
    context = multiprocessing.get_context("spawn")
    most = max(size.together)
    start, paces = context.Barrier(most), context.Queue()
    crew = [context.Process(target=_one_of, args=(rank, size, start, paces)) for rank in range(most)]
    for process in crew:
        process.start()
    try:
        for name in MODELS:
            alone = 0.0
            for many in size.together:
                found = sum(paces.get(timeout=LATE) for _ in range(many))
                alone = alone or found
                told.line(f"{name}, {many} at once: {found:.0f} patches a second, {found / alone:.2f} x of one")
        for process in crew:
            process.join(LATE)
    finally:
        for process in crew:
            process.kill()


def _one_of(rank: int, size: Size, start: "Barrier", paces: "Queue[float]") -> None:
    """One of several processes: takes part wherever at least ``rank`` + 1 are wanted."""
    set_up(size.device, 1)
    for name in MODELS:
        for many in size.together:
            part = rank < many
            if part:
                step = our_epochs(_training(name, 64, choose_precision("auto", size.device), size))
                step()
            start.wait(LATE)
            if part:
                paces.put(pace(step, size))
            start.wait(LATE)


def payback(size: Size, told: Report) -> None:
    """Of what prepares a network: seconds that it takes, what it gains, after how many patches that is worth it."""
    for name in MODELS:
        for kind, prepare in (("torch.compile", _compiled), ("CUDA graphs", _graphed)):
            network, images = _cast(name, size)
            plain = pace(_step(network, network, images), size)
            try:
                began = time.perf_counter()
                step = _step(network, prepare(network, images), images)
                step()
                _wait(size.device)
                seconds = time.perf_counter() - began
                faster = pace(step, size)
            except Exception as problem:  # noqa: BLE001 - that it cannot be prepared is what is to be found out
                told.line(f"{name}, {kind}: cannot be used: {type(problem).__name__}: {str(problem).splitlines()[0]}")
                continue
            gained = 1 / plain - 1 / faster
            worth = f"worth it after {seconds / gained:.0f} patches" if gained > 0 else "never worth it"
            told.line(f"{name}, {kind}: {seconds:.1f} s to prepare, {faster / plain:.2f} x, {worth}")


def _cast(name: str, size: Size) -> tuple[Cast, Tensor]:
    training = _training(name, 64, choose_precision("auto", size.device), size)
    pixels = training.patches.batch(training.rows[:64].to(size.device), torch.zeros(64, dtype=torch.long))
    return Cast(training.network.train(), training.compute), training.compute.arrange(pixels)


def _compiled(network: Cast, images: Tensor) -> Callable[[Tensor], Tensor]:  # noqa: ARG001 - as _graphed
    return torch.compile(network)


def _graphed(network: Cast, images: Tensor) -> Callable[[Tensor], Tensor]:
    made: Any = torch.cuda.make_graphed_callables(deepcopy(network), (images,))
    return made


def _step(network: Cast, call: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[], int]:
    """An update by one batch that lies on the device."""
    learns = [one for one in network.parameters() if one.requires_grad]
    optimizer, labels = torch.optim.SGD(learns, lr=1e-3), torch.zeros(len(images), device=images.device)

    def step() -> int:
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(call(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return len(images)

    return step


def main(argv: Sequence[str] | None = None) -> int:
    """Goes through the parts; 1 where something is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few patches on the CPU, without the payback")
    size = SMALL if parser.parse_args(argv).small else GPU
    if size.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU here; --small runs on the CPU")
    set_up(size.device, torch.get_num_threads())
    where = torch.cuda.get_device_name() if size.device == "cuda" else f"{torch.get_num_threads()} threads of the CPU"
    print(f"{where}; Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}", flush=True)
    told, parts = Report(), [correctness, speed, waits, together]
    for part in parts if size.device == "cpu" else [*parts, payback]:
        if told.part(part.__name__):
            part(size, told)
    return int(told.off > 0)


if __name__ == "__main__":
    sys.exit(main())
