"""Models of other packages: found by where they are imported from, and named in a line where they are not."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest
from foreign import EXAMPLE, PACKAGE, STORED, TYPED, forget, install

from models._errors import ModelError
from models._foreign import import_folders, is_foreign, stored_name, typed_name
from models._registry import load_model, source_digest, words_for
from search.command.settings import MODELS, parse_launch


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of the model, in a package on the path of this process."""
    monkeypatch.syspath_prepend(tmp_path)
    yield install(tmp_path)
    forget("lonely")


def test_a_file_of_another_package_is_a_model_by_its_import_path(file: Path, tmp_path: Path) -> None:
    model = load_model(STORED)
    assert model.name == STORED
    assert model.build(model.configuration(model.default), None) is not None
    assert source_digest(STORED) == sha256(EXAMPLE.encode()).hexdigest()
    assert import_folders((STORED, "cnn")) == (str(tmp_path),)
    assert words_for(STORED) == f"the file of {TYPED}"


def test_an_object_that_offers_the_same_is_one_as_well(file: Path, tmp_path: Path) -> None:
    text = "class NET:\n    suggest, DEFAULT, build = tiny.suggest, tiny.DEFAULT, tiny.build\n"
    (tmp_path / "lonely.py").write_text(f"from {PACKAGE}.nets import tiny\n\n{text}")
    model = load_model("lonely.NET")
    assert model.configuration(model.default) == load_model(STORED).configuration(model.default)
    digests = [sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "lonely.py", file)]
    assert source_digest("lonely.NET") == sha256("".join(digests).encode()).hexdigest()
    assert import_folders(("lonely.NET",)) == (str(tmp_path),)


OBJECT = f"""from types import SimpleNamespace
from {PACKAGE}.nets import tiny
def suggest(trial): return tiny.suggest(trial)
def build(config, weights): return tiny.build(config, weights)
MODEL = SimpleNamespace(suggest=suggest, DEFAULT=tiny.DEFAULT, build=build)
"""


PASSING = {
    "by its whole path": "from lonely.net import MODEL",
    "all": "from .net import *",
    "by name": "from .net import MODEL",
    "in a try": "try:\n    from .net import MODEL\nexcept ImportError:\n    from .slow import MODEL",
    "behind what failed": "try:\n    from .never import MODEL\nexcept ImportError:\n    from .net import MODEL",
    "above the package": "try:\n    from ...net import MODEL\nexcept ImportError:\n    from .net import MODEL",
    "as it is asked for": "def __getattr__(name):\n    from .net import MODEL\n    return MODEL",
    "from a module": "from . import net\nMODEL = net.MODEL",
    "from a module by its path": "import lonely.net\nMODEL: object = lonely.net.MODEL",
    "under another name": "from .net import MODEL as NET\nMODEL = NET",
}


@pytest.mark.parametrize("line", PASSING.values(), ids=PASSING)
def test_a_model_that_a_package_imports_is_known_by_the_file_in_which_it_is_written(
    file: Path, tmp_path: Path, line: str
) -> None:
    net = tmp_path / "lonely" / "net.py"
    net.parent.mkdir()
    (net.parent / "__init__.py").write_text(f"{line}\n")
    net.write_text(OBJECT)
    before = source_digest("lonely.MODEL")
    assert before == source_digest("lonely.net.MODEL") == sha256(OBJECT.encode()).hexdigest()
    net.write_text(f"{OBJECT}\nWIDTH = 3\n")
    assert source_digest("lonely.MODEL") != before


def test_a_model_of_several_files_is_known_by_where_it_is_made_and_where_its_functions_are_written(
    file: Path, tmp_path: Path
) -> None:
    """As where a class of another file is given its numbers; what decorates a function is not where it is written."""
    package = tmp_path / "lonely"
    package.mkdir()
    made = f"from types import SimpleNamespace\nfrom {PACKAGE}.nets import tiny\nfrom .net import build, suggest\n"
    decorated = "from functools import lru_cache\nfrom lonely.suggestions import suggest\n"
    texts = {
        "__init__.py": "from .made import MODEL as NET\n",
        "made.py": f"{made}MODEL = SimpleNamespace(suggest=suggest, DEFAULT=tiny.DEFAULT, build=build)\n",
        "net.py": f"{decorated}@lru_cache\ndef build(config, weights): return None\n",
        "suggestions.py": "def suggest(trial): return trial\n",
    }
    for name, text in texts.items():
        (package / name).write_text(text)
    seen = {source_digest("lonely.NET")}
    for name in ("made.py", "net.py", "suggestions.py"):
        (package / name).write_text(f"{texts[name]}# edited\n")
        seen.add(source_digest("lonely.NET"))
    assert len(seen) == 4


def laid(folder: Path, texts: Mapping[str, str]) -> Path:
    """The package "lonely" of these files."""
    package = folder / "lonely"
    package.mkdir()
    for name, text in texts.items():
        (package / name).write_text(text)
    return package


@pytest.mark.parametrize(
    ("build", "text"),
    [
        ("partial(partial(build, weights=None))", "def build(config, weights): return None\n"),
        ("partial(build)", "from functools import cache\n@cache\ndef build(config, weights): return None\n"),
        ("build()", "class build:\n    def __call__(self, config, weights): return None\n"),
    ],
    ids=["partial", "decorated", "object"],
)
def test_what_gives_build_its_arguments_or_is_called_is_known_by_the_file_in_which_it_is_written(
    file: Path, tmp_path: Path, build: str, text: str
) -> None:
    made = OBJECT.replace("def build(", "def passed_by(").replace("build=build", f"build={build}")
    texts = {"__init__.py": "", "net.py": f"from functools import partial\nfrom .built import build\n{made}"}
    package = laid(tmp_path, {**texts, "built.py": text})
    before = source_digest("lonely.net.MODEL")
    (package / "built.py").write_text(f"{text}# edited\n")
    assert source_digest("lonely.net.MODEL") != before


def test_an_object_that_two_modules_import_from_each_other_is_known_by_the_one_that_makes_it(
    file: Path, tmp_path: Path
) -> None:
    texts = {"__init__.py": "from .over import *\n", "over.py": "from .net import *\n"}
    laid(tmp_path, {**texts, "net.py": f"{OBJECT}from . import over\n"})
    digests = {source_digest(name) for name in ("lonely.MODEL", "lonely.over.MODEL", "lonely.net.MODEL")}
    assert digests == {sha256(f"{OBJECT}from . import over\n".encode()).hexdigest()}


def test_what_is_in_no_file_counts_for_nothing_beside_a_file(file: Path, tmp_path: Path) -> None:
    line = "exec('def suggest(trial): return tiny.suggest(trial)')\n"
    text = OBJECT.replace("def suggest(trial): return tiny.suggest(trial)\n", line)
    assert line in text
    laid(tmp_path, {"__init__.py": "", "net.py": text})
    assert source_digest("lonely.net.MODEL") == sha256(text.encode()).hexdigest()


def test_a_model_in_a_zip_is_refused_in_one_line(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "packed.zip"
    with ZipFile(packed, "w") as archive:
        archive.writestr("lonely/__init__.py", OBJECT)
    monkeypatch.syspath_prepend(packed)
    assert load_model("lonely.MODEL").name == "lonely.MODEL"
    found = f"found: {packed}/lonely/__init__.py"
    with pytest.raises(
        ModelError, match=rf"lonely:MODEL lies in no file that can be read \({found}\): expected"
    ) as told:
        source_digest("lonely.MODEL")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nowhere.nets:tiny",
            "no module 'nowhere' is found here. Install its package in this environment, on every mac",
        ),
        (f"{PACKAGE}.nots:tiny", f"no module '{PACKAGE}.nots' is found here"),
        (f"{PACKAGE}.nets:tinny", f"the module {PACKAGE}.nets has no 'tinny'"),
        (f"{PACKAGE}.nets.tiny:MODEL", f"The module itself is a model: give {TYPED}."),
        (f"{PACKAGE}.broken:it", r"cannot be imported \(ZeroDivisionError: .*\): mend its file or its package"),
        (f"{PACKAGE}.needy:it", r"cannot be imported \(ModuleNotFoundError: No module named 'never_installed'\)"),
        (f"{PACKAGE}:empty", f"the file of {PACKAGE}:empty offers no suggest, DEFAULT, build; a model needs"),
    ],
)
def test_what_is_no_model_is_named_in_one_line(file: Path, name: str, message: str) -> None:
    for module, text in (("broken", "1 / 0"), ("needy", "import never_installed"), ("empty", "")):
        (file.parents[1] / f"{module}.py").write_text(text)
    stored = stored_name(name)
    assert stored is not None
    with pytest.raises(ModelError, match=message) as refused:
        load_model(stored)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("typed", ["a:", ":b", "a..b", "a/b:c", "../a:b", "a b:c", "a.b:c:d", "1a:b", f"a:{'b' * 80}"])
def test_what_can_be_no_import_path_is_no_name_of_a_study_or_folder_either(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stored_name(typed) is None
    with pytest.raises(SystemExit):
        parse_launch(["--model", typed, "--data", "x"], {})
    assert "is no model of another package; give package.module:MODEL" in capsys.readouterr().err


def test_they_are_searched_beside_those_that_are_here() -> None:
    assert parse_launch(["--model", f"all,{TYPED}", "--data", "x"], {}).models == (*MODELS, STORED)
    settings = parse_launch(["--model", f"{TYPED},cnn", "--data", "x", "--set", f"{TYPED}.width=8,cnn.width=16"], {})
    assert settings.models == (STORED, "cnn")
    assert [str(one) for one in settings.space] == [f"{STORED}.width=8", "cnn.width=16"]
    again = ["--model", STORED, "--data", "x", "--set", f"{STORED}.width=8..16"]  # as launch.toml has it
    assert parse_launch(again, {}).models == (STORED,)
    assert typed_name(STORED) == TYPED
    assert [is_foreign(name) for name in (STORED, TYPED, *MODELS)] == [True, True, *[False] * len(MODELS)]
