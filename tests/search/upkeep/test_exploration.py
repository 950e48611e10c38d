"""The command that explores: planted faults are found, and sealed patches are not shown."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import Counts, Planted, plant

from data_utils.readers.patches import PatchSet, read_patches
from data_utils.split.draw import draw_lock, parts
from search.command.settings import parse_explore
from search.errors import UsageError
from search.explore import main

SMALL = Counts(exact=20, turned=8, flipped=40, blurred=6, white=5)
A_QUARTER = Counts(exact=50, turned=12, flipped=75, blurred=10, white=7)


def explored(folder: Path, data: Path | str, *flags: str, everything: bool = True) -> dict[str, Any]:
    """What the command writes down."""
    shown = ["--all"] if everything else []
    assert main(["--data", str(data), "--runs", str(folder), "--study", "s", "--device", "cpu", *shown, *flags]) == 0
    return json.loads((folder / "s" / "exploration.json").read_text(encoding="utf-8"))


def table(folder: Path, key: str) -> list[dict[str, str]]:
    with (folder / "s" / "tables" / f"{key}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tinted(source: str) -> PatchSet:
    """Made-up patches in which colour tells the classes apart, not perfectly."""
    patches = read_patches(source)
    rng = np.random.default_rng(5)
    dark = (22 * patches.labels + rng.normal(0, 8, len(patches)))[:, None, None, None]
    pixels = np.clip(patches.pixels - dark, 0, 255).astype(np.uint8)
    return PatchSet(**{**vars(patches), "pixels": pixels})


def check_faults(folder: Path, planted: Planted) -> int:
    """Every duplicate, blurred and white patch is in its table; how many flipped labels are among twice as many."""
    group = {(row["Kind"], row["Patch"]): row["Group"] for row in table(folder, "data-duplicates")}
    for kind, pairs in (("exact", planted.exact), ("near", planted.turned)):
        for pair in pairs:
            one, other = planted.names(pair)
            assert group[kind, one] == group[kind, other]
    flagged = table(folder, "data-flagged")
    assert planted.names(planted.white) <= {row["Patch"] for row in flagged if row["Kind"] == "near-white"}
    assert planted.names(planted.blurred) <= {row["Patch"] for row in flagged if row["Kind"] == "blurred"}
    first = [row["Patch"] for row in table(folder, "data-suspects")][: 2 * len(planted.flipped)]
    return len(planted.names(planted.flipped) & set(first))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    patches = tinted("synthetic:500")
    folder = tmp_path_factory.mktemp("planted") / "patches"
    return plant(patches.pixels, patches.labels, patches.patients, SMALL, folder)


def test_faults_in_made_up_patches_are_found_by_colour_alone(made_up: Planted, tmp_path: Path) -> None:
    numbers = explored(tmp_path, made_up.folder, "--vgg16-weights", "none")
    assert check_faults(tmp_path, made_up) >= 20
    assert numbers["repetitions"]["exact"]["surplus"] == 20
    assert numbers["repetitions"]["exact"]["across"] == 20
    assert numbers["repetitions"]["near"]["surplus"] == 8
    assert numbers["flags"]["near_white"]["patches"] == 5
    assert numbers["settings"]["features"].startswith("none: no weights")
    assert [one["name"] for one in numbers["scores"]] == ["colour histograms"]


def test_a_model_that_may_be_guessing_doubts_no_label(tmp_path: Path) -> None:
    patches = read_patches("synthetic:200")
    folder = tmp_path / "patches"
    folder.mkdir()
    np.save(folder / "X.npy", patches.pixels)
    np.save(folder / "Y.npy", np.random.default_rng(0).permutation(patches.labels))
    np.save(folder / "patients.npy", patches.patients)
    numbers = explored(tmp_path, folder, "--vgg16-weights", "none")
    assert numbers["scores"][-1]["auc"]["low"] < 0.5
    assert numbers["doubts"] is None
    assert "Labels cannot be judged on these patches" in [one["title"] for one in numbers["findings"]]
    assert not (tmp_path / "s" / "tables" / "data-suspects.csv").exists()
    assert not [key for key in numbers["sheets"] if "suspic" in key or "doubt" in key]


def test_faults_in_a_quarter_of_the_real_arrays_are_found(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = (np.load(shared / "data" / f"{name}.npy", mmap_mode="r")[::4] for name in ("X", "Y", "patients"))
    planted = plant(*arrays, A_QUARTER, tmp_path / "patches")
    weights = shared / "weights" / "vgg16_imagenet_features.safetensors"
    explored(tmp_path, planted.folder, "--vgg16-weights", str(weights))
    found = check_faults(tmp_path, planted)
    with capsys.disabled():
        print(f"\nflipped labels among the first 150 suspects: {found} of 75")
    assert found >= 38


def arrays_in(folder: Path, pixels: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> Path:
    folder.mkdir()
    for name, array in (("X", pixels), ("Y", labels), ("patients", patients)):
        np.save(folder / f"{name}.npy", array)
    return folder


def told_of_pictures(numbers: dict[str, Any]) -> dict[str, str]:
    """Title -> what was found, of the findings about channels and levels."""
    titles = ("Red and blue may be exchanged", "Not the colours of haematoxylin and eosin", "Pixels of 0 and 1")
    return {one["title"]: one["found"] for one in numbers["findings"] if one["title"] in titles}


def test_exchanged_channels_of_real_patches_are_noticed_and_right_ones_are_not(shared: Path, tmp_path: Path) -> None:
    pixels, labels, patients = (
        np.load(shared / "data" / f"{name}.npy", mmap_mode="r")[::12] for name in ("X", "Y", "patients")
    )
    found = {}
    for name, order in (("RGB", [0, 1, 2]), ("BGR", [2, 1, 0]), ("GRB", [1, 0, 2])):
        folder = arrays_in(tmp_path / name, pixels[..., order], labels, patients)
        found[name] = told_of_pictures(explored(tmp_path / f"of-{name}", folder, "--vgg16-weights", "none"))
    assert found["RGB"] == {}
    assert list(found["BGR"]) == ["Red and blue may be exchanged"]
    assert next(iter(found["GRB"])) in ("Red and blue may be exchanged", "Not the colours of haematoxylin and eosin")


def test_patches_of_zeros_and_ones_are_told_apart_from_ink(tmp_path: Path) -> None:
    made = read_patches("synthetic:200")
    assert told_of_pictures(explored(tmp_path / "sound", "synthetic:200", "--vgg16-weights", "none")) == {}
    pixels = made.pixels.copy()
    pixels[:40] = np.round(pixels[:40] / 255)
    folder = arrays_in(tmp_path / "rounded", pixels, made.labels, made.patients)
    numbers = explored(tmp_path / "of", folder, "--vgg16-weights", "none")
    assert told_of_pictures(numbers)["Pixels of 0 and 1"] == "40 of 200 patches have no level above 1 of 255."


def test_one_patch_a_patient_is_not_told_as_a_few_that_hold_most(tmp_path: Path) -> None:
    made = read_patches("synthetic:200")
    patients = np.array([f"p{row}" for row in range(200)])
    numbers = explored(
        tmp_path, arrays_in(tmp_path / "patches", made.pixels, made.labels, patients), "--vgg16-weights", "none"
    )
    titles = [one["title"] for one in numbers["findings"]]
    assert "A few patients hold most patches" not in titles
    assert "Patients of one class" not in titles


def test_once_a_split_is_locked_only_development_patches_are_shown(tmp_path: Path) -> None:
    from search.comparison import Comparison, Division

    common = parse_explore(["--data", "synthetic:300", "--runs", str(tmp_path), "--study", "s"], {}).common
    everything = explored(tmp_path, "synthetic:300", "--vgg16-weights", "none")
    assert everything["sealed"] is None
    assert everything["totals"]["patches"] == 300
    before = explored(tmp_path, "synthetic:300", "--vgg16-weights", "none", everything=False)
    assert before["sealed"]["lock_digest"] == ""
    assert not (tmp_path / "studies.db").exists(), "a look makes no database"
    division = Division((70, 15, 15), 0, (), None)
    lock = Comparison.open(common, begin=True).prepared("synthetic:300", division).lock
    after = explored(tmp_path, "synthetic:300", "--vgg16-weights", "none", everything=False)
    assert after["sealed"] == {**before["sealed"], "lock_digest": lock.digest}, "launch draws what was shown before"
    assert after["totals"] == before["totals"]
    patches = read_patches("synthetic:300")
    part = parts(lock, patches)
    assert after["sealed"]["lock_digest"] == lock.digest
    assert after["sealed"]["patches"] == int((part == "test").sum())
    assert after["sealed"]["idc"] == int(patches.labels[part == "test"].sum())
    assert after["totals"]["patches"] == int((part != "test").sum())
    written = "".join(path.read_text(encoding="utf-8") for path in written_files(tmp_path / "s"))
    assert [name for name in patches.names[part != "test"] if name in written]
    assert [name for name in patches.names[part == "test"] if name in written] == []
    sealed_patients = set(patches.patients[part == "test"])
    assert {one["patient"] for one in after["patients"]} & sealed_patients == set()


@pytest.mark.parametrize("everything", [True, False])
def test_nothing_is_shown_of_patches_that_a_launch_locked_while_they_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], everything: bool
) -> None:
    """The launch had already counted what was seen before its lock: this look was of test patches, and on no record."""
    from search.comparison import Comparison, Division
    from search.upkeep import shown

    common = parse_explore(["--data", "synthetic:300", "--runs", str(tmp_path), "--study", "s"], {}).common
    asked = ["--data", "synthetic:300", "--runs", str(tmp_path), "--study", "s", "--vgg16-weights", "none"]

    def meanwhile(*given: Any, **named: Any) -> PatchSet:
        Comparison.open(common, begin=True).prepared("synthetic:300", Division((70, 15, 15), 7, (), None))
        return read_patches(*given, **named)

    monkeypatch.setattr(shown, "read_patches", meanwhile)
    with pytest.raises(UsageError, match="the split of s was locked while its patches were read"):
        main([*asked, *(["--all"] if everything else [])])
    assert not (tmp_path / "s" / "explored.npy").exists()
    assert not (tmp_path / "s" / "exploration.html").exists()
    assert not capsys.readouterr().out


def test_the_split_that_a_launch_draws_is_drawn_of_all_patches_also_where_others_have_sealed_some(
    tmp_path: Path,
) -> None:
    """It was drawn of the rest, so that the page named patches which the next launch seals."""
    from search.comparison import Comparison, Division

    common = parse_explore(["--data", "synthetic:300", "--runs", str(tmp_path), "--study", "other"], {}).common
    Comparison.open(common, begin=True).prepared("synthetic:300", Division((70, 15, 15), 7, (), None))
    numbers = explored(tmp_path, "synthetic:300", "--vgg16-weights", "none", everything=False)
    patches = read_patches("synthetic:300")
    lock = draw_lock(patches, "s", (70, 15, 15), 0)
    test, theirs = (parts(one, patches) == "test" for one in (lock, draw_lock(patches, "other", (70, 15, 15), 7)))
    assert numbers["sealed"]["patches"] == int(test.sum())
    assert numbers["exclusions"] == [["sealed for the test of other", int((theirs & ~test).sum())]]
    assert numbers["totals"]["patches"] == int((~test & ~theirs).sum())
    written = "".join(path.read_text(encoding="utf-8") for path in written_files(tmp_path / "s"))
    assert [name for name in patches.names[test] if name in written] == []


def written_files(folder: Path) -> list[Path]:
    return [folder / "exploration.html", folder / "exploration.json", *(folder / "tables").glob("data-*.csv")]


def test_a_lock_of_another_split_is_refused_and_not_passed_by(tmp_path: Path) -> None:
    from data_utils.errors import LockMismatchError

    lock = draw_lock(read_patches("synthetic:300:1"), "s", (70, 15, 15), 0)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "lock.json").write_text(lock.to_json(), encoding="utf-8")
    with pytest.raises(LockMismatchError):
        explored(tmp_path, "synthetic:300", "--vgg16-weights", "none", everything=False)


def test_patches_of_nobody_are_left_out_and_counted(tmp_path: Path) -> None:
    patches = read_patches("synthetic:200")
    owners = patches.patients.copy()
    owners[:10] = ""
    folder = tmp_path / "patches"
    folder.mkdir()
    for name, values in (("X", patches.pixels), ("Y", patches.labels), ("patients", owners)):
        np.save(folder / f"{name}.npy", values)
    numbers = explored(tmp_path, folder, "--vgg16-weights", "none")
    assert numbers["exclusions"] == [["no patient id", 10]]
    assert numbers["totals"]["patches"] == 190
    assert numbers["patient_ids"]


def test_without_patient_ids_the_page_says_what_cannot_be_known(tmp_path: Path) -> None:
    patches = read_patches("synthetic:200")
    folder = tmp_path / "patches"
    folder.mkdir()
    np.save(folder / "X.npy", patches.pixels)
    np.save(folder / "Y.npy", patches.labels)
    numbers = explored(tmp_path, folder, "--vgg16-weights", "none", "--sample", "100")
    assert (numbers["modelled"], numbers["to_model"]) == (100, 200)
    assert "Patients are unknown" in [one["title"] for one in numbers["findings"]]
    assert not numbers["patient_ids"]


def test_a_look_takes_the_documented_defaults_and_the_name_of_its_data() -> None:
    settings = parse_explore(["--data", "somewhere/patches.zip"], {})
    assert (settings.common.study, settings.sample, settings.seed) == ("patches", 20_000, 0)
    assert parse_explore([], {"HISTOTUNE_DATA": "else/where"}).common.study == "where"
    assert parse_explore([], {}).common.study == "data"


def test_a_sample_that_is_too_small_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_explore(["--sample", "10"], {})
    assert stop.value.code == 2
    assert "out of range" in capsys.readouterr().err
