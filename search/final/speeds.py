"""What each finalist's networks take for a patch here, for the report's cost beside accuracy and --max-ms-per-patch."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from models._registry import load_model
from search.final.candidates import Candidate
from search.training.device import PREDICTION_LAYOUT, Compute
from search.training.loop import EVALUATION_BATCH, count_parameters
from search.training.speed import batch_of, milliseconds, multiply_adds, where
from studies.files import read_file, write_whole
from studies.records import from_json, to_json
from studies.speeds import Layers, NetworkSpeed, Speeds, evened

SPEEDS_FILE = "speeds.json"
_LARGEST = 2**20  # bytes
NOTHING = Layers(0, 0, 0.0)


def stored_speeds(folder: Path) -> Speeds | None:
    """As they are in ``runs/NAME``; None where nothing was measured, as in comparisons from before there was any."""
    path = folder / SPEEDS_FILE
    return from_json(Speeds, read_file(path, _LARGEST), str(path)) if os.path.lexists(path) else None


def keep_speeds(folder: Path, speeds: Speeds) -> None:
    """Stores them in ``runs/NAME``."""
    if stored_speeds(folder) != speeds:
        write_whole(folder / SPEEDS_FILE, to_json(speeds))


def speeds_of(
    folder: Path,
    wanted: dict[str, list[Candidate]],
    *,
    side: int,
    device: str,
    precision: str,
    shares: dict[str, bool],
    reported: bool,
) -> Speeds:
    """Of all of them, as they are stored where they were measured here; else measured anew.

    Layers that several share have one time, the fastest. What is measured is stored at once where no report reads it
    yet, so that a finalization that is taken up chooses by the same; else with ``keep_speeds``, once its report may.

    Args:
        folder: of the comparison.
        wanted: the candidates of each model.
        side: of the patches, in pixels.
        device: on which is predicted.
        precision: of the comparison.
        shares: by model, whether the frozen layers of all members are the same; random ones differ.
        reported: whether there is a report of an earlier opening, which may be of others.
    """
    compute = Compute(device, precision, PREDICTION_LAYOUT)
    here = where(device)
    candidates = [candidate for each in wanted.values() for candidate in each]
    known = stored_speeds(folder)
    keys = [(one.model, one.label, one.key) for one in candidates]
    if known and known.where == here and [(one.model, one.label, one.key) for one in known.networks] == keys:
        return evened(known)
    found = tuple(_measured(candidate, side, compute, shared=shares[candidate.model]) for candidate in candidates)
    batch = EVALUATION_BATCH[torch.device(device).type]
    speeds = evened(Speeds(here, batch, precision, found))
    if not reported:
        keep_speeds(folder, speeds)
    return speeds


def _measured(candidate: Candidate, side: int, compute: Compute, *, shared: bool) -> NetworkSpeed:
    model = load_model(candidate.model)
    config = model.configuration(candidate.params)
    name = (model.prefix_name(config) or "") if shared else ""
    network = compute.place(model.build(config, None)).eval()
    batch = batch_of(side, compute)
    if not name:
        rest, prefix = _layers(network, network, batch, compute), NOTHING
    else:
        front = network.get_submodule("prefix")
        with torch.inference_mode(), compute.autocast():
            kept = front(batch)
        prefix = _layers(front, front, batch, compute)
        behind = _layers(network, network.after_prefix, kept, compute)  # type: ignore[arg-type]
        rest = Layers(behind.parameters - prefix.parameters, behind.multiply_adds, behind.milliseconds)
    return NetworkSpeed(candidate.model, candidate.label, candidate.key, rest, prefix, name)


def _layers(module: nn.Module, called: Callable[[Tensor], Tensor], batch: Tensor, compute: Compute) -> Layers:
    """``called`` is the module, or what of it sees the batch."""
    return Layers(
        parameters=count_parameters(module),
        multiply_adds=multiply_adds(called, batch, compute),
        milliseconds=milliseconds(called, batch, compute),
    )
