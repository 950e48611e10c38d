"""``search.api``: the docs and the notebook as they are written, what is left behind, and what is refused."""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from forks import Forks

from search import api
from search.command import applying, settings
from search.command.called import call_of, keywords, settings_of
from search.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
WALK = ROOT / "docs" / "walk.ipynb"
DRIVER = Path(__file__).with_name("walked.py")
HEAVY = ("torch", "ray", "optuna", "sqlalchemy", "plotly", "pyarrow")
FUNCTIONS = [
    getattr(api, name) for name in ("explore", "launch", "finalize", "report", "status", "predict", "heatmap", "export")
]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A folder in which the snippets of docs/library.md were run in one process, and what that process told."""
    folder = tmp_path_factory.mktemp("walk")
    command = [sys.executable, "-c", DRIVER.read_text(encoding="utf-8")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SNIPPETS": str(ROOT / "docs" / "library.md")}
    done = Forks().run(command, folder=folder, environment=environment, seconds=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return folder, json.loads((folder / "told.json").read_text(encoding="utf-8"))


def test_every_snippet_of_the_docs_runs_and_prints_what_the_docs_say(walked: tuple[Path, dict[str, object]]) -> None:
    folder, told = walked
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    assert told["snippets"] == text.count("```python")
    printed = str(told["printed"])
    for said in (
        "runs/synthetic-60/exploration.html",
        "--trials: 0 is out of range; give a whole number from 1 to 1000000",
    ):
        assert f"# {said}" in text
        assert f"{said}\n" in printed
    assert "synthetic-60-cnn 2 of 2 Best(trial=" in printed
    assert (folder / "cnn.md").is_file()
    assert (folder / "slides" / "heatmap.html").is_file()


def test_ctrl_c_ends_a_search_in_order_and_the_same_call_goes_on(walked: tuple[Path, dict[str, object]]) -> None:
    _, told = walked
    assert str(told["interrupted"]).startswith("ended in order; go on with: search.api.launch(model='cnn', data=")
    assert "synthetic-60-cnn 2 of 2" in str(told["printed"])


def test_a_call_leaves_its_process_as_it_was(walked: tuple[Path, dict[str, object]]) -> None:
    _, told = walked
    assert told["left"] == {}


@pytest.mark.skipif(importlib.util.find_spec("nbclient") is None, reason="make install brings nbclient and ipykernel")
def test_the_notebook_runs_and_shows_plain_lines(
    walked: tuple[Path, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    folder, _ = walked  # the same calls, which find what was done
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(WALK, as_version=4)
    nbformat.validate(book)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert {output["output_type"] for output in shown} == {"stream"}  # neither HTML of Rich nor a widget
    text = "".join(output["text"] for output in shown)
    assert "synthetic-60-cnn" in text
    assert "\x1b" not in text


def test_the_notebook_keeps_no_outputs_and_says_the_same_as_the_docs() -> None:
    book = json.loads(WALK.read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell.get("outputs") for cell in book["cells"] if cell["cell_type"] == "code"] == [[]] * len(code)
    docs = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    assert [one for one in code[1:] if one not in docs] == []
    assert [
        line for line in code[0].splitlines() if line not in docs and not line.startswith("from search.api import")
    ] == []


def test_the_keywords_for_type_checkers_are_those_of_the_commands() -> None:
    script = load(ROOT / "docs" / "keywords.py")
    assert script.PLACE.read_text(encoding="utf-8") == script.written(), "run python docs/keywords.py"


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_a_function_has_the_signature_of_its_command_and_says_what_each_keyword_does(
    function: Callable[..., object],
) -> None:
    known = keywords(settings.COMMANDS[function.__name__])
    shown = inspect.signature(function).parameters
    assert [name for name in shown if name != "progress"] == list(known)
    assert function.__doc__ is not None
    assert all(f"\n    {name}" in function.__doc__ for name in shown)
    for name, option in known.items():
        if isinstance(option.default, int | float | str) and name != "out":
            assert shown[name].default == option.default


def test_every_package_tells_type_checkers_that_it_is_typed() -> None:
    assert [
        name for name in ("search", "models", "data_utils", "studies") if not (ROOT / name / "py.typed").is_file()
    ] == []


def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import sys, search.api; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "given",
    [
        {"model": "cn"},
        {"model": "cnn", "trials": 0},
        {"model": "cnn", "split": (60, 20, 30)},
        {"model": "cnn", "set": {"cnn.width": ""}},
        {"model": "cnn", "device": "cpu", "gpus_per_worker": 0.5},
        {"model": "cnn", "split_file": str(ROOT / "README.md"), "split_seed": 0},
        {},
    ],
    ids=str,
)
def test_bad_input_is_what_the_command_says(given: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    def typed(value: object) -> str:
        if isinstance(value, dict):
            return ",".join(f"{key}={one}" for key, one in value.items())
        return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)

    argv = [f"--{name.replace('_', '-')}={typed(value)}" for name, value in given.items()]
    with pytest.raises(SystemExit) as ended:
        settings.parse_launch(argv)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    with pytest.raises(UsageError) as refused:
        api.launch(**given)  # type: ignore[arg-type]
    assert said.endswith(f": {refused.value}\n")
    assert capsys.readouterr().err == ""


def test_what_comes_of_the_work_has_the_more_exact_one_as_its_cause(tmp_path: Path) -> None:
    with pytest.raises(api.UsageError, match=r"there is no database .*studies\.db yet") as refused:
        api.status(runs=tmp_path)
    assert isinstance(refused.value, api.SearchError)
    assert type(refused.value.__cause__).__name__ == "StorageError"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"trial": 3}, r"launch\(\) got an unexpected keyword argument 'trial', did you mean trials\?"),
        ({"dry_run": True}, "unexpected keyword argument 'dry_run'"),
        ({"data": object()}, "data is a object; give text, a number, a path"),
    ],
)
def test_what_no_command_could_be_given_is_a_type_error(given: dict[str, object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        api.launch(model="cnn", **given)  # type: ignore[arg-type]


def test_keywords_become_the_settings_that_flags_would() -> None:
    given = {"model": ["cnn", "vgg16"], "trials": 3, "data": Path("x"), "split": (60, 20, 20), "timeout": None}
    read = settings_of(settings.parse_launch, settings.LaunchSettings, given)
    typed = ["--model", "cnn,vgg16", "--trials", "3", "--data", "x", "--split", "60/20/20"]
    assert read == settings.parse_launch(typed)
    many = settings_of(
        settings.parse_predict, applying.PredictSettings, {"model": "m", "out": "o", "data": ["-a", "b"]}
    )
    assert many.data == ("-a", "b")


def test_a_call_is_told_without_its_password() -> None:
    given = {"model": "cnn", "runs": Path("there"), "storage": "postgresql://me:secret@host/name"}
    told = call_of(settings.LaunchSettings, given)
    assert told == "search.api.launch(model='cnn', runs='there', storage='postgresql://me:***@host/name')"
