"""What a node proves before its first job, and how one that differs is left out, by name and in one line."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from search.errors import UsageError
from search.training.jobs import WorkerContext
from search.workers.probe import LIBRARIES, PACKAGES, Answer, Poll, Proofs, Question, difference, prove
from search.workers.room import Node
from search.workers.trainable import TrialWorker

HERE = Node("here", 1, 0, "1", "10.0.0.1")
OTHER = Node("other", 1, 0, "2", "10.0.0.2")
HEAD = Node("head", 0, 0, "3", "10.0.0.3")


@pytest.fixture
def context(tmp_path: Path) -> WorkerContext:
    """What workers need, with a folder of patches."""
    (tmp_path / "development").mkdir()
    (tmp_path / "development" / "pixels.npy").write_bytes(b"abc")
    return WorkerContext(tmp_path / "development", "cpu", "fp32", 1, {"cnn": "nchw"}, "auc", {"cnn": None})


def test_a_process_proves_its_sources_and_versions(context: WorkerContext) -> None:
    digests, versions = Question.of(context).answered_here()
    assert {"search/workers/probe.py", "models/cnn.py", "studies/__init__.py", "data_utils/match.py"} <= digests.keys()
    assert {name.partition("/")[0] for name in digests} == set(PACKAGES)
    assert versions.keys() == {"Python", *LIBRARIES}
    assert difference((digests, versions), Question.of(context).answered_here()) is None


def test_models_of_other_packages_are_sources_too(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").touch()
    (tmp_path / "theirs" / "net.py").touch()
    (tmp_path / "single.py").touch()
    digests, _ = prove(["theirs", "single", "nowhere"], [str(tmp_path)], [])
    assert sorted(digests) == ["single.py", "theirs/__init__.py", "theirs/net.py"]


ANSWER: Answer = ({"search/a.py": "1", "search/b.py": "2"}, {"torch": "2.14.1", "numpy": "2.4"})


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (({**ANSWER[0], "search/a.py": "9"}, *ANSWER[1:]), "its sources are others (search/a.py)"),
        (({}, *ANSWER[1:]), "it lacks the package search"),
        (({"search/a.py": "1", "search/b.py": "3"}, *ANSWER[1:]), "its sources are others (search/b.py)"),
        (
            (ANSWER[0] | {"search/c.py": "3", "search/a.py": "9", "search/d.py": "4"}, *ANSWER[1:]),
            "its sources are others (search/a.py, search/c.py and 1 more)",
        ),
        ((ANSWER[0], {"torch": "2.9.0", "numpy": "2.4"}), "its torch is 2.9.0, not 2.14.1"),
    ],
)
def test_a_difference_is_told_in_words(there: Answer, told: str) -> None:
    assert difference(ANSWER, there) == told


def test_a_package_of_the_users_that_a_node_lacks_is_named_before_any_job(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    for name in ("__init__.py", "net.py"):
        (tmp_path / "theirs" / name).touch()
    question = Question(("models", "theirs"), (str(tmp_path),))
    there = prove(question.packages, ["/only/on/the/host/of/the/launch"], LIBRARIES)
    proofs = Proofs(question, print, answering(question.answered_here(), n2=there), nodes=lambda: [HEAD, OTHER])
    with pytest.raises(
        UsageError, match=r"\(other: it lacks the package theirs\): install there what is installed here"
    ):
        proofs.wait(lambda: None)


def answering(here: Answer, **others: Answer | str) -> Callable[[Question, str], Poll]:
    """Each node answers at the second look."""

    def ask(question: Question, node: str) -> Poll:
        answers = itertools.chain([None], itertools.repeat(others.get(f"n{node}", here)))
        return lambda: next(answers)

    return ask


def test_one_that_differs_is_left_out_and_one_that_joins_is_asked(context: WorkerContext) -> None:
    question, told = Question.of(context), list[str]()
    here = question.answered_here()
    changed = (here[0], {**here[1], "numpy": "1.0"})
    nodes = [HEAD, HERE, OTHER]
    proofs = Proofs(question, told.append, answering(here, n2=changed, n4="no"), nodes=lambda: nodes)
    proofs.wait(lambda: None)
    assert [proofs.proven(node.id) for node in nodes] == [False, True, False]
    assert told == [f"node other (10.0.0.2) is left out: its numpy is 1.0, not {here[1]['numpy']}"]
    nodes += [Node("late", 1, 0, "5"), Node("broken", 1, 0, "4", "10.0.0.4")]
    proofs.look()
    assert not proofs.proven("5")
    proofs.look()
    assert proofs.proven("5")
    assert told[1:] == ["node broken (10.0.0.4) is left out: no"]


def test_where_every_node_differs_that_is_one_line_with_all_of_them(context: WorkerContext) -> None:
    question = Question.of(context)
    proofs = Proofs(question, print, answering(({}, {}), n2="no process"), nodes=lambda: [HERE, OTHER, HEAD])
    with pytest.raises(
        UsageError, match=r"no node of this Ray can have jobs \(here: it lacks the package .*; other: no process"
    ):
        proofs.wait(lambda: None)


def test_a_worker_that_cannot_be_set_up_says_where_and_why(context: WorkerContext) -> None:
    worker = object.__new__(TrialWorker)
    worker.setup({"context": context, "job": None})
    report = worker.step()["report"]
    host = os.uname().nodename
    assert report.failure.startswith(f"no worker can be set up on {host}: ")
    assert str(context.development) in report.failure
    assert report.attributes == {"worker": f"{host}:{os.getpid()}"}
