"""Feature cache: an epoch of vgg16 with 5, 4 or 3 frozen blocks, their outputs kept against computed anew.

The default configuration at 50 px without stain jitter, which would change pixels before the frozen blocks; one
thread, training alone, without evaluation. The same epoch (same seed, so the same order and views) is trained without
the cache, once while the cache fills, and then from the filled cache; kept and anew take turns. The loss must be the
same. What filling costs is told beside it.

    python -m benchmarks.features [--full]
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from optuna.trial import FixedTrial

from benchmarks._launch import patches, prepared, scratch_folder, weights, weights_option
from benchmarks._networks import open_kept
from benchmarks._report import Result, main
from data_utils.split.prepare import load_development
from models._registry import load_model
from models._spec import Model, ModelConfig
from models._weights import Weights
from search.training.device import Compute, choose_precision, layout_on, set_up
from search.training.device_patches import DevicePatches
from search.training.features import Features
from search.training.loop import EpochScores, Rows, Training, train

WANTED = {5: 30.0, 4: 3.0, 3: 1.3}
PATCHES, FULL_PATCHES = 700, 2000
ROUNDS, FULL_ROUNDS = 3, 7
DEVICE, SEED = "cpu", 0
SAME_LOSS = 1e-3


@dataclass(frozen=True, eq=False)
class Setting:
    """What every epoch of one configuration shares."""

    model: Model
    config: ModelConfig
    weights: Weights | None
    patches: DevicePatches
    rows: Rows
    compute: Compute

    def training(self, features: Features | None = None) -> Training:
        """A network before its first epoch."""
        training = Training.begin(
            self.model,
            self.config,
            self.weights,
            self.patches,
            self.rows,
            epochs=1,
            seed=SEED,
            compute=self.compute,
        )
        training.features = features
        return training

    def epoch(self, features: Features | None = None) -> EpochScores:
        """The first epoch."""
        return next(train(self.training(features)))


def measure(full: bool) -> list[Result]:
    """One figure for each number of frozen blocks."""
    set_up(DEVICE, threads=1)
    with scratch_folder() as folder:
        source = patches(FULL_PATCHES if full else PATCHES, folder / "patches")
        words = "random weights" if weights_option() == "none" else "ImageNet weights"
        print(f"{source.words}, {words}, one thread", flush=True)
        development = load_development(prepared(source, folder / "prepared").development)
        assert development.labels is not None
        on_device = DevicePatches.load(development.pixels, development.labels, DEVICE)
        rows = np.flatnonzero(development.part == "train")
        return [
            compare(setting(frozen, on_device, rows), frozen, folder / "features", FULL_ROUNDS if full else ROUNDS)
            for frozen in WANTED
        ]


def setting(frozen: int, on_device: DevicePatches, rows: Rows) -> Setting:
    """The default configuration with so many frozen blocks and no jitter."""
    model, pretrained = load_model("vgg16"), weights()
    changed = {"frozen_blocks": frozen, "input_size": 50, "stain_jitter": 0.0}
    config = model.suggest(FixedTrial({**model.default, **changed}))
    precision = choose_precision("auto", DEVICE)
    return Setting(model, config, pretrained, on_device, rows, Compute(DEVICE, precision, layout_on(DEVICE, model)))


def compare(here: Setting, frozen: int, store: Path, rounds: int) -> Result:
    """Epochs anew and from the cache, in turn.

    Raises:
        RuntimeError: the outputs found no room.
    """
    features = open_kept(here.training(), ("benchmark", str(frozen)), store)
    filling = here.epoch(features)
    pairs = [(here.epoch(), here.epoch(features)) for _ in range(rounds)]
    features.close()
    return result(frozen, filling, pairs)


def result(frozen: int, filling: EpochScores, pairs: list[tuple[EpochScores, EpochScores]]) -> Result:
    """The figure of the table."""
    anew, kept = (median(epoch.seconds for epoch in side) for side in zip(*pairs, strict=True))
    losses = [epoch.train_loss for pair in pairs for epoch in pair]
    same = all(math.isclose(loss, losses[0], rel_tol=SAME_LOSS) for loss in losses)
    told = "" if same else f"; the losses differ: {min(losses):.5f} to {max(losses):.5f}"
    detail = f"anew {anew:.2f} s, kept {kept:.3f} s, while filling {filling.seconds:.2f} s; n = {len(pairs)}{told}"
    return Result(f"feature cache, {frozen} blocks", anew / kept, WANTED[frozen], detail=detail, sound=same)


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
