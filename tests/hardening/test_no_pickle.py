"""Nothing that a file names is called, and no text is run as code: held on the syntax tree.

Arrays are read without pickle. PyTorch's own files are read by its unpickler of weights, which builds tensors and plain
containers and calls nothing, in two places: checkpoints of this project, and VGG16's weights in a ``.pth`` file.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("search", "models", "data_utils", "studies", "benchmarks", "soak")

SAFE_IF = {
    "numpy.load": ("allow_pickle", False),
    "numpy.lib.format.read_array": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}
"""Readers that can unpickle, and the argument that keeps them from it; it must be spelled out."""
UNPICKLE_WEIGHTS = {"search/workers/checkpoints.py", "models/_torch_file.py"}
"""The places where ``torch.load`` may be called at all."""
READS_BACK = {("torch.jit.load", "search/applied/model_files.py")}
"""What the same call has just written, to see that the file says what the model says; no file of a user's is opened."""
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
UNSAFE = {
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle", "torch.jit.load",
    "torch.hub.load", "numpy.fromregex", "eval", "exec", "compile", "__import__",
}  # fmt: skip


def problems(source: str, file: str) -> list[str]:
    """Every place of a source text that could unpickle a file or run a text, as ``file:line: what``."""
    tree = ast.parse(source)
    known = dict(imported(tree))
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = [(line, f"imports {name}") for line, name in modules(tree) if name.split(".")[0] in UNSAFE_MODULES]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        name = dotted(node, known)
        if name in SAFE_IF and not is_safe(called.get(id(node)), *SAFE_IF[name]):
            argument, value = SAFE_IF[name]
            found.append((node.lineno, f"{name} without {argument}={value}"))
        elif name == "torch.load" and file not in UNPICKLE_WEIGHTS:
            found.append((node.lineno, "torch.load in another file than checkpoints and weights"))
        elif name in UNSAFE and id(node) in called and (name, file) not in READS_BACK:
            found.append((node.lineno, f"calls {name}"))
    return [f"{file}:{line}: {what}" for line, what in sorted(found)]


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name in the file, what it stands for)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                (one.asname or one.name.split(".")[0], one.name if one.asname else one.name.split(".")[0])
                for one in node.names
            )
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((one.asname or one.name, f"{node.module}.{one.name}") for one in node.names)


def modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def dotted(node: ast.expr, known: dict[str, str]) -> str:
    """``np.load`` -> "numpy.load", whatever it was imported as; "" for what is no plain name."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, known)
        return f"{before}.{node.attr}" if before else ""
    return ""


def is_safe(call: ast.Call | None, argument: str, value: bool) -> bool:
    """Whether the argument is spelled out; a function that is handed on without a call is not."""
    given = [one.value for one in call.keywords if one.arg == argument] if call else []
    return bool(given) and isinstance(given[0], ast.Constant) and given[0].value is value


def test_no_package_unpickles_a_file_or_runs_a_text() -> None:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(files) > 100
    named = [(path, str(path.relative_to(ROOT))) for path in files]
    assert [problem for path, name in named for problem in problems(path.read_text(encoding="utf-8"), name)] == []


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import numpy as np\nnp.load(file)", "2: numpy.load without allow_pickle=False"),
        ("import numpy as np\nnp.load(file, allow_pickle=True)", "2: numpy.load without allow_pickle=False"),
        ("import numpy as np\nnp.load(file, allow_pickle=wanted)", "2: numpy.load without allow_pickle=False"),
        ("import numpy as np\nread = partial(np.load, mmap_mode='r')", "2: numpy.load without allow_pickle=False"),
        ("from numpy import load\nload(file)", "2: numpy.load without allow_pickle=False"),
        ("import torch\ntorch.load(file, map_location='cpu')", "2: torch.load without weights_only=True"),
        ("import torch as t\n\nt.load(file, weights_only=False)", "3: torch.load without weights_only=True"),
        (
            "from torch import load\nload(f, weights_only=True)",
            "2: torch.load in another file than checkpoints and weights",
        ),
        ("import pickle", "1: imports pickle"),
        ("from joblib import load", "1: imports joblib"),
        ("def read():\n    import dill.source", "2: imports dill.source"),
        ("import yaml\nyaml.load(text, Loader=yaml.Loader)", "2: calls yaml.load"),
        ("eval(text)", "1: calls eval"),
        ("exec(text, {})", "1: calls exec"),
    ],
)
def test_whatever_could_is_named_with_its_line(source: str, what: str) -> None:
    assert problems(source, "f.py") == [f"f.py:{what}"]


@pytest.mark.parametrize("file", sorted(UNPICKLE_WEIGHTS))
def test_weights_are_unpickled_in_two_places_and_as_weights(file: str) -> None:
    assert "torch.load(" in (ROOT / file).read_text(encoding="utf-8")
    assert problems("import torch\ntorch.load(file, weights_only=True)", file) == []
    assert problems("import torch\ntorch.load(file)", file) == [f"{file}:2: torch.load without weights_only=True"]


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load(file, allow_pickle=False)",
        "network.eval()",
        "import yaml\nyaml.safe_load(text)",
        "import re\nre.compile(text)",
        "import json\njson.load(file)",
    ],
)
def test_what_is_safe_is_let_pass(source: str) -> None:
    assert problems(source, "f.py") == []
