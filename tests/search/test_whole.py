"""The main job from patches to predictions, by the commands that users type, with a third model dropped in."""

import csv
import json
import re
import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from scipy.special import expit, logit
from tree import Tree, copy_tree, stored_values

from search.command.settings import CommonSettings, parse_finalize
from search.comparison import Comparison
from search.errors import UsageError
from search.final.opening import check_reopening
from search.upkeep.checks import problems

LAUNCH = ("--model", "tiny", "--data", "synthetic:300", "--trials", "4", "--epochs", "3", "--study", "whole")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A comparison taken all the way to its report."""
    folder = tmp_path_factory.mktemp("whole")
    tree = copy_tree(folder / "tree", folder / "runs")
    rule = tree.folder / "search" / "final" / "neighbours.py"  # made-up patches have 1.6 neighbours each
    rule.write_text(rule.read_text(encoding="utf-8").replace("FEWEST = 2.0", "FEWEST = 1.0"), encoding="utf-8")
    tree.finalists = tree.draws = None
    tree.fresh = True
    tree.run("launch", *LAUNCH, "--workers", "2")
    shutil.copy(tree.runs / "studies.db", folder / "before.db")
    tree.run("finalize", "--study", "whole", "--workers", "2")
    tree.fresh = False
    return tree


def test_a_model_dropped_into_its_folder_is_searched_and_reported(whole: Tree) -> None:
    entry = whole.status("whole-tiny")
    assert entry["finished"] == 4
    assert set(entry["trials"]) <= {"COMPLETE", "PRUNED"}
    report = whole.runs / "whole" / "report.html"
    assert "tiny" in report.read_text(encoding="utf-8")
    told = json.loads((whole.runs / "whole" / "report.json").read_text(encoding="utf-8"))
    assert "tiny" in told["models"]


def toml(file: Path) -> dict[str, object]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def configurations(tree: Tree) -> dict[int, dict[str, float]]:
    """Trial number -> parameters, as the database has them."""
    with closing(sqlite3.connect(f"file:{tree.runs / 'studies.db'}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "select t.number, p.param_name, p.param_value from trials t join trial_params p using (trial_id)"
        ).fetchall()
    found: dict[int, dict[str, float]] = {}
    for number, name, value in rows:
        found.setdefault(number, {})[name] = value
    return found


def test_a_search_is_repeated_from_its_own_file(whole: Tree, tmp_path: Path) -> None:
    file = whole.runs / "whole" / "launch.toml"
    used = toml(file)
    assert (used["model"], used["trials"], used["epochs"], used["study"]) == ("tiny", 4, 3, "whole")
    assert isinstance(used["workers"], int)  # settled, as are these
    assert {used["device"], used["precision"], used["preprocess"]} & {"auto", None} == set()
    place = {"runs": str(tmp_path), "storage": f"sqlite:///{tmp_path}/studies.db"}
    elsewhere = Tree(whole.folder, tmp_path, place["storage"], finalists=None, draws=None)
    elsewhere.run("launch", "--config", str(file), "--workers", "1")
    assert toml(tmp_path / "whole" / "launch.toml") == used | place | {"workers": 1, "cpus-per-worker": ANY}
    assert configurations(elsewhere) == configurations(whole)
    assert len(configurations(whole)) == 4


def test_finalize_writes_what_it_used(whole: Tree) -> None:
    used = parse_finalize(["--config", str(whole.runs / "whole" / "finalize.toml")], {})
    assert (used.finalists, used.draws, used.reopen) == (4, 2000, None)
    assert (used.common.study, used.common.data, used.common.runs) == ("whole", "synthetic:300", whole.runs)
    assert used.worker.workers is not None


def test_finalize_again_reads_nothing_and_retrains_nothing(whole: Tree) -> None:
    members = {path: path.stat().st_mtime_ns for path in (whole.runs / "whole" / "tiny").rglob("*.safetensors")}
    told = whole.run("finalize", "--study", "whole").stdout
    assert "nothing was read again" in told
    assert {path: path.stat().st_mtime_ns for path in members} == members
    assert len(members) >= 5


def test_the_report_says_what_each_finalist_costs(whole: Tree) -> None:
    numbers = json.loads((whole.runs / "whole" / "report.json").read_text())
    rows = {row["name"]: row for row in numbers["deployed"]}
    model = numbers["models"]["tiny"]
    assert set(rows) - {"ensemble"} == {f"tiny {one['label']}" for one in model["candidates"]}
    for row in rows.values():
        cost = row["cost"]
        assert cost["milliseconds"] > 0
        assert cost["multiply_adds"] > 0
        assert cost["parameters"] == cost["networks"] * cost["parameters"] // cost["networks"] > 0
    assert [row["final"] for row in rows.values() if row["model"]].count(True) == 1
    assert (whole.runs / "whole" / "tables" / "cost.csv").read_text().count("\n") == 1 + len(rows)


def test_a_check_finds_nothing_wrong_and_then_what_was_edited(whole: Tree, tmp_path: Path) -> None:
    assert "1 study checked, 0 problems" in whole.run("status", "--check").stdout
    copied = shutil.copytree(whole.runs, tmp_path / "runs")
    edited = Tree(whole.folder, copied, finalists=None, draws=None)
    with (copied / "whole" / "opening" / "predictions.npz").open("ab") as file:
        file.write(b"!")
    lock = copied / "whole" / "lock.json"
    lock.write_text(lock.read_text().replace('"test"', '"train"', 1))
    with closing(sqlite3.connect(copied / "studies.db")) as connection, connection:
        connection.execute("drop trigger histotune_openings_no_UPDATE")
        connection.execute("update histotune_openings set reason = 'none'")
        connection.execute("drop trigger histotune_plans_no_UPDATE")
        connection.execute("update histotune_plans set text = replace(text, '2000', '2001')")
        connection.execute("delete from trial_intermediate_values where step = 1")
    told = edited.run("status", "--check", expect=1).stdout
    assert "predictions.npz was edited after the opening" in told
    assert "lock.json was edited" in told
    assert "the opening 1 was edited in the database" in told
    assert re.search(r"the plan [0-9a-f]{12} was edited in the database", told)
    assert "has holes in its epochs: 2, 3" in told


def without_head(content: bytes) -> bytes:
    return re.sub(rb'"chain_head": "[0-9a-f]{64}",|<dd class="hash">[0-9a-f]{64}</dd>', b"", content)


def of_the_beginning(content: bytes) -> bytes:
    numbers = rb'(?<="chain_head": ")[0-9a-f]{64}'
    page = rb'(?<=Head of the chain of records</dt><dd class="hash">)[0-9a-f]{64}'
    return re.sub(numbers + b"|" + page, b"0" * 64, content)


@pytest.mark.parametrize(
    ("file", "edit", "found"),
    [
        ("opening/predictions.npz", lambda content: content + b"!", ["predictions.npz was edited after the opening"]),
        ("opening/predictions.npz", None, ["predictions.npz is missing"]),
        (
            "test_predictions.csv",
            lambda content: content.replace(b",1\r\n", b",0\r\n", 1),
            ["csv was edited after the op"],
        ),
        ("test_predictions.csv", None, ["test_predictions.csv is missing: python -m search.report writes it again"]),
        ("lock.json", lambda content: content.replace(b'"test"', b'"train"', 1), ["lock.json was edited"]),
        ("lock.json", None, ["lock.json is missing"]),
        ("report.json", without_head, ["report.json names no head of the chain: it was edited"]),
        ("report.json", of_the_beginning, ["report.json is no link of the database's chain", "name different heads"]),
        ("report.json", None, []),  # written again by search.report
        ("report.html", without_head, ["report.html names no head of the chain: it was edited"]),
        ("report.html", of_the_beginning, ["report.html is no link of the database's chain", "name different heads"]),
        ("report.html", None, []),
    ],
)
def test_a_check_names_every_file_that_was_edited_or_lost(
    whole: Tree, tmp_path: Path, file: str, edit: Callable[[bytes], bytes] | None, found: list[str]
) -> None:
    copied = shutil.copytree(whole.runs, tmp_path / "runs")
    path = copied / "whole" / file
    if edit is None:
        path.unlink()
    else:
        before = path.read_bytes()
        path.write_bytes(edit(before))
        assert path.read_bytes() != before
    common = CommonSettings(None, "", f"sqlite:///{copied}/studies.db", copied, "info")
    told = problems(common)
    assert len(told) == len(found)
    assert all(words in line for words, line in zip(found, told, strict=True)), told


def test_a_folder_that_was_opened_under_another_database_is_refused(whole: Tree, tmp_path: Path) -> None:
    """Under the database as it was before the opening, and under a new one: either would count one opening."""
    copied = shutil.copytree(whole.runs, tmp_path / "runs")
    before = shutil.copy(whole.runs.parent / "before.db", tmp_path / "before.db")
    for database, command in ((before, ("finalize", "--study", "whole")), (tmp_path / "new.db", ("launch", *LAUNCH))):
        other = Tree(whole.folder, copied, storage=f"sqlite:///{database}", finalists=None, draws=None)
        for reason in ((), ("--reopen", "why not")) if command[0] == "finalize" else ((),):
            refused = other.run(*command, *reason, expect=2).stderr
            assert re.search(r"opened under another one.*--storage.*--study NEW", refused)
            assert len(refused.strip().splitlines()) == 1
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("select count(*) from histotune_openings").fetchall() == [(0,)]
    common = CommonSettings(None, "", f"sqlite:///{before}", copied, "info")
    assert "opened under another one" in problems(common)[0]


def test_predictions_that_were_lost_are_read_again_for_a_reason_and_counted(whole: Tree, tmp_path: Path) -> None:
    lost = Tree(whole.folder, shutil.copytree(whole.runs, tmp_path / "runs"), finalists=None, draws=None)
    folder = lost.runs / "whole"
    before = (folder / "test_predictions.csv").read_bytes()
    (folder / "opening" / "predictions.npz").unlink()
    for member in (folder / "opening").glob("members-*.npy"):
        np.save(member, np.zeros_like(np.load(member)))  # nothing of a damaged opening is taken for read
    for command in ("report", "finalize"):
        refused = lost.run(command, "--study", "whole", expect=2).stderr
        assert re.search(r'predictions.npz is missing: put it back from a backup, or .*--reopen "reason"', refused)
        assert len(refused.strip().splitlines()) == 1
    again = ("finalize", "--study", "whole", "--reopen", "the disk lost them")
    assert "test patches were read under it" in lost.run(*again).stdout
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert [opening["reason"] for opening in report["opening_log"]] == ["", "the disk lost them"]
    assert (folder / "test_predictions.csv").read_bytes() == before
    (folder / "environment.json").unlink()
    assert "nothing was read again" in lost.run(*again).stdout
    assert "1 study checked, 0 problems" in lost.run("status", "--check").stdout


def test_pictures_that_were_lost_are_missed_before_anything_is_retrained(whole: Tree, tmp_path: Path) -> None:
    copied = shutil.copytree(whole.runs, tmp_path / "runs")
    comparison = Comparison.open(CommonSettings(None, "", f"sqlite:///{copied}/studies.db", copied, "info"))
    last = comparison.ledger.last_opening("whole")
    assert last is not None
    text, _ = comparison.ledger.plan(last.plan_digest) or ("", None)
    planned = json.loads(text)["settings"]["planned"]
    check_reopening(comparison, None, planned)
    picture = next((copied / "whole" / "opening" / "examples").glob("*.png"))
    picture.unlink()
    with pytest.raises(UsageError, match=rf"{picture.name} cannot be read .*--reopen \"reason\""):
        check_reopening(comparison, None, planned)
    check_reopening(comparison, "the disk lost it", planned)


def test_another_plan_is_refused_without_a_reason_and_counted_with_one(whole: Tree, tmp_path: Path) -> None:
    refused = whole.run("finalize", "--study", "whole", "--draws", "500", expect=2)
    assert re.search(r"was opened before, under another plan.*--reopen", refused.stderr)
    assert len(refused.stderr.strip().splitlines()) == 1
    whole.run("finalize", "--study", "whole", "--draws", "500", "--reopen", "fewer draws for a test")
    report = json.loads((whole.runs / "whole" / "report.json").read_text(encoding="utf-8"))
    text = json.dumps(report)
    assert "fewer draws for a test" in text


def check_auc(told: float, rows: list[dict[str, str]]) -> None:
    """It is that of a table of predictions, whose digits leave open which of two patches comes first."""
    with_idc, without = ([float(row["probability"]) for row in rows if row["label"] == label] for label in "10")
    apart = [one - other for one in with_idc for other in without]
    digits = 1.1e-6
    surely, perhaps = (np.mean([gap > least for gap in apart]) for least in (digits, -digits))
    assert perhaps - surely < 0.1
    assert surely - 1e-9 <= told <= perhaps + 1e-9


def test_the_test_predictions_are_those_of_the_report(whole: Tree) -> None:
    with (whole.runs / "whole" / "test_predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "tiny"]
    assert list(rows[0]) == ["model", "name", "patient", "x", "y", "label", "probability", "predicted"]
    told = json.loads((whole.runs / "whole" / "report.json").read_text(encoding="utf-8"))
    check_auc(told["models"]["tiny"]["test"]["auc"]["value"], rows)


def test_the_final_model_predicts_its_test_patches_alike_and_says_that_they_were_sealed(
    whole: Tree, tmp_path: Path
) -> None:
    out = tmp_path / "predictions.csv"
    done = whole.run(
        "predict", "--model", str(whole.runs / "whole" / "tiny"), "--data", "synthetic:300", "--out", str(out)
    )
    assert "sealed test patches" in done.stderr
    with out.open(newline="") as file:
        mine = {row["name"]: row for row in csv.DictReader(file)}
    assert len(mine) == 300
    with (whole.runs / "whole" / "test_predictions.csv").open(newline="") as file:
        theirs = [row for row in csv.DictReader(file) if row["model"] == "tiny"]
    for row in theirs:
        assert float(mine[row["name"]]["probability"]) == pytest.approx(float(row["probability"]), abs=2e-6)
        assert mine[row["name"]]["predicted"] == row["predicted"]


def test_the_ensemble_is_the_mean_of_its_parts_and_predicts_alike_where_it_was_chosen(
    whole: Tree, tmp_path: Path
) -> None:
    folder = whole.runs / "whole"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    ensemble, chosen = report["ensemble"], report["models"]["tiny"]["chosen"]
    promises = {entry: found["promises"] for entry, found in report["closer"]["left_open"].items()}
    assert bool(promises["ensemble"]) == (ensemble["chosen"] and bool(promises["tiny"]))
    with (folder / "test_predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    said = {
        model: np.array([float(row["probability"]) for row in rows if row["model"] == model])
        for model in {row["model"] for row in rows}
    }
    entries = ["tiny" if part["label"] == chosen else f"tiny:{part['label']}" for part in ensemble["parts"]]
    mean = np.average(
        [logit(said[entry]) for entry in entries], axis=0, weights=[part["times"] for part in ensemble["parts"]]
    )
    np.testing.assert_allclose(said["ensemble"], expit(mean / ensemble["temperature"]), atol=1e-4)
    asked = ("predict", "--model", str(folder), "--data", "synthetic:300", "--out", str(tmp_path / "predictions.csv"))
    if not ensemble["chosen"]:
        assert "where its plan has chosen the ensemble" in whole.run(*asked, expect=2).stderr
        return
    assert "sealed test patches" in whole.run(*asked).stderr
    with (tmp_path / "predictions.csv").open(newline="") as file:
        mine = {row["name"]: float(row["probability"]) for row in csv.DictReader(file)}
    names = [row["name"] for row in rows if row["model"] == "ensemble"]
    np.testing.assert_allclose([mine[name] for name in names], said["ensemble"], atol=2e-6)


def test_the_score_that_looks_at_neighbours_is_tested_and_predicts_alike(whole: Tree, tmp_path: Path) -> None:
    folder = whole.runs / "whole"
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))["neighbours"]
    assert 1.4 < found["usual"] < 1.8
    place = folder if found["of"] == "ensemble" else folder / found["of"]
    asked = (
        "predict",
        "--data",
        "synthetic:300",
        "--neighbours",
        "--out",
        str(tmp_path / "predictions.csv"),
        "--model",
    )
    assert "with neighbours" in whole.run(*asked, str(place)).stderr
    with (tmp_path / "predictions.csv").open(newline="") as file:
        mine = {row["name"]: row for row in csv.DictReader(file)}
    with (folder / "test_predictions.csv").open(newline="") as file:
        theirs = [row for row in csv.DictReader(file) if row["model"] == "neighbours"]
    assert len(theirs) > 30
    for row in theirs:
        assert float(mine[row["name"]]["probability"]) == pytest.approx(float(row["probability"]), abs=2e-6)
        assert mine[row["name"]]["predicted"] == row["predicted"]
    check_auc(found["auc"]["value"], theirs)
    other = folder / "tiny" if place == folder else folder
    assert len(whole.run(*asked, str(other), expect=2).stderr.strip().splitlines()) == 1


def test_slides_are_shown_with_what_the_model_has_learned_of_them(whole: Tree, tmp_path: Path) -> None:
    folder = whole.runs / "whole"
    shown = json.loads((folder / "report.json").read_text(encoding="utf-8"))["slides"]
    assert len(list((folder / "opening" / "slides").glob("*.jpg"))) == len(shown) > 5
    tested = shown[0]["name"]
    learned = json.loads((folder / "data.json").read_text(encoding="utf-8"))["patients"][0][0]
    asked = ("heatmap", "--model", str(folder / "tiny"), "--data", "synthetic:300", "--out", str(tmp_path / "maps"))
    told = whole.run(*asked, "--patient", tested, learned).stderr
    patches = shown[0]["patches"]
    assert re.search(rf"{patches} of \d+ patches are sealed test patches of whole: .*; that is recorded", told)
    page = (tmp_path / "maps" / "heatmap.html").read_text(encoding="utf-8")
    assert page.count("are development patches of whole: the model learned from them") == 1
    assert page.count(f"{patches} of {patches} are test patches of whole.") == 1


def test_a_place_in_which_no_prediction_can_be_written_is_told_before_any_is_made(whole: Tree) -> None:
    model = str(whole.runs / "whole" / "tiny")
    told = whole.run("predict", "--model", model, "--data", "synthetic:300", "--out", "/proc/x.csv", expect=2).stderr
    assert told.startswith("--out /proc/x.csv: /proc cannot be written in (")
    assert told.count("\n") == 1


def test_other_settings_under_the_same_name_are_refused_in_one_line(whole: Tree) -> None:
    epochs = whole.run("launch", *LAUNCH[:6], "--epochs", "9", "--study", "whole", expect=2)
    assert "epochs 3, not 9" in epochs.stderr
    split = whole.run("launch", *LAUNCH, "--split-seed", "1", expect=2)
    assert "--study NEW" in split.stderr
    for refused in (epochs, split):
        assert len(refused.stderr.strip().splitlines()) == 1


def test_an_edited_lock_is_refused(whole: Tree) -> None:
    lock = whole.runs / "whole" / "lock.json"
    original = lock.read_text()
    try:
        lock.write_text(original.replace('"test"', '"train"', 1))
        assert "was edited" in whole.run("launch", *LAUNCH, expect=2).stderr
    finally:
        lock.write_text(original)


def test_the_report_is_written_again_from_what_is_stored(whole: Tree) -> None:
    report = whole.runs / "whole" / "report.html"
    report.unlink()
    whole.run("report", "--study", "whole")
    assert report.stat().st_size > 100_000


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(whole: Tree, tmp_path: Path) -> None:
    told = Tree(whole.folder, tmp_path / "none").run("launch", *LAUNCH, "--dry-run").stdout
    assert "learning_rate" in told
    assert "s an epoch" in told
    assert "checkpoints" in told
    assert not (tmp_path / "none").exists()


def test_the_same_command_again_does_nothing_and_a_larger_number_adds_the_difference(whole: Tree) -> None:
    before = stored_values(whole.runs / "studies.db")
    whole.run("launch", *LAUNCH)
    assert stored_values(whole.runs / "studies.db") == before
    more = [*LAUNCH[:5], "5", *LAUNCH[6:]]
    assert more[4:6] == ["--trials", "5"]
    whole.run("launch", *more)
    assert whole.status("whole-tiny")["finished"] == 5


def test_the_ensemble_has_a_control_where_that_is_asked_for(whole: Tree, tmp_path: Path) -> None:
    """Its members are trained beside what is there, and it is a further entrant of the next opening."""
    tree = Tree(whole.folder, shutil.copytree(whole.runs, tmp_path / "runs"), finalists=None)
    folder = tree.runs / "whole"
    before = {path: path.stat().st_mtime_ns for path in (folder / "tiny" / "members").rglob("*.safetensors")}
    numbers = json.loads((folder / "report.json").read_text())
    assert numbers["ensemble"]["beside_control"] is None
    assert "search.finalize --study whole --control" in numbers["ensemble"]["control"]
    refused = tree.run("finalize", "--study", "whole", "--control", expect=2).stderr
    assert "under another plan" in refused
    tree.run("finalize", "--study", "whole", "--control", "--reopen", "a control", "--workers", "2")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    numbers = json.loads((folder / "report.json").read_text())
    found, parts = numbers["ensemble"]["beside_control"], numbers["ensemble"]["parts"]
    assert found["parts"] == {"tiny": len(parts)}
    assert found["cost"]["networks"] == 5 * len(parts)
    assert found["cost"]["milliseconds"] > 0
    assert (found["comparison"]["first"], found["comparison"]["second"]) == ("ensemble", "control")
    added = set((folder / "tiny" / "members").rglob("*.safetensors")) - set(before)
    control = numbers["plan"]["ensemble"]["control"]
    assert len(control["averaged"]) == 5
    assert len(added) == 5 * (len(control["parts"]) + len(control["others"]))
    with (folder / "test_predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "control"]
    check_auc(found["auc"]["value"], rows)
    first_screen = (folder / "report.html").read_text().split('<header id="summary">')[1].split("</header>")[0]
    assert numbers["ensemble"]["control"] in first_screen
    assert "nothing was read again" in tree.run("finalize", "--config", str(folder / "finalize.toml")).stdout
