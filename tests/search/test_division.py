"""What a launch leaves out and how it divides patients: locked, verified, and told to the report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from data_utils.errors import LockMismatchError
from data_utils.readers.patches import read_patches
from search.command.settings import LaunchSettings, parse_launch
from search.comparison import Comparison, Division
from studies.records import DataSummary, from_json

IDS = [f"S{number:04d}" for number in range(1, 13)]  # of synthetic:60


def asked(tmp_path: Path, *argv: str) -> LaunchSettings:
    place = ("--storage", f"sqlite:///{tmp_path}/studies.db", "--runs", str(tmp_path), "--study", "s")
    return parse_launch(["--model", "cnn", "--data", "synthetic:60", *place, *argv], {})


@pytest.fixture
def lists(tmp_path: Path) -> str:
    path = tmp_path / "official.json"
    path.write_text(json.dumps({"train": IDS[:6], "val": IDS[6:8], "test": IDS[8:10]}))
    return str(path)


def test_rules_and_lists_are_locked_and_stand_in_the_data_of_the_report(tmp_path: Path, lists: str) -> None:
    settings = asked(tmp_path, "--exclude", "near_white,blurred", "--split-file", lists, "--unlisted", "exclude")
    comparison = Comparison.open(settings.common, begin=True)
    first = comparison.prepared(settings.common.data, Division.asked(settings))
    told = from_json(DataSummary, (tmp_path / "s" / "data.json").read_bytes(), "data.json")
    assert [reason for reason, _ in told.exclusions] == [
        "patient in no list of the split file",
        "near-white: glass, no tissue",
        "blurred: out of focus or empty",
    ]
    assert [reason for reason, _ in told.easing] == ["blurred: out of focus or empty"]
    assert first.lock.published is not None
    assert told.split_file == f"{lists}, sha256 {first.lock.published.digest[:12]}, unlisted patients: exclude"
    Path(lists).unlink()  # search.finalize needs the lock alone
    again = Comparison.open(settings.common).prepared(settings.common.data, comparison.locked_division(), rehash=True)
    assert again == first


def test_parts_that_folders_name_are_locked_and_stand_in_the_data_of_the_report(tmp_path: Path) -> None:
    made = read_patches("synthetic:60")
    assert made.patients is not None
    part = dict(zip(IDS, ("train", "val", "test") * 4, strict=True))
    for pixels, patient, name in zip(made.pixels, made.patients.tolist(), made.names.tolist(), strict=True):
        file = tmp_path / "set" / part[patient] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    (tmp_path / "set" / "README.txt").write_text("x")
    settings = asked(tmp_path, "--data", str(tmp_path / "set"), "--split-file", "folders")
    comparison = Comparison.open(settings.common, begin=True)
    first = comparison.prepared(settings.common.data, Division.asked(settings))
    assert {patient: named[:3] for patient, named in first.lock.assignment.items()} == {
        patient: named[:3] for patient, named in part.items()
    }
    told = from_json(DataSummary, (tmp_path / "s" / "data.json").read_bytes(), "data.json")
    assert first.lock.published is not None
    assert told.split_file == f"folders, sha256 {first.lock.published.digest[:12]}, unlisted patients: error"
    assert told.found - sum(count for _, count in told.exclusions) == sum(one.patches for one in told.parts)
    assert told.exclusions == (("no PNG, JPEG or TIFF file: .txt", 1),)
    assert told.notes[1].startswith("the folders name parts (train ")
    again = Comparison.open(settings.common).prepared(settings.common.data, comparison.locked_division(), rehash=True)
    assert again == first
    with pytest.raises(LockMismatchError, match=r"split file none \(locked: folders with unlisted patients: error\)"):
        comparison.prepared(settings.common.data, Division.asked(asked(tmp_path)))


def test_without_rules_and_lists_nothing_is_said_of_them(tmp_path: Path) -> None:
    settings = asked(tmp_path)
    Comparison.open(settings.common, begin=True).prepared(settings.common.data, Division.asked(settings))
    told = json.loads((tmp_path / "s" / "data.json").read_text())
    assert (told["easing"], told["split_file"], told["exclusions"]) == ([], "", [])
    older = {name: value for name, value in told.items() if name not in ("easing", "split_file")}
    assert from_json(DataSummary, json.dumps(older), "data.json").easing == ()  # as earlier versions wrote it


def test_a_lock_that_a_new_database_takes_over_from_its_file_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = asked(tmp_path)
    first = Comparison.open(settings.common, begin=True).prepared(settings.common.data, Division.asked(settings))
    assert "taken over" not in capsys.readouterr().out
    other = replace(settings.common, storage=f"sqlite:///{tmp_path}/other.db")
    second = Comparison.open(other, begin=True).prepared(other.data, Division.asked(settings))
    assert second.lock == first.lock
    assert "lock.json is taken over as the split lock" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("other", [(), ("--exclude", "near_white"), ("--exclude", "blurred,near_white")])
def test_other_rules_under_the_same_name_are_refused_in_one_line(tmp_path: Path, other: tuple[str, ...]) -> None:
    settings = asked(tmp_path, "--exclude", "blurred")
    comparison = Comparison.open(settings.common, begin=True)
    comparison.prepared(settings.common.data, Division.asked(settings))
    with pytest.raises(LockMismatchError, match=r"exclude [\w,]+ \(locked: blurred\); .*--study NEW") as raised:
        comparison.prepared(settings.common.data, Division.asked(asked(tmp_path, *other)))
    assert "\n" not in str(raised.value)
