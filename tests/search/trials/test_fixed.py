"""``--set``: a space with some of its parameters held at one value."""

import json
from pathlib import Path

import optuna
import pytest
from optuna.trial import FixedTrial

from models._registry import load_model, model_names
from search.command.fixed import Fixed
from search.command.settings import LaunchSettings, parse_launch
from search.command.signals import Signals
from search.comparison import define, space_of
from search.errors import UsageError
from search.trials.fixed import hold, searched_models
from search.trials.session import search
from studies.errors import DefinitionMismatchError
from studies.storage.definition import check_same
from studies.storage.studies import make_sampler, quiet_optuna

HELD = {"frozen_blocks": 5, "input_size": 50, "stain_jitter": 0, "dropout": 0.25, "class_weighting": True}


def asked(tmp_path: Path, *argv: str) -> LaunchSettings:
    place = ("--runs", str(tmp_path / "runs"), "--study", "s", "--device", "cpu", "--vgg16-weights", "none")
    return parse_launch(["--model", "cnn", "--data", "synthetic:120", *place, *argv], {})


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_whatever_the_sampler_draws_keeps_what_is_held(sampler: str) -> None:
    model = hold(load_model("vgg16"), HELD)
    with quiet_optuna():
        study = optuna.create_study(direction="maximize")
        drawn = []
        for number in range(14):  # more than are random before a sampler begins to learn
            study.sampler = make_sampler(sampler, number)
            trial = study.ask()
            drawn.append(model.suggest(trial))
            study.tell(trial, trial.params["head_learning_rate"])
    assert all({name: trial.params[name] for name in HELD} == HELD for trial in study.trials)
    assert {config.frozen_blocks for config in drawn} == {5}
    assert len({config.recipe.learning_rate for config in drawn}) > 7  # the rest is searched; gp comes back to the best


def test_the_default_configuration_is_held_as_well_and_reads_back_without_knowing_of_it() -> None:
    whole, model = load_model("vgg16"), hold(load_model("vgg16"), HELD)
    assert dict(model.default) == {**whole.default, **HELD}
    config = whole.suggest(FixedTrial(dict(model.default)))
    assert config == model.suggest(FixedTrial(dict(model.default)))
    assert isinstance(config.recipe.stain_jitter, float)  # as the space has it, whatever was typed
    assert whole.prefix_name(config) is not None


def test_the_rest_of_the_space_and_other_models_are_as_they_were() -> None:
    before = {model.name: space_of(model) for model in searched_models(model_names(), ())}
    fixed = tuple(Fixed("cnn", name, value) for name, value in (("width", 16), ("normalisation", "batch")))
    after = {model.name: space_of(model) for model in searched_models(model_names(), fixed)}
    changed = {name for name, text in after["cnn"].items() if text != before["cnn"][name]}
    assert changed == {"width", "normalisation"}
    assert json.loads(after["cnn"]["width"])["attributes"]["choices"] == [16]
    assert {**after, "cnn": None} == {**before, "cnn": None}


def test_trials_of_the_whole_space_and_of_a_part_of_it_are_not_mixed() -> None:
    asked = {
        "lock_digest": "a" * 64,
        "epochs": 3,
        "objective": "auc",
        "precision": "fp32",
        "layout": "contiguous",
        "threads": 1,
    }
    whole, part = (
        define(model, None, **asked) for model in (load_model("cnn"), hold(load_model("cnn"), {"width": 16}))
    )
    with pytest.raises(DefinitionMismatchError, match=r"another space \(width\)"):
        check_same("s-cnn", whole.as_attributes(), part)


def test_values_are_read_as_what_they_are() -> None:
    text = "vgg16.frozen_blocks=5, vgg16.pooling=mean,cnn.dropout=1e-1,cnn.residual=True"
    fixed = parse_launch(["--model", "all", "--data", "x", "--set", text], {}).held
    assert [(one.model, one.parameter, one.value) for one in fixed] == [
        ("vgg16", "frozen_blocks", 5),
        ("vgg16", "pooling", "mean"),
        ("cnn", "dropout", 0.1),
        ("cnn", "residual", True),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width=16", "'width=16' is not understood; give MODEL.PARAMETER=VALUE"),
        ("cnn.width", "is not understood"),
        ("cnn.width=", "is not understood"),
        ("cnm.width=16", "'cnm' is not known, did you mean cnn"),
        ("vgg16.dropout=0", "--set vgg16.dropout: only cnn is searched; name vgg16 in --model as well"),
        ("cnn.width=16,cnn.width=24", "--set cnn.width: is given twice"),
    ],
)
def test_what_is_mistyped_is_refused_in_one_line(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_launch(["--model", "cnn", "--data", "x", "--set", text], {})
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cnn.widht=16",
            r"^--set cnn: 'widht' is no parameter of this model, did you mean width[?]; its parameters are .*width$",
        ),
        ("cnn.width=17", r"^--set cnn: width = 17 lies outside CategoricalDistribution\(choices=\(16, 24, 32, 48\)\)$"),
        ("cnn.depth=1.5", r"^--set cnn: depth = 1.5 lies outside IntDistribution"),
        ("cnn.dropout=high", r"^--set cnn: dropout = 'high' lies outside FloatDistribution"),
    ],
)
def test_what_the_model_does_not_have_is_refused_before_anything_is_written(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        search(asked(tmp_path, "--set", text), Signals("again"))
    assert not (tmp_path / "runs").exists()
