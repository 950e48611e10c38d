"""What every model file promises, tested because the file exists."""

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import optuna
import pytest
import torch

import models
from models._errors import ModelError
from models._registry import load_model, model_names
from models._spec import Model
from search.training._recipe import make_optimizer

SAMPLES = 40
BUILT = {"cnn": 8}  # of the samples; a large network takes a second to build
EVERY = pytest.mark.parametrize("name", model_names())


@pytest.fixture(scope="module")
def sampled() -> dict[str, list[optuna.Trial]]:
    """Random trials of each model."""
    drawn = {}
    for name in model_names():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        drawn[name] = [study.ask() for _ in range(SAMPLES)]
        for trial in drawn[name]:
            load_model(name).suggest(trial)
    return drawn


def built(model: Model, params: dict) -> tuple[torch.nn.Module, object]:
    torch.manual_seed(0)
    config = model.suggest(optuna.trial.FixedTrial(params))
    return model.build(config, None), config


def batch(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 50, 50, generator=torch.Generator().manual_seed(1))


@EVERY
@pytest.mark.parametrize("side", [32, 75, 256])
def test_patches_of_any_side_get_one_logit(name: str, side: int) -> None:
    model = load_model(name)
    network, _ = built(model, dict(model.default))
    with torch.inference_mode():
        assert network.eval()(torch.rand(2, 3, side, side)).shape == (2,)


def test_both_models_are_found_without_importing_torch() -> None:
    code = "import sys; from models._registry import model_names; print(model_names(), 'torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert answer.stdout.strip() == f"{model_names()} False"
    assert {"cnn", "vgg16"} <= set(model_names())


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ModelError, match=r"no model 'vgg61'. Did you mean 'vgg16'\? Models: ") as refused:
        load_model("vgg61")
    assert f"Models: {', '.join(model_names())}" in str(refused.value)


@pytest.fixture
def dropped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second folder of models, as if its files had been dropped into the first."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"models.{path.stem}", None)


def test_a_file_that_lacks_what_a_model_offers_is_refused_with_what_is_missing(dropped_in: Path) -> None:
    (dropped_in / "half.py").write_text("DEFAULT = {}\ndef suggest(trial): ...\n")
    (dropped_in / "_hidden.py").write_text("")
    assert "half" in model_names()
    assert "_hidden" not in model_names()
    with pytest.raises(ModelError, match=r"models/half.py offers no build; .*adding-a-model"):
        load_model("half")


@pytest.mark.parametrize("epochs", ["0", "-3", "2.5", "'x'", "True", "None"])
def test_epochs_of_a_file_that_are_no_number_of_them_are_refused(dropped_in: Path, epochs: str) -> None:
    (dropped_in / "short.py").write_text(
        f"DEFAULT = {{}}\nEPOCHS = {epochs}\ndef suggest(trial): ...\ndef build(config, weights): ...\n"
    )
    with pytest.raises(ModelError, match=r"EPOCHS of models/short.py is .*; a whole number from 1 on was expected"):
        load_model("short")


def test_the_model_of_the_page_on_adding_one_works(dropped_in: Path) -> None:
    page = (Path(models.__file__).parent.parent / "docs" / "adding-a-model.md").read_text()
    (dropped_in / "tiny.py").write_text(page.split("```python\n")[1].split("```")[0])
    model = load_model("tiny")
    network, config = built(model, dict(model.default))
    assert network(batch()).shape == (3,)
    assert len(model.parameter_groups(network, config)) == 1
    assert not model.pretrained


@EVERY
def test_the_default_lies_in_the_space_and_names_every_parameter(name: str) -> None:
    model = load_model(name)
    trial = optuna.trial.FixedTrial(dict(model.default))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns where a fixed value lies outside
        model.suggest(trial)
    assert trial.params == dict(model.default)


@EVERY
def test_the_space_is_flat(name: str, sampled: dict[str, list[optuna.Trial]]) -> None:
    names = {tuple(trial.params) for trial in sampled[name]}
    assert names == {tuple(sampled[name][0].params)}
    assert set(sampled[name][0].params) == set(load_model(name).default)


@EVERY
def test_stored_parameters_read_back_as_the_same_configuration(
    name: str, sampled: dict[str, list[optuna.Trial]]
) -> None:
    suggest = load_model(name).suggest
    for trial in sampled[name]:
        again = suggest(optuna.trial.FixedTrial(trial.params))
        assert again == suggest(trial)
        assert pickle.loads(pickle.dumps(again)) == again


@pytest.mark.parametrize(
    ("name", "part"),
    [("cnn", "stain_jitter"), ("cnn", "label_smoothing"), ("vgg16", "stain_jitter"), ("vgg16", "label_smoothing")],
)
def test_none_at_all_is_drawn_too(name: str, part: str, sampled: dict[str, list[optuna.Trial]]) -> None:
    drawn = [getattr(load_model(name).suggest(trial).recipe, part) for trial in sampled[name]]
    assert 0 < drawn.count(0.0) < SAMPLES / 2


@EVERY
def test_recipes_stay_in_their_ranges(name: str, sampled: dict[str, list[optuna.Trial]]) -> None:
    for trial in sampled[name]:
        recipe = load_model(name).suggest(trial).recipe
        assert recipe.optimizer in ("adamw", "sgd")
        assert recipe.schedule in ("constant", "cosine", "linear")
        assert recipe.learning_rate > 0
        assert recipe.batch_size >= 2
        assert 0 <= recipe.warmup <= 0.5
        assert 0 <= recipe.label_smoothing <= 0.2
        assert 0 <= recipe.stain_jitter <= 0.2


@EVERY
def test_a_named_prefix_is_frozen_and_its_outputs_in_bf16_are_what_the_rest_begins_with(
    name: str, sampled: dict[str, list[optuna.Trial]]
) -> None:
    model = load_model(name)
    named = [trial for trial in sampled[name] if model.prefix_name(model.suggest(trial)) is not None]
    for trial in named[: BUILT.get(name, 3)]:
        network, _ = built(model, trial.params)
        assert not any(parameter.requires_grad for parameter in network.prefix.parameters())
        with torch.no_grad():
            kept = network.train().prefix(batch())
            assert torch.equal(network.eval().prefix(batch()), kept)
            assert torch.equal(network.after_prefix(kept.bfloat16()), network(batch()))


@EVERY
def test_any_configuration_builds_and_gives_one_finite_logit_a_patch(
    name: str, sampled: dict[str, list[optuna.Trial]]
) -> None:
    model = load_model(name)
    for trial in sampled[name][: BUILT.get(name, 3)]:
        network, config = built(model, trial.params)
        logits = network(batch())
        assert logits.shape == (3,)
        assert torch.isfinite(logits).all()
        make_optimizer(model.parameter_groups(network, config), config.recipe)


@EVERY
def test_one_step_changes_exactly_the_parameters_in_the_groups(name: str) -> None:
    model = load_model(name)
    network, config = built(model, dict(model.default))
    groups = model.parameter_groups(network, config)
    chosen = {id(parameter) for group in groups for parameter in group["params"]}
    assert chosen == {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    before = {key: value.clone() for key, value in network.named_parameters()}
    optimizer = make_optimizer(groups, config.recipe)
    network(batch(8)).square().sum().backward()
    optimizer.step()
    for key, value in network.named_parameters():
        assert torch.equal(before[key], value) != (id(value) in chosen), key


@EVERY
def test_both_memory_layouts_give_the_same_logits(name: str) -> None:
    model = load_model(name)
    network = built(model, dict(model.default))[0].eval()
    with torch.inference_mode():
        plain = network(batch())
        last = network.to(memory_format=torch.channels_last)(batch().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, last, rtol=1e-3, atol=1e-4)


@EVERY
def test_patches_outside_the_batch_do_not_matter_when_evaluating(name: str) -> None:
    model = load_model(name)
    network = built(model, dict(model.default))[0].eval()
    with torch.inference_mode():
        torch.testing.assert_close(network(batch())[:1], network(batch()[:1]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn", "vgg16"])
def test_the_last_feature_map_is_still_a_map_and_reaches_the_logits(name: str) -> None:
    model = load_model(name)
    network = built(model, dict(model.default))[0].eval()
    kept = []
    network.last_features.register_forward_hook(lambda _module, _given, maps: kept.append(maps))
    logits = network(batch())
    (gradient,) = torch.autograd.grad(logits.sum(), kept[0])
    assert kept[0].ndim == 4
    assert kept[0].shape[2] == kept[0].shape[3] >= 3
    assert gradient.abs().sum() > 0
    assert not any("last_features" in key for key in network.state_dict())
