"""``--set`` and ``--space``: a space that is fixed, narrowed or widened."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from foreign import TYPED, forget, install
from optuna.trial import FixedTrial

from models._registry import load_model, model_names
from models._spec import Model, draws_none
from search.command.extents import Extent
from search.command.settings import LaunchSettings, parse_launch
from search.command.settings_file import write_settings
from search.command.signals import Signals
from search.comparison import define, space_of
from search.errors import UsageError
from search.trials.ignored import ignored
from search.trials.session import search
from search.trials.space import (
    in_words,
    moved_defaults,
    none_parameters,
    searched_models,
    ways_on,
    widest_space,
    within,
)
from studies.errors import DefinitionMismatchError
from studies.storage.definition import check_same
from studies.storage.results import ZERO_IS_NONE, counted, summarise
from studies.storage.studies import holds, make_sampler, quiet_optuna

HELD = {"frozen_blocks": 5, "input_size": 50, "stain_jitter": 0, "dropout": 0.25, "class_weighting": True}
SHAPED = "depth=4..6,width=64/96,adamw_learning_rate=1e-5..1e-4,label_smoothing=0..0.1,stain_jitter=0.1..0.2,warmup=0.4"
"""One of each: a wider integer, other choices, a log range, with none, without, and a value beyond the space."""

HUGE = "1" * 400  # a whole number that no float can hold


def asked(tmp_path: Path, *argv: str) -> LaunchSettings:
    place = ("--runs", str(tmp_path / "runs"), "--study", "s", "--device", "cpu", "--vgg16-weights", "none")
    return parse_launch(["--model", "cnn", "--data", "synthetic:120", *place, *argv], {})


def of_cnn(text: str, *more: str) -> tuple[Extent, ...]:
    return parse_launch(["--model", "cnn", "--data", "x", "--set", text, *more], {}).space


def shaped(text: str, name: str = "cnn") -> Model:
    extents = parse_launch(["--model", name, "--data", "x", "--set", text], {}).space
    return within(load_model(name), extents)


def held() -> Model:
    return shaped(",".join(f"{name}={value}" for name, value in HELD.items()), "vgg16")


def drawn(model: Model, sampler: str, objective: str) -> optuna.Study:
    with quiet_optuna():
        study = optuna.create_study(direction="maximize")
        for number in range(14):  # more than are random before a sampler begins to learn
            study.sampler = make_sampler(sampler, number, default=load_model(model.name).default)
            trial = study.ask()
            model.suggest(trial)
            study.tell(trial, trial.params[objective])
    return study


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "prior"])
def test_whatever_the_sampler_draws_keeps_what_is_held(sampler: str) -> None:
    study = drawn(held(), sampler, "head_learning_rate")
    assert all({name: trial.params[name] for name in HELD} == HELD for trial in study.trials)
    rates = {trial.params["head_learning_rate"] for trial in study.trials}
    assert len(rates) > 7  # the rest is searched; gp comes back to the best


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "prior"])
def test_whatever_the_sampler_draws_lies_in_the_space_and_reads_back_without_knowing_of_it(sampler: str) -> None:
    model, whole = shaped(SHAPED), load_model("cnn")
    study = drawn(model, sampler, "dropout")
    configurations = [whole.configuration(trial.params) for trial in study.trials]
    assert {config.depth for config in configurations} <= {4, 5, 6}
    assert {config.width for config in configurations} <= {64, 96}
    recipes = [config.recipe for config in configurations]
    assert all(1e-5 <= trial.params["adamw_learning_rate"] <= 1e-4 for trial in study.trials)
    assert {recipe.warmup for recipe in recipes} == {0.4}
    assert all(0.1 <= recipe.stain_jitter <= 0.2 for recipe in recipes)
    assert all(0 <= recipe.label_smoothing <= 0.1 for recipe in recipes)
    if sampler == "random":
        assert 0.0 in {recipe.label_smoothing for recipe in recipes}  # from 0 on, none is drawn as well
    trial = study.trials[-1]
    other = {"adamw": "sgd_learning_rate", "sgd": "adamw_learning_rate"}[trial.params["optimizer"]]
    assert other in ignored(model, trial.params, trial.distributions)


def test_the_default_configuration_is_held_as_well_and_reads_back_without_knowing_of_it() -> None:
    whole, model = load_model("vgg16"), held()
    assert dict(model.default) == {**whole.default, **HELD}
    config = whole.suggest(FixedTrial(dict(model.default)))
    assert config == model.suggest(FixedTrial(dict(model.default)))
    assert isinstance(config.recipe.stain_jitter, float)  # as the space has it, whatever was typed
    assert whole.prefix_name(config) is not None


def test_a_default_outside_of_the_space_is_the_nearest_inside_and_that_is_said_in_a_line() -> None:
    text = f"{SHAPED},optimizer=sgd,pooling=mean/max"
    model, extents = shaped(text), of_cnn(text)
    usual = load_model("cnn").default
    moved = {name: value for name, value in model.default.items() if value != usual[name]}
    assert moved == {
        "depth": 4, "width": 64, "adamw_learning_rate": 1e-4, "stain_jitter": 0.1, "warmup": 0.4,
        "optimizer": "sgd", "pooling": "mean",
    }  # fmt: skip
    assert moved_defaults(model, extents) == (
        "cnn begins with depth 4 instead of 2, width 64 instead of 16, adamw_learning_rate 0.0001 instead of 0.002, "
        "stain_jitter 0.1 instead of 0.05, pooling mean instead of both: its defaults lie outside of this space"
    )
    inside = {name: holds(each, model.default[name]) for name, each in distributions(model).items()}
    assert all(inside.values()), inside
    assert moved_defaults(shaped("depth=1..3"), of_cnn("depth=1..3")) == ""


def distributions(model: Model) -> dict[str, optuna.distributions.BaseDistribution]:
    return {name: optuna.distributions.json_to_distribution(text) for name, text in space_of(model).items()}


def test_the_rest_of_the_space_and_other_models_are_as_they_were() -> None:
    before = {model.name: space_of(model) for model in searched_models(model_names(), ())}
    extents = of_cnn("width=16,normalisation=batch")
    after = {model.name: space_of(model) for model in searched_models(model_names(), extents)}
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
    whole, one, range_ = (
        define(model, None, **asked) for model in (load_model("cnn"), shaped("width=16"), shaped("depth=1..2"))
    )
    with pytest.raises(DefinitionMismatchError, match=r"another space \(width\)"):
        check_same("s-cnn", whole.as_attributes(), one)
    with pytest.raises(DefinitionMismatchError, match=r"another space \(depth, width\): .* start anew: --study NEW"):
        check_same("s-cnn", range_.as_attributes(), one)


@pytest.mark.parametrize("name", model_names())
def test_what_a_model_allows_holds_its_space_and_every_end_of_it_can_be_built(name: str) -> None:
    model = load_model(name)
    usual, widest = (
        space_of(model),
        {k: optuna.distributions.json_to_distribution(v) for k, v in widest_space(model).items()},
    )
    assert set(model.allowed) <= set(usual)
    for parameter, distribution in distributions(model).items():
        ends = getattr(distribution, "choices", None) or (distribution.low, distribution.high)
        assert all(holds(widest[parameter], end) for end in ends), parameter
    largest = {**model.default, **{parameter: ends[-1] for parameter, ends in model.allowed.items()}}
    assert model.configuration(largest).recipe.warmup == 0.5
    assert ways_on(model, ())["dropout"]["upper"].startswith(f"--set {name}.dropout=0.0..")


def test_none_is_known_by_its_range_wherever_it_is_looked_at() -> None:
    """Models and studies know nothing of each other: both know it by where the range begins."""
    for model in searched_models(model_names(), ()):
        with quiet_optuna():
            study = optuna.create_study()
            study.add_trial(
                optuna.trial.create_trial(params=dict(model.default), distributions=distributions(model), value=0.5)
            )
            model.suggest(study.ask())
        told = summarise(study, importance=False)
        none = sorted(name for name, space in told.space.items() if space.get(ZERO_IS_NONE))
        assert none == sorted(none_parameters(model))
        for name in none:
            low, high = distributions(model)[name].low, distributions(model)[name].high
            assert draws_none(low, high)
            assert (told.space[name]["low"], told.space[name]["high"]) == (0.0, high)
            assert model.configuration({**model.default, name: low}) == model.configuration(
                {**model.default, name: 0.0}
            )
        assert all(
            value >= 0
            for trial in told.trials
            for value in counted(trial, told.space).values()
            if isinstance(value, float)
        )


def test_values_are_read_as_what_they_are() -> None:
    text = "vgg16.frozen_blocks=5, vgg16.pooling=mean,cnn.dropout=1e-1,cnn.residual=True,cnn.depth=1..2,cnn.kernel=3/5"
    space = parse_launch(["--model", "all", "--data", "x", "--set", text], {}).space
    assert space == (
        Extent("vgg16", "frozen_blocks", (5,)),
        Extent("vgg16", "pooling", ("mean",)),
        Extent("cnn", "dropout", (0.1,)),
        Extent("cnn", "residual", (True,)),
        Extent("cnn", "depth", (1, 2), ranged=True),
        Extent("cnn", "kernel", (3, 5)),
    )
    assert of_cnn("width=16") == of_cnn("cnn.width=16")
    assert of_cnn("stain_jitter=none") == (Extent("cnn", "stain_jitter", ("none",)),)
    assert [distributions(shaped(f"stain_jitter={none}"))["stain_jitter"] for none in ("none", "0")] == [
        optuna.distributions.FloatDistribution(0, 0)
    ] * 2
    assert in_words(distributions(shaped("stain_jitter=none..0.1"))["stain_jitter"]) == "none, or up to 0.1"


FILE = """
[cnn]
width = [16, 24]
dropout = "0.1..0.4"
depth = 2
[vgg16]
frozen_blocks = 5
["foreignlab.nets:tiny"]  # installed, and not searched
width = 8
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """With the package of somebody else on the path of this process."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield install(tmp_path / "site")
    forget()


@pytest.mark.usefixtures("site")
def test_a_file_says_the_same_and_flags_go_before_it(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(FILE)
    settings = asked(tmp_path, "--space", str(file), "--set", "dropout=0.2,kernel=5")
    told = ["cnn.width=16/24", "cnn.depth=2", "cnn.dropout=0.2", "cnn.kernel=5"]
    assert [str(one) for one in settings.space] == told
    assert settings.space_file is None  # a file of settings holds all of it
    write_settings(tmp_path / "launch.toml", settings, "typed")
    again = parse_launch(["--config", str(tmp_path / "launch.toml")], {})
    assert again.space == settings.space
    other = parse_launch(["--config", str(tmp_path / "launch.toml"), "--space", str(file)], {})
    assert [str(one) for one in other.space] == ["cnn.width=16/24", "cnn.dropout=0.1..0.4", "cnn.depth=2"]
    file.write_text("width = 16\n")
    assert asked(tmp_path, "--space", str(file)).space == (Extent("cnn", "width", (16,)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[cnn.sub]\ndropout = 0.1",
            "[cnn.sub]: cnn has parameters and no tables of them; write what it is to search in",
        ),
        ("[cnn.sub]", "[cnn.sub]: cnn has parameters and no tables"),
        (
            "[mylab.nets.tinny]\nwidth = 9",
            "[mylab.nets.tinny] names no model that is searched. There is no model mylab.",
        ),
        (
            "[foreignlab.nets.tinny]",
            "[foreignlab.nets.tinny] names no model that is searched, did you mean foreignlab.net",
        ),
        (
            "[foreignlab.nets.tiny]\nwitdh = 9",
            "foreignlab.nets.tiny.witdh is no parameter of this model, did you mean wi",
        ),
        (
            "[vgg16]\ndropuot = 0.1",
            "vgg16.dropuot is no parameter of this model, did you mean dropout?; its parameters",
        ),
        ("[cnm]", "space.toml: 'cnm' is not known, did you mean cnn?"),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_table_that_names_no_model_or_no_parameter_of_it_is_refused_although_it_is_not_searched(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    models = f"cnn,{TYPED}" if "foreignlab.nets.tinny" in text else "cnn"
    check_refused(["--model", models, "--data", "x", "--space", str(file)], message, capsys)


def check_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused before anything begins, in one line with this message."""
    with pytest.raises(SystemExit) as ended:
        parse_launch(arguments, {})
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width = 16", "space.toml: width: 2 models are searched; say which, as vgg16.width or cnn.width"),
        ("[cnm]\nwidth = 16", "space.toml: 'cnm' is not known, did you mean cnn?"),
        ("[cnn]\nwidth = []", "space.toml: width = [] is no value, no list of values and no range like '0.1..0.4'"),
        ("[cnn]\nwidth = 1979-05-27", "is no value, no list of values and no range"),
        ("[cnn]\nwidth = 'a/b'", "a value with a comma or a slash cannot be told from two"),
        ("[cnn]\ndropout = '0.4..0.1'", "dropout=0.4..0.1 is turned round; give the lower end first, 0.1..0.4"),
        ("[cnn\nwidth = 1", "is no TOML"),
        (f"[cnn]\ndropout = '0..{HUGE}'", "is no range; give two numbers, like 0.1..0.4"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    check_refused(["--model", "vgg16,cnn", "--data", "x", "--space", str(file)], message, capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cnn.width", "is not understood; give MODEL.PARAMETER=VALUE, =LOW..HIGH or =A/B/C"),
        ("cnn.width=", "is not understood"),
        ("cnm.width=16", "'cnm' is not known, did you mean cnn"),
        ("vgg16.dropout=0", "--set vgg16.dropout: only cnn is searched; name vgg16 in --model as well"),
        ("cnn.width=16,width=24", "--set cnn.width: is given twice"),
        ("dropout=0.1..high", "dropout=0.1..high is no range; give two numbers, like 0.1..0.4"),
        ("dropout=0.4..0.1", "dropout=0.4..0.1 is turned round; give the lower end first, 0.1..0.4"),
        (f"dropout=0..{HUGE}", "is no range; give two numbers, like 0.1..0.4"),
    ],
)
def test_what_is_mistyped_is_refused_in_one_line(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused(["--model", "cnn", "--data", "x", "--set", text], message, capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "widht=16",
            r"^--set cnn.widht: 'widht' is no parameter of this model, did you mean width[?]; its parameters are .*th$",
        ),
        (f"width={HUGE}", r"^--set cnn.width: '1+[.]{3}1+' is not allowed; cnn allows 8"),
        ("width=17", r"^--set cnn.width: 17 is not allowed; the nearest is 16; cnn allows 8 \| 16 \| 24 \| .* \| 256$"),
        (
            "optimizer=adamw/adam",
            r"^--set cnn.optimizer: 'adam' is not allowed, did you mean adamw[?]; cnn allows adamw \| sgd$",
        ),
        ("depth=1.5", r"^--set cnn.depth: 1.5 is not allowed; cnn allows 1 to 8$"),
        ("depth=0..3", r"^--set cnn.depth: 0 is not allowed; cnn allows 1 to 8$"),
        ("dropout=0.5..1", r"^--set cnn.dropout: 1 is not allowed; cnn allows 0 to 0.9$"),
        ("dropout=high", r"^--set cnn.dropout: 'high' is not allowed; cnn allows 0 to 0.9$"),
        ("dropout=true", r"^--set cnn.dropout: 'True' is not allowed"),
        ("weight_decay=0..0.1", r"^--set cnn.weight_decay: 0 is not allowed; cnn allows 1e-08 to 1 \(log\)$"),
        ("stain_jitter=-3", r"^--set cnn.stain_jitter: -3 is not allowed; cnn allows none, or up to 0.2$"),
        ("stain_jitter=-0.04..0.1", r"^--set cnn.stain_jitter: -0.04 is not allowed; cnn allows none, or up to 0.2$"),
        ("stain_jitter=0.3", r"^--set cnn.stain_jitter: 0.3 is not allowed; cnn allows none, or up to 0.2$"),
        ("width=16..48", r"^--set cnn.width=16..48: width is a choice, no range; name some of 8/16/24/.*/256$"),
    ],
)
def test_what_the_model_does_not_allow_is_refused_before_anything_is_written(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        search(asked(tmp_path, "--set", text), Signals("again"))
    assert not (tmp_path / "runs").exists()


def test_what_widens_a_space_can_be_typed_and_leaves_the_rest_as_it_is() -> None:
    model = load_model("cnn")
    ways = ways_on(model, ())
    assert ways["weight_decay"] == {
        "lower": "--set cnn.weight_decay=1e-08..0.1",
        "upper": "--set cnn.weight_decay=1e-05..1.0",
    }
    assert ways["stain_jitter"] == {"lower": "", "upper": ""}
    assert set(ways) == {name for name, of in distributions(model).items() if not hasattr(of, "choices")}
    narrow = of_cnn("stain_jitter=0.05..0.1")
    assert ways_on(within(model, narrow), narrow)["stain_jitter"]["lower"] == "--set cnn.stain_jitter=0.0..0.1"
    text = "cnn.width=16,cnn.depth=1..2"
    ways = ways_on(shaped(text), of_cnn(text))
    assert ways["depth"] == {"lower": "", "upper": "--set cnn.width=16,cnn.depth=1..8"}
    assert "width" not in ways
    for name in ("warmup", "sgd_learning_rate"):
        flag, typed = shlex.split(ways[name]["upper"])
        assert flag == "--set"
        assert space_of(shaped(typed)).keys() == space_of(model).keys()
        changed = {key for key, text in space_of(shaped(typed)).items() if text != space_of(model)[key]}
        assert changed == {"width", "depth", name}
