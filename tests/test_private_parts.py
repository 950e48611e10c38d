"""Private parts of Optuna and Ray are named in one file each: what the next release may break stands there."""

import ast
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("search", "models", "data_utils", "studies", "soak", "benchmarks", "tests")
MAY_NAME = {
    "studies/storage/_optuna.py": "the file for Optuna",
    "search/workers/_ray.py": "the file for Ray",
    "tests/forked_workers.py": "has Ray start forks in the place of its workers",
    "tests/forks.py": "imports beforehand what commands import",
    "tests/hosts.py": "has Ray find a dead node in seconds, not in a minute",
    "tests/studies/storage/test_optuna.py": "looks into Optuna's cache for calls that are not waited for",
    "tests/hardening/test_intruders.py": "an intruder looks where nothing public leads: at what Ray stores of its jobs",
    "tests/test_private_parts.py": "this one, which tries what it finds",
}
"""Files that name a private part -> why."""
DOTTED = re.compile(r"\b(?:optuna|ray|tune)(?:\.\w+)*\._[A-Za-z]\w*")
"""As in ``optuna.storages._rdb``, in code, in text and in the code of other processes."""
FLAG = re.compile(r"\bRAY_[a-z]\w+|\bTUNE_WARN_EXCESSIVE\w+")
"""Variables that Ray's pages do not list: flags of its C++, which are written like this, and one of Tune's."""


@pytest.fixture(scope="module")
def of_optuna() -> set[str]:
    """Private names of the objects that Optuna hands out and takes."""
    study = optuna.create_study()
    trial = study.ask()
    study.tell(trial, 0.0)
    live = (study, trial, study.trials[0], trial.storage, FloatDistribution(0, 1), CategoricalDistribution(["a"]))
    names = {name for one in live for name in (*dir(one), *vars(one))} | set(dir(RDBStorage))
    return {name for name in names if re.match(r"_[a-z]", name)}


def named(path: str, text: str, of_optuna: set[str]) -> Iterator[str]:
    """The private parts that a file names."""
    yield from DOTTED.findall(text)
    yield from FLAG.findall(text)
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("optuna", "ray"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names if re.match(r"_[A-Za-z]", alias.name))
        if isinstance(node, ast.Attribute) and node.attr in of_optuna and not _is_own(node.value):
            yield f"{ast.unparse(node)}"
        if isinstance(node, ast.ClassDef) and "Storage" in " ".join(map(ast.unparse, node.bases)):
            yield from (f"{node.name}.{name}" for name in _defined(node) if name in of_optuna)


def _is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def _defined(node: ast.ClassDef) -> Iterator[str]:
    return (inner.name for inner in node.body if isinstance(inner, ast.FunctionDef))


def sources() -> list[str]:
    asked = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *FOLDERS]
    listed = subprocess.run(asked, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: cannot tell the project's files from others")
    return [name for name in listed.stdout.split("\0") if name.endswith(".py") and (ROOT / name).is_file()]


def test_no_other_file_names_a_private_part_of_optuna_or_ray(of_optuna: set[str]) -> None:
    found = {name: set(named(name, (ROOT / name).read_text(encoding="utf-8"), of_optuna)) for name in sources()}
    assert {name: parts for name, parts in found.items() if parts and name not in MAY_NAME} == {}
    assert {name for name, parts in found.items() if parts} == set(MAY_NAME)


@pytest.mark.parametrize(
    "line",
    [
        "import optuna.storages._rdb.models",
        "from optuna.storages._rdb import models",
        "from optuna.storages import RDBStorage, _CachedStorage",
        "study._storage.remove_session()",
        "trial._trial_id",
        "from ray._private import worker",
        "PROBE = 'import ray; ray._private.state.jobs()'",
        'os.environ["RAY_worker_niceness"] = "0"',
        "class Ours(RDBStorage):\n    def _get_trials(self): ...",
    ],
)
def test_it_would_be_found(line: str, of_optuna: set[str]) -> None:
    assert list(named("x.py", line, of_optuna))


def test_what_is_public_or_our_own_is_not_found(of_optuna: set[str]) -> None:
    line = "from ray.tune import Stopper\nfrom studies.storage._rdb import PatientStorage\nself._storage.get_trial(1)"
    assert list(named("x.py", line, of_optuna)) == []


def test_a_ray_of_our_own_starts_without_processes_that_nobody_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is replaced must be what Ray calls: another name would be set without a word."""
    from ray._private.node import Node

    from search.workers._ray import start_no_more_than_needed

    names = ("start_monitor", "start_log_monitor", "start_api_server")
    for name in names:
        monkeypatch.setattr(Node, name, getattr(Node, name))  # fails where there is none; put back after the test
    called = inspect.getsource(Node.start_head_processes) + inspect.getsource(Node.start_ray_processes)
    assert [name for name in names if f"self.{name}(" not in called] == []
    start_no_more_than_needed()
    node = object.__new__(Node)
    for name in names:
        getattr(node, name)(**({"include_dashboard": False, "raise_on_failure": False} if "api" in name else {}))
    assert node.webui_url is None


def test_workers_start_without_a_program_before_them() -> None:
    """It runs where Tune asks for variables; what is emptied must be what Tune takes them from."""
    from ray import tune
    from ray.tune.execution.class_cache import _ActorClassCache

    from search.workers._ray import start_workers_directly

    start_workers_directly()
    actor = _ActorClassCache().get(tune.Trainable)
    assert not actor._default_options.get("runtime_env")
