"""The data on which searches are asked what they gain, and what is read of their reports; no search runs here."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks import pays
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import PatchSet, known
from studies.final_models import Gain


@pytest.fixture(scope="module")
def patches() -> PatchSet:
    return read_patches("synthetic:600")


def made(regime: str, patches: PatchSet) -> PatchSet:
    return pays.REGIMES[regime](patches, np.random.default_rng(0))


def test_few_patients_give_as_equally_many_patches_as_they_have(patches: PatchSet) -> None:
    found = pays.of_patients(patches, np.random.default_rng(0), 5, 15)
    assert found.patients is not None
    _, counts = np.unique(found.patients, return_counts=True)
    assert len(counts) == 5
    assert counts.tolist() == [3] * 5
    assert len(set(found.digests)) == 15


def test_a_share_of_labels_is_wrong_and_nothing_else(patches: PatchSet) -> None:
    found = made("doubtful", patches)
    assert (known(found) != known(patches)).mean() == pytest.approx(pays.FLIPPED, abs=1e-3)
    assert np.array_equal(found.pixels, patches.pixels)


def test_rare_is_one_to_ten(patches: PatchSet) -> None:
    found = known(made("rare", patches))
    assert (found == 0).sum() == (known(patches) == 0).sum()
    assert (found == 1).sum() == (found == 0).sum() // 10


def test_half_of_the_patients_are_stained_elsewhere(patches: PatchSet) -> None:
    found = made("stains", patches)
    assert patches.patients is not None
    changed = (found.pixels != patches.pixels).any((1, 2, 3))
    elsewhere = np.unique(patches.patients[changed])
    assert len(elsewhere) == len(np.unique(patches.patients)) // 2
    assert changed[np.isin(patches.patients, elsewhere)].mean() > 0.9
    assert np.array_equal(found.digests, made("stains", patches).digests), "the same patients every time"


def test_what_was_written_is_read_again(patches: PatchSet, tmp_path: Path) -> None:
    some = patches.take(np.arange(40))
    pays.write(some, tmp_path / "patches")
    again = read_patches(str(tmp_path / "patches"))
    assert np.array_equal(again.digests, some.digests)
    assert again.patients is not None
    assert np.array_equal(again.patients, some.patients)


def test_gains_are_told_with_their_intervals_or_why_there_is_none() -> None:
    gain = asdict(Gain(("best",), 0.0072, 0.001, 0.0134, "", 60, 1500))
    lost = asdict(Gain(("best",), -0.002, None, None, "too few patients", 3, 40))
    plan = {"models": [{"model": "cnn", "chosen": "best"}, {"model": "vgg16", "chosen": "default"}]}
    models = {"cnn": {"gain": gain}, "vgg16": {"gain": lost}}
    report = {"models": models, "plan": plan, "ensemble": {"gain": lost, "beside_control": {"gain": gain}}}
    told = pays.Gained(hours=1.5, **pays.gains(report))
    assert pays.row("some", told) == [
        "some",
        "cnn +0.0072 (+0.0010 to +0.0134)\nvgg16 none",
        "-0.0020 (too few patients)",
        "+0.0072 (+0.0010 to +0.0134)",
        "1.50",
    ]
    alone = pays.Gained(hours=1.0, **pays.gains({"models": {}, "plan": {"models": []}, "ensemble": None}))
    assert pays.row("few", alone)[2:4] == ["none", "none"]


def test_hours_are_those_on_record_of_search_retraining_and_control() -> None:
    members = {"members": [{"seconds": 600.0}, {"seconds": 300.0}]}
    control = {"parts": [{"retrained": members}]}
    searches = {"a-cnn": {"cost": {"used": 1800.0}}, "a-vgg16": {"cost": {"used": 900.0}}}
    plan = {"models": [{"candidates": [members, members]}], "ensemble": {"control": control}}
    assert pays.hours({"searches": searches, "plan": plan}) == pytest.approx((2700 + 3 * 900) / 3600)
    for ensemble in (None, {"control": None}):
        without = {"searches": searches, "plan": {**plan, "ensemble": ensemble}}
        assert pays.hours(without) == pytest.approx((2700 + 2 * 900) / 3600)


def test_unknown_data_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        pays.main(["fewer", "--data", "x", "--folder", "y"])
    assert ended.value.code == 2
    assert "no such data: fewer; expected some of few, some" in capsys.readouterr().err


def test_what_is_done_is_read_but_not_as_what_was_asked_for_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "few"
    (own / "patches").mkdir(parents=True)
    asked = own / pays.ASKED
    asked.write_text(json.dumps(["--data", "x", "--model", "cnn", "--trials", "20"]))
    done = own / pays.DONE
    done.write_text(json.dumps({"models": {}, "ensemble": None, "control": None, "hours": 2}))
    typed = ["few", "--folder", str(tmp_path), "--trials", "20"]
    assert pays.main([*typed, "--models", "cnn", "--data", "x"]) == 0
    assert "2.00" in capsys.readouterr().out

    def refusal(*more: str) -> str:
        with pytest.raises(SystemExit) as ended:
            pays.main([*typed, *more])
        assert ended.value.code == 2
        return " ".join(capsys.readouterr().err.split())

    told = "few was begun with --data x --model cnn --trials 20; give the same, or another --folder"
    assert told in refusal("--data", "x")
    assert told in refusal("--data", "y", "--models", "cnn")
    for broken in ("{", "[]", '{"asked": []}'):
        done.write_text(broken)
        assert "pays.json cannot be read" in refusal("--data", "x", "--models", "cnn")
    done.unlink()
    assert told in refusal("--data", "y", "--models", "cnn"), "cut off before it was done, it went on as of y"
    asked.unlink()
    assert "few does not tell which flags it was begun with" in refusal("--data", "x", "--models", "cnn")


def test_patches_without_patients_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 50, 3), np.uint8)
    np.save(tmp_path / "X.npy", pixels)
    np.save(tmp_path / "Y.npy", np.arange(40) % 2)
    with pytest.raises(SystemExit) as ended:
        pays.main(["few", "--data", str(tmp_path), "--folder", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "says nothing of patients; give patches of known ones" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
