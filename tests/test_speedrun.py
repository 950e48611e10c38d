"""A speedrun: ways are read as they are typed, trained beside the default, and compared seed by seed."""

from contextlib import nullcontext
from unittest.mock import Mock

import pytest

from benchmarks import speedrun
from benchmarks._launch import chosen_patches, prepared
from benchmarks.speedrun import Run, Way, of_seed, row, trained
from data_utils.split.prepare import load_development
from models._registry import load_model

EPOCHS = load_model("cnn").epochs


def test_a_way_is_what_is_different():
    fixed = {"width": 8, "kernel": 3}
    wider = Way("width=16,epochs=8", "cnn", {"width": 16, "kernel": 3}, 8)
    assert Way.read("width=16,epochs=8", "cnn", fixed) == wider
    assert Way.read("", "cnn", fixed) == Way("default", "cnn", fixed, EPOCHS)
    found = Way.read("residual=True,adamw_learning_rate=2e-3,activation=silu", "cnn", {})
    assert (dict(found.params), found.epochs) == (
        {"residual": True, "adamw_learning_rate": 0.002, "activation": "silu"},
        EPOCHS,
    )


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("with=16", "'with' is no parameter of this model, did you mean width?"),
        ("width", "'width' is not understood"),
        ("width=", "'width=' is not understood"),
        ("width=17", "17 is not allowed; the nearest is 16"),
        ("width=16/32", "width=16/32: one value was expected"),
        ("epochs=x", "epochs=x: a whole number from 1 on was expected"),
        ("epochs=0", "epochs=0: a whole number from 1 on was expected"),
        ("width=16,width=24", "width is given twice; give it once"),
        ("epochs=1,epochs=2", "epochs is given twice; give it once"),
        ("", "of each way what is different, as width=16, were expected"),
    ],
)
def test_a_way_that_is_none_is_refused_in_one_line(typed, told, capsys):
    with pytest.raises(SystemExit) as ended:
        speedrun.main([typed])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("typed", [["--seeds", "0"], ["--seeds", "-1"], ["--precision", "fp8"]])
def test_what_cannot_be_asked_is_refused(typed, capsys):
    with pytest.raises(SystemExit) as ended:
        speedrun.main(["width=16", *typed])
    assert ended.value.code == 2
    assert "expected" in (said := capsys.readouterr().err.splitlines()[-1]) or "choose from" in said


def test_a_row_compares_seed_by_seed():
    default = [Run(100.0, 0.90), Run(140.0, 0.94)]
    told = row(Way("width=16", "cnn", {"width": 16}, 12), [Run(40.0, 0.91), Run(40.0, 0.93)], default)
    assert told == ["width=16", "12", "40", "0.9200", "+0.0000 ± 0.0100", "3.00 x"]


def test_the_default_and_a_way_are_trained(capsys):
    assert speedrun.main(["width=8,epochs=1", "--data", "synthetic:300", "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "synthetic:300; 1 seeds" in printed
    cells = table(printed)
    assert [(name, epochs) for name, epochs, *_ in cells] == [
        ("default", str(EPOCHS)),
        ("width=8,epochs=1", "1"),
    ]
    assert all(0 < float(auc) < 1 for _, _, _, auc, *_ in cells)
    assert cells[0][4:] == ["+0.0000 ± nan", "1.00 x"]


def test_what_frozen_layers_make_is_kept_for_all_that_have_the_same_ones(shared, monkeypatch, tmp_path):
    source = chosen_patches("synthetic:300", tmp_path / "patches")
    folder = prepared(source, tmp_path / "prepared").development
    fixed = {"frozen_blocks": 5, "input_size": 32, "stain_jitter": 0.0}
    kept = [trained(folder, Way.read(text, "vgg16", fixed), 0, None, "bf16") for text in ("epochs=1", "epochs=2")]
    assert len([one for one in (folder.parent / "kept").iterdir() if one.is_dir()]) == 1
    monkeypatch.setattr(speedrun, "keeping", lambda begun, *_: nullcontext(begun))
    assert trained(folder, Way.read("epochs=1", "vgg16", fixed), 0, None, "bf16").auc == pytest.approx(kept[0].auc)


def table(printed: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if " x " in line]


def test_of_a_seed_it_is_the_mean_of_its_folds():
    assert of_seed([Run(30.0, 0.9), Run(50.0, 0.8)]) == Run(40.0, pytest.approx(0.85))


def test_out_of_fold_every_fold_trains_one_network_of_each(capsys, monkeypatch):
    asked = []

    def run(trained, jobs, console):
        asked.extend(jobs)
        return [Run(10.0, 0.9 if way.params else 0.8) for _, way, *_ in jobs]

    monkeypatch.setattr(speedrun, "two_at_a_time", run)
    assert speedrun.main(["width=8", "--data", "synthetic:300", "--seeds", "2", "--out-of-fold"]) == 0
    assert [(way.name, seed, fold) for _, way, seed, fold, _ in asked] == [
        (name, seed, fold) for seed in range(2) for name in ("default", "width=8") for fold in range(5)
    ]
    printed = capsys.readouterr().out
    assert "2 seeds, 5 folds of development, fp32" in printed
    assert [row[3] for row in table(printed)] == ["0.8000", "0.9000"]


def test_a_fold_is_scored_by_a_network_that_has_not_seen_its_patients(monkeypatch, tmp_path):
    source = chosen_patches("synthetic:300", tmp_path / "patches")
    folder = prepared(source, tmp_path / "prepared").development
    begin, evaluate = Mock(), Mock()
    monkeypatch.setattr(speedrun, "begin", begin)
    monkeypatch.setattr(speedrun, "train", Mock(return_value=()))
    monkeypatch.setattr(speedrun, "evaluate", evaluate)
    monkeypatch.setattr(speedrun, "auc", Mock(return_value=0.5))
    assert trained(folder, Way("default", "cnn", {}, 12), 1, 2, "fp32").auc == 0.5
    learn, score = begin.call_args.args[1], evaluate.call_args.args[2]
    more, views = begin.call_args.kwargs, evaluate.call_args.kwargs["views"]
    patients = load_development(folder).patients
    assert patients is not None
    assert not set(patients[learn]) & set(patients[score])
    assert sorted([*learn, *score]) == list(range(len(patients)))
    assert (more["seed"], more["window"], len(views)) == (7, 0.0, 8)
