"""Training: reproducible from seed and epoch, resumable bit for bit, the same from either layout."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor, nn

from data_utils.colour.augment import dihedral
from models._registry import load_model, no_prefix, one_group
from models._spec import Model, Recipe
from search.training.device import (
    Compute,
    choose_precision,
    peak_memory,
)
from search.training.device_patches import DevicePatches
from search.training.loop import (
    OutOfMemoryError,
    Training,
    TrainingDivergedError,
    _draw_epoch,
    count_parameters,
    evaluate,
    train,
)

COUNT = 70
CPU = Compute()
RECIPE = Recipe(
    optimizer="adamw",
    learning_rate=0.01,
    weight_decay=1e-3,
    batch_size=16,
    schedule="cosine",
    warmup=0.1,
    label_smoothing=0.05,
    class_weighting=True,
    stain_jitter=0.05,
)


@dataclass(frozen=True)
class SmallConfig:
    recipe: Recipe = field(default=RECIPE)


class Small(nn.Module):
    """Has what makes a resume hard: batch statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=4),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(1152, 1),
        )

    def forward(self, rgb: Tensor) -> Tensor:
        return self.layers(rgb).squeeze(1)


def a_model(name: str, make: Callable[[], nn.Module]) -> Model:
    return Model(name, lambda _: SmallConfig(), {}, lambda *_: make(), one_group, False, "contiguous", no_prefix)


def small_model() -> Model:
    return a_model("small", Small)


def save(training: Training, folder: Path) -> None:
    """As a worker's checkpoint does."""
    torch.save(training.state_dict(), folder / "last.pt")


def load(training: Training, folder: Path) -> None:
    training.load_state_dict(torch.load(folder / "last.pt", weights_only=True))


@pytest.fixture(scope="module")
def patches() -> DevicePatches:
    """Noise that is darker where the label is 1."""
    rng = np.random.default_rng(0)
    labels = np.arange(COUNT) % 2
    pixels = rng.integers(100, 256, (COUNT, 50, 50, 3)) - 80 * labels[:, None, None, None]
    return DevicePatches.load(pixels.astype(np.uint8), labels, "cpu")


def begin(patches: DevicePatches, seed: int = 7, epochs: int = 4, compute: Compute = CPU, **recipe: object) -> Training:
    config = SmallConfig(replace(RECIPE, **recipe))
    rows = np.arange(COUNT - 5)
    return Training.begin(small_model(), config, None, patches, rows, epochs=epochs, seed=seed, compute=compute)


def same(one: Training, other: Training) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


# --- the loop -------------------------------------------------------------------------------------------------------


def test_training_yields_once_an_epoch_and_learns(patches: DevicePatches) -> None:
    training = begin(patches, epochs=5)
    scores = list(train(training))
    assert [score.epoch for score in scores] == [1, 2, 3, 4, 5]
    assert scores[-1].train_loss < scores[0].train_loss
    logits = evaluate(training.network, patches, np.arange(COUNT), CPU)[:, 0]
    assert ((logits > 0) == patches.labels.numpy().astype(bool)).mean() > 0.9


def test_equal_seeds_give_equal_networks_whatever_else_draws_random_numbers(patches: DevicePatches) -> None:
    one, other, third = begin(patches), begin(patches), begin(patches, seed=8)
    losses = []
    for training, noise in ((one, 1), (other, 2), (third, 1)):
        torch.manual_seed(noise)
        losses.append([score.train_loss for score in train(training)])
    assert losses[0] == losses[1] != losses[2]
    assert same(one, other)
    assert not same(one, third)


def test_training_leaves_the_global_random_state_alone(patches: DevicePatches) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    training = begin(patches)
    next(train(training))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_resumed_from_a_checkpoint_equals_one_never_cut_off(
    patches: DevicePatches, tmp_path: Path, optimizer: str, stop: int
) -> None:
    whole = begin(patches, optimizer=optimizer)
    expected = [score.train_loss for score in train(whole)]
    first = begin(patches, optimizer=optimizer)
    for score in train(first):
        if score.epoch == stop:
            break
    save(first, tmp_path)
    second = begin(patches, optimizer=optimizer)
    load(second, tmp_path)
    assert [(score.epoch, score.train_loss) for score in train(second)] == list(enumerate(expected, 1))[stop:]
    assert same(whole, second)


@pytest.mark.parametrize("name", ["cnn", "vgg16"])
def test_the_real_models_resume_bit_for_bit(patches: DevicePatches, tmp_path: Path, name: str) -> None:
    model = load_model(name)
    config = model.suggest(optuna.trial.FixedTrial(dict(model.default)))

    def new() -> Training:
        return Training.begin(model, config, None, patches, np.arange(8), epochs=2, seed=1, compute=CPU)

    whole, cut, resumed = new(), new(), new()
    list(train(whole))
    next(train(cut))
    save(cut, tmp_path)
    load(resumed, tmp_path)
    list(train(resumed))
    assert same(whole, resumed)
    assert not same(cut, resumed)


def test_evaluating_between_epochs_changes_nothing(patches: DevicePatches) -> None:
    plain, watched = begin(patches), begin(patches)
    list(train(plain))
    for _ in train(watched):
        evaluate(watched.network, patches, np.arange(COUNT), CPU, views=range(8))
    assert same(plain, watched)


def test_a_loss_that_is_no_number_ends_the_run(patches: DevicePatches) -> None:
    training = begin(patches, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(TrainingDivergedError, match=r"loss of epoch \d is (nan|inf); try a smaller learning rate"):
        list(train(training))


@pytest.mark.parametrize(("count", "size"), [(65, 16), (65, 64), (33, 32), (5, 128), (64, 16)])
def test_every_row_is_seen_once_an_epoch_in_batches_of_nearly_one_size(
    patches: DevicePatches, count: int, size: int
) -> None:
    training = begin(patches, batch_size=size)
    training.rows = torch.arange(count)
    batches = _draw_epoch(training)
    sizes = [len(rows) for rows, _ in batches]
    assert sorted(torch.cat([rows for rows, _ in batches]).tolist()) == list(range(count))
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) > 1
    assert max(sizes) <= size


def test_order_and_views_change_from_epoch_to_epoch(patches: DevicePatches) -> None:
    training = begin(patches)
    rows, views = zip(*_draw_epoch(training), strict=True)
    training.epoch = 1
    later_rows, later_views = zip(*_draw_epoch(training), strict=True)
    assert not torch.equal(torch.cat(rows), torch.cat(later_rows))
    assert not torch.equal(torch.cat(views), torch.cat(later_views))
    assert set(torch.cat(views).tolist()) == set(range(8))


class Drawing(Small):
    """Remembers what it drew at random, as dropout does."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[float] = []

    def forward(self, rgb: Tensor) -> Tensor:
        self.drawn.append(torch.rand(()).item())
        return super().forward(rgb)


def test_dropout_is_drawn_anew_in_each_epoch(patches: DevicePatches) -> None:
    model = a_model("drawing", Drawing)
    training = Training.begin(model, SmallConfig(), None, patches, np.arange(40), epochs=3, seed=0, compute=CPU)
    list(train(training))
    assert len(set(training.network.drawn)) == 3 * training.steps_per_epoch


# --- the loss -------------------------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """Says the same of every patch."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(logit))

    def forward(self, rgb: Tensor) -> Tensor:
        return self.logit.expand(len(rgb))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighting", [False, True])
def test_the_loss_is_the_one_that_the_recipe_names(smoothing: float, weighting: bool) -> None:
    labels = np.array([1, 0, 0, 0])
    few = DevicePatches.load(np.zeros((4, 50, 50, 3), np.uint8), labels, "cpu")
    recipe = replace(RECIPE, label_smoothing=smoothing, class_weighting=weighting, learning_rate=0.0)
    model = a_model("fixed", lambda: Fixed(0.5))
    training = Training.begin(model, SmallConfig(recipe), None, few, np.arange(4), epochs=1, seed=0, compute=CPU)
    targets = labels * (1 - smoothing) + smoothing / 2
    probability = 1 / (1 + math.exp(-0.5))
    losses = -(targets * math.log(probability) + (1 - targets) * math.log(1 - probability))
    weights = np.array([2, 2 / 3, 2 / 3, 2 / 3]) if weighting else np.ones(4)
    assert next(train(training)).train_loss == pytest.approx((losses * weights).mean(), rel=1e-5)


# --- memory ---------------------------------------------------------------------------------------------------------


class Small2(Small):
    """Has no room for more than so many patches at a time."""

    room = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers[1] = nn.Identity()  # batch statistics of parts are others than those of the whole
        self.layers[4] = nn.Identity()

    def forward(self, rgb: Tensor) -> Tensor:
        if self.training and len(rgb) > self.room:
            raise torch.OutOfMemoryError(f"no room for {len(rgb)} patches")
        return super().forward(rgb)


@pytest.mark.parametrize("room", [8, 100])
def test_a_batch_that_does_not_fit_is_learned_in_two_parts_with_the_same_result(
    patches: DevicePatches, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    def run(room: int) -> tuple[Training, list[float]]:
        monkeypatch.setattr(Small2, "room", room)
        config = SmallConfig(replace(RECIPE, stain_jitter=0.0))
        model = a_model("small", Small2)
        training = Training.begin(model, config, None, patches, np.arange(64), epochs=2, seed=7, compute=CPU)
        return training, [score.train_loss for score in train(training)]

    whole, expected = run(100)
    limited, losses = run(room)
    assert (whole.parts, limited.parts) == (1, 2 if room == 8 else 1)
    assert losses == pytest.approx(expected, rel=1e-4)
    assert limited.state_dict()["parts"] == limited.parts


def test_a_batch_that_fits_in_no_way_ends_the_trial_with_what_to_do(
    patches: DevicePatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Small2, "room", 7)
    model = a_model("small", Small2)
    training = Training.begin(model, SmallConfig(), None, patches, np.arange(64), epochs=2, seed=7, compute=CPU)
    with pytest.raises(OutOfMemoryError, match=r"batches of 16, also in 2 parts: use fewer workers"):
        next(train(training))


def test_the_schedule_drives_every_group_of_the_optimizer(patches: DevicePatches) -> None:
    training = begin(patches, epochs=2, warmup=0.0, schedule="linear")
    steps = training.steps_per_epoch
    for epoch in train(training):
        expected = RECIPE.learning_rate * (1 - (epoch.epoch * steps - 1) / (2 * steps))
        assert [group["lr"] for group in training.optimizer.param_groups] == pytest.approx([expected, expected])


# --- patches and evaluation -----------------------------------------------------------------------------------------


def test_a_mapped_file_is_shared_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.full((3, 50, 50, 3), 9, np.uint8))
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    loaded = DevicePatches.load(mapped, np.array([0, 1, 0]), "cpu")
    assert loaded.pixels.data_ptr() == mapped.ctypes.data
    assert loaded.pixels.dtype == torch.uint8


def test_a_batch_holds_the_chosen_patches_each_in_its_view(patches: DevicePatches) -> None:
    rows, views = torch.tensor([5, 2, 5]), torch.tensor([0, 3, 6])
    images = patches.batch(rows, views)
    plain = patches.pixels[rows].permute(0, 3, 1, 2).float() / 255
    assert images.dtype == torch.float32
    assert torch.equal(images[0], plain[0])
    torch.testing.assert_close(images, dihedral(plain, views))


@pytest.mark.parametrize("jitter", ["stain_jitter", "colour_jitter"])
def test_a_network_in_bf16_is_given_the_same_changed_patches_as_one_in_fp32(
    patches: DevicePatches, jitter: str
) -> None:
    seen: list[torch.Tensor] = []
    for precision in ("bf16", "fp32"):
        training = begin(patches, compute=Compute("cpu", precision), **{"stain_jitter": 0.0, jitter: 0.2})
        training.network.register_forward_pre_hook(lambda _network, inputs: seen.append(inputs[0]))
        next(train(training))
    assert torch.equal(seen[0], seen[len(seen) // 2])
    assert len(seen[0].unique()) > 256  # levels of a patch as it is


def test_evaluate_gives_each_row_and_view_what_the_network_says_of_it(patches: DevicePatches) -> None:
    training = begin(patches)
    next(train(training))
    rows = np.array([3, 60, 1])
    logits = evaluate(training.network, patches, rows, CPU, views=(0, 5))
    assert logits.shape == (3, 2)
    assert logits.dtype == np.float64
    training.network.eval()
    for column, view in enumerate((0, 5)):
        with torch.inference_mode():
            expected = training.network(patches.batch(torch.from_numpy(rows), torch.full((3,), view)))
        np.testing.assert_allclose(logits[:, column], expected.numpy(), rtol=1e-5)


def test_both_layouts_train_to_the_same_loss(patches: DevicePatches) -> None:
    losses = [
        [score.train_loss for score in train(begin(patches, compute=Compute(layout=layout)))]
        for layout in ("contiguous", "channels_last")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_bf16_trains_with_weights_and_losses_in_fp32(patches: DevicePatches) -> None:
    training = begin(patches, compute=Compute(precision="bf16"))
    scores = list(train(training))
    assert scores[-1].train_loss < scores[0].train_loss
    assert {tensor.dtype for tensor in training.network.parameters()} == {torch.float32}
    plain = evaluate(training.network, patches, np.arange(COUNT), CPU)
    reduced = evaluate(training.network, patches, np.arange(COUNT), Compute(precision="bf16"))
    assert not np.array_equal(plain, reduced)
    np.testing.assert_allclose(plain, reduced, atol=0.2)


def test_parameters_are_counted() -> None:
    assert count_parameters(Fixed(0.0)) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_trains_and_resumes(patches: DevicePatches, tmp_path: Path) -> None:
    there = DevicePatches(patches.pixels.cuda(), patches.labels.cuda())
    compute = Compute("cuda", choose_precision("auto", "cuda"), "channels_last")
    training = begin(there, compute=compute)
    next(train(training))
    save(training, tmp_path)
    resumed = begin(there, compute=compute)
    load(resumed, tmp_path)
    scores = list(train(resumed))
    assert [score.epoch for score in scores] == [2, 3, 4]
    assert np.isfinite(evaluate(resumed.network, there, np.arange(COUNT), compute)).all()
    assert peak_memory("cuda") > 0
