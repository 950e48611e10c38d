"""Kept outputs of frozen layers: the same training with and without, computed once, within their room."""

import multiprocessing
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from torch import nn

from models import vgg16
from models._registry import load_model
from search.training import features as module
from search.training.device import Compute
from search.training.device_patches import DevicePatches
from search.training.features import CLAIMED, READY, Features
from search.training.jobs import FeatureStore
from search.training.loop import Training, evaluate, train

CPU = Compute()
COUNT = 16
ROWS, VIEWS = torch.arange(COUNT), torch.arange(COUNT) % 8


@pytest.fixture(scope="module")
def patches() -> DevicePatches:
    rng = np.random.default_rng(0)
    labels = np.arange(COUNT) % 2
    pixels = rng.integers(100, 256, (COUNT, 50, 50, 3)) - 80 * labels[:, None, None, None]
    return DevicePatches.load(pixels.astype(np.uint8), labels, "cpu")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features", 2**30)


_OPEN: list[Features] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


class Prefix(nn.Module):
    """Counts what it is asked for."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.asked = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        return images[:, :, :4, :4] * self.scale


def opened(store: FeatureStore, prefix: nn.Module, patches: DevicePatches, key: str = "a") -> Features:
    features = Features.open(store, (key,), prefix, patches, CPU)
    assert features is not None
    _OPEN.append(features)
    return features


def configured(frozen: int, **changes: object) -> vgg16.Vgg16Config:
    fixed = {**vgg16.DEFAULT, "frozen_blocks": frozen, "stain_jitter": 0.0, "batch_size": 16, **changes}
    return vgg16.suggest(optuna.trial.FixedTrial(fixed))


def begun(frozen: int, patches: DevicePatches, epochs: int = 3) -> Training:
    return Training.begin(
        load_model("vgg16"),
        configured(frozen, dropout=0.0),
        None,
        patches,
        np.arange(8),
        epochs=epochs,
        seed=3,
        compute=CPU,
    )


# --- the same training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [3, 4, 5])
def test_training_on_kept_outputs_equals_training_through_the_frozen_layers(
    patches: DevicePatches, store: FeatureStore, frozen: int
) -> None:
    plain, cached = begun(frozen, patches), begun(frozen, patches)
    prefix = cached.network.get_submodule("prefix")
    cached.features = opened(store, prefix, patches)
    assert cached.learns_on_features
    losses = [score.train_loss for score in train(plain)]
    assert [score.train_loss for score in train(cached)] == pytest.approx(losses, rel=1e-3)
    rows = np.arange(COUNT)
    expected = evaluate(plain.network, patches, rows, CPU, views=(0, 5))
    found = evaluate(cached.network, patches, rows, CPU, views=(0, 5), features=cached.features)
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_kept_outputs_are_those_of_the_layers_to_the_last_bit(patches: DevicePatches, store: FeatureStore) -> None:
    prefix = begun(4, patches).network.get_submodule("prefix")
    features = opened(store, prefix, patches)
    first, again = features.outputs(ROWS, VIEWS), features.outputs(ROWS, VIEWS)
    with torch.no_grad():
        expected = prefix(patches.batch(ROWS, VIEWS)).bfloat16()
    assert torch.equal(first, expected)
    assert torch.equal(again, expected)


@pytest.mark.parametrize("jitter", ["stain_jitter", "colour_jitter"])
def test_changed_pixels_go_through_all_layers_but_evaluation_does_not(
    patches: DevicePatches, store: FeatureStore, jitter: str
) -> None:
    plain = configured(4)
    training = Training.begin(
        load_model("vgg16"),
        replace(plain, recipe=replace(plain.recipe, **{jitter: 0.1})),
        None,
        patches,
        np.arange(8),
        epochs=1,
        seed=0,
        compute=CPU,
    )
    training.features = opened(store, training.network.get_submodule("prefix"), patches)
    assert not training.learns_on_features
    list(train(training))
    assert not (training.features._states == READY).any()
    evaluate(training.network, patches, np.arange(8, 12), CPU, features=training.features)
    assert (training.features._states == READY).sum() == 4


def test_a_checkpoint_leaves_frozen_layers_out_and_goes_on_all_the_same(patches: DevicePatches) -> None:
    whole, cut, resumed = (begun(4, patches, epochs=2) for _ in range(3))
    expected = [score.train_loss for score in train(whole)]
    next(train(cut))
    state = cut.state_dict()
    assert not any(name.startswith("prefix.") and "normalise" not in name for name in state["network"])
    resumed.load_state_dict(state)
    assert [score.train_loss for score in train(resumed)] == expected[1:]


# --- computed once --------------------------------------------------------------------------------------------------


def test_what_is_kept_is_not_computed_again(patches: DevicePatches, store: FeatureStore) -> None:
    prefix = Prefix()
    features = opened(store, prefix, patches)
    prefix.asked = 0
    features.outputs(ROWS[:10], VIEWS[:10])
    features.outputs(ROWS, VIEWS)
    assert prefix.asked == COUNT
    assert features.take_seconds_saved() > 0
    assert features.take_seconds_saved() == 0


def test_a_later_search_finds_what_an_earlier_one_kept(patches: DevicePatches, store: FeatureStore) -> None:
    first = opened(store, Prefix(), patches)
    kept = first.outputs(ROWS, VIEWS)
    first.close()
    prefix = Prefix()
    assert torch.equal(opened(store, prefix, patches).outputs(ROWS, VIEWS), kept)
    assert prefix.asked == 0


@pytest.mark.parametrize(
    ("key", "prefix", "precision"), [("b", Prefix(), "fp32"), ("a", Prefix(2.0), "fp32"), ("a", Prefix(), "bf16")]
)
def test_other_patches_weights_or_precision_are_another_entry(
    patches: DevicePatches, store: FeatureStore, key: str, prefix: Prefix, precision: str
) -> None:
    opened(store, Prefix(), patches).outputs(ROWS, VIEWS)
    other = Features.open(store, (key,), prefix, patches, Compute(precision=precision))
    assert other is not None
    _OPEN.append(other)
    assert not (other._states == READY).any()
    assert len(list(store.folder.glob("*/entry.json"))) == 2


def test_another_input_size_is_another_entry(patches: DevicePatches, store: FeatureStore) -> None:
    for size in (50, 64):
        network = vgg16.build(configured(4, input_size=size), None)
        network.load_state_dict(vgg16.build(configured(4), None).state_dict())
        opened(store, network.prefix, patches)
    assert len(list(store.folder.glob("*/entry.json"))) == 2


def _ask(folder: Path, patches: DevicePatches, barrier: object, counts: object) -> None:
    prefix = Prefix()
    features = opened(FeatureStore(folder, 2**30), prefix, patches)
    prefix.asked = 0
    barrier.wait()
    for _ in range(3):
        for view in range(8):
            for rows in ROWS.split(4):
                features.outputs(rows, torch.full_like(rows, view))
    counts.put(prefix.asked)


def test_two_workers_that_need_the_same_outputs_compute_them_once(patches: DevicePatches, store: FeatureStore) -> None:
    context = multiprocessing.get_context("fork")
    barrier, counts = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_ask, args=(store.folder, patches, barrier, counts)) for _ in range(2)]
    for worker in workers:
        worker.start()
    asked = [counts.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(asked) == COUNT * 8


def test_outputs_that_a_dead_worker_had_claimed_are_computed_by_another(
    patches: DevicePatches, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    features = opened(store, Prefix(), patches)
    features._states[:5] = CLAIMED
    expected = patches.batch(ROWS, VIEWS)[:, :, :4, :4].bfloat16()
    assert torch.equal(features.outputs(ROWS, VIEWS), expected)
    assert not (features._states == CLAIMED).any()


# --- room -----------------------------------------------------------------------------------------------------------


SIZE = COUNT * 8 * 3 * 4 * 4 * 2  # bytes of an entry of ``Prefix``


def test_the_least_recently_used_entry_makes_room(patches: DevicePatches, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, 2 * SIZE)
    for age, key in enumerate("ab"):
        opened(store, Prefix(), patches, key).close()
        newest = max(tmp_path.glob("*/entry.json"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
    before = {path.parent.name for path in tmp_path.glob("*/entry.json")}
    opened(store, Prefix(), patches, "a").close()  # used again: "b" is now the oldest
    opened(store, Prefix(), patches, "c").close()
    left = {path.parent.name for path in tmp_path.glob("*/entry.json")}
    assert len(left) == 2
    assert len(left & before) == 1
    prefix = Prefix()
    opened(store, prefix, patches, "a")
    assert prefix.asked == 0  # still there: nothing was probed


def test_an_entry_in_use_stays_and_a_new_one_goes_without(patches: DevicePatches, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SIZE)
    held = opened(store, Prefix(), patches, "a")
    assert Features.open(store, ("b",), Prefix(), patches, CPU) is None
    held.close()
    opened(store, Prefix(), patches, "b")


def test_an_entry_larger_than_the_room_is_not_made(patches: DevicePatches, tmp_path: Path) -> None:
    assert Features.open(FeatureStore(tmp_path, SIZE - 1), ("a",), Prefix(), patches, CPU) is None
    assert not list(tmp_path.glob("*/values.bin"))


def test_a_full_disk_leaves_no_half_entry(
    patches: DevicePatches, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        Features.open(store, ("a",), Prefix(), patches, CPU)
    assert [path.name for path in store.folder.iterdir()] == ["lock"]


def test_an_entry_of_another_start_of_a_machine_is_left_to_its_users_and_made_anew(
    patches: DevicePatches, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opened(store, Prefix(), patches)
    before.outputs(ROWS, VIEWS)
    monkeypatch.setattr(module, "boot_of", lambda: "another")
    assert not (opened(store, Prefix(), patches)._states == READY).any()
    assert (before._states[ROWS, VIEWS] == READY).all()
    assert len(list(store.folder.glob("*/values.bin"))) == 2


def test_an_entry_that_is_not_whole_is_made_anew_once_nobody_uses_it(
    patches: DevicePatches, store: FeatureStore
) -> None:
    before = opened(store, Prefix(), patches)
    (record,) = store.folder.glob("*/entry.json")
    record.unlink()
    assert Features.open(store, ("a",), Prefix(), patches, CPU) is None
    assert (record.parent / "values.bin").exists()
    before.close()
    opened(store, Prefix(), patches)


def test_no_gigabytes_mean_no_store(tmp_path: Path) -> None:
    assert FeatureStore.below(tmp_path, 0) is None
    assert FeatureStore.below(tmp_path, 0.5).limit == 2**29


def test_each_node_has_entries_of_its_own_whoever_began_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore.below(tmp_path, 1)
    monkeypatch.setattr(socket, "gethostname", lambda: "worker")
    assert store.here().folder == tmp_path / "features" / "worker"
    monkeypatch.setenv("HISTOTUNE_NODE_FOLDER", str(tmp_path / "own"))
    elsewhere = FeatureStore.below(tmp_path / "of another machine", 1)
    assert elsewhere.here().folder == tmp_path / "own" / "features"
