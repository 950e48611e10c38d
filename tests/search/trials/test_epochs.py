"""How long trials train where ``--epochs`` does not say: as their study began, or as their model's file says."""

from pathlib import Path

from models._registry import load_model, model_names
from models._spec import EPOCHS
from search.command._flags import options
from search.command.settings import LaunchSettings, parse_launch
from search.comparison import Comparison, define
from search.trials.epochs import epochs_by_model, the_same, told_apart
from studies.storage.studies import create_or_resume, make_pruner, make_sampler


def test_a_model_says_how_long_it_trains_and_a_study_that_has_begun_keeps_its_own(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/s.db"
    place = ("--data", "synthetic:60", "--study", "s", "--runs", str(tmp_path), "--storage", storage)
    settings = parse_launch(["--model", "cnn,vgg16", *place], {})
    asked = parse_launch(["--model", "cnn,vgg16", "--epochs", "5", *place], {})
    assert epochs_by_model(settings, None) == {"cnn": 24, "vgg16": EPOCHS}
    comparison = Comparison.open(settings.common, begin=True)
    definition = define(
        load_model("cnn"), None, lock_digest="0" * 64, epochs=7, objective="auc", precision="fp32",
        layout="contiguous", threads=1,
    )  # fmt: skip
    create_or_resume(
        comparison.storage, "s-cnn", definition, sampler=make_sampler("random", 0), pruner=make_pruner("none", 7)
    )
    assert epochs_by_model(settings, comparison) == {"cnn": 7, "vgg16": EPOCHS}
    assert epochs_by_model(asked, comparison) == epochs_by_model(asked, None) == {"cnn": 5, "vgg16": 5}
    comparison.storage.engine.dispose()


def test_the_file_of_settings_has_them_where_one_number_says_them() -> None:
    assert (the_same({"cnn": 7, "vgg16": 7}), told_apart({"cnn": 7, "vgg16": 7})) == (7, ())
    assert the_same({"cnn": 7, "vgg16": 12}) is None
    assert told_apart({"cnn": 7, "vgg16": 12}) == ("epochs, which no one number says: 7 of cnn, 12 of vgg16",)


def test_the_help_says_what_the_files_of_the_models_say() -> None:
    (epochs,) = (one for one in options(LaunchSettings) if one.field == "epochs")
    others = {name: load_model(name).epochs for name in model_names() if name != "cnn"}
    assert set(others.values()) == {EPOCHS}
    assert epochs.flag.note == f"default: {load_model('cnn').epochs} of cnn, {EPOCHS} of other models"
