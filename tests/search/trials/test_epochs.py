"""How long trials train where ``--epochs`` does not say: as their study began, or as their model's file says."""

from pathlib import Path

from models._registry import load_model
from models._spec import EPOCHS
from search.command.settings import parse_launch
from search.comparison import Comparison, define
from search.trials.course import _epochs
from studies.storage.studies import create_or_resume, make_pruner, make_sampler


def test_a_model_says_how_long_it_trains_and_a_study_that_has_begun_keeps_its_own(tmp_path: Path) -> None:
    place = [
        "--data",
        "synthetic:60",
        "--runs",
        str(tmp_path),
        "--storage",
        f"sqlite:///{tmp_path}/s.db",
        "--study",
        "s",
    ]
    settings = parse_launch(["--model", "cnn,vgg16", *place], {})
    asked = parse_launch(["--model", "cnn,vgg16", "--epochs", "5", *place], {})
    cnn, vgg16 = load_model("cnn"), load_model("vgg16")
    assert (_epochs(settings, None, cnn), _epochs(settings, None, vgg16)) == (24, EPOCHS)
    comparison = Comparison.open(settings.common, begin=True)
    definition = define(
        cnn, None, lock_digest="0" * 64, epochs=7, objective="auc", precision="fp32", layout="contiguous", threads=1
    )
    create_or_resume(
        comparison.storage, "s-cnn", definition, sampler=make_sampler("random", 0), pruner=make_pruner("none", 7)
    )
    assert (_epochs(settings, comparison, cnn), _epochs(settings, comparison, vgg16)) == (7, EPOCHS)
    assert (_epochs(asked, comparison, cnn), _epochs(asked, None, vgg16)) == (5, 5)
    comparison.storage.engine.dispose()
