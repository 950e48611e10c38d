"""How the code should read: small functions, files that one can hold in the head, no trace of one machine."""

import ast
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("search", "models", "data_utils", "studies")
LONGEST_FILE = 400
LONGER_WITH_REASON = {
    "tests/hardening/test_bombs.py": "every input that was made to harm, made and read by the same few helpers",
    "tests/data_utils/readers/test_patches.py": "what each form has in common, on the same few patches",
    "tests/search/test_whole.py": "one comparison from search to report, which all of its tests look at",
    "tests/data_utils/readers/test_forms.py": "every form of files and archives, made by the same few helpers",
}
"""Files that may pass the limit: path -> why it reads better as one."""


def python_files(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def lines_of(path):
    return len(path.read_text().splitlines())


def function_lengths(path):
    """Lines of each function without its docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            says = ast.get_docstring(node, clean=False) is not None
            docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if says else 0
            yield node.end_lineno - node.lineno + 1 - docstring


def test_no_file_is_long_without_a_reason(capsys):
    lengths = {
        str(path.relative_to(ROOT)): lines_of(path) for path in python_files(*PACKAGES, "tests", "benchmarks", "soak")
    }
    longest = max(lengths, key=lengths.__getitem__)
    with capsys.disabled():
        print(f"\nlongest of {len(lengths)} files: {longest}, {lengths[longest]} lines")
    too_long = {name for name, length in lengths.items() if length > LONGEST_FILE}
    assert too_long == set(LONGER_WITH_REASON), "split the file, or name it here with the reason"


def test_most_functions_are_small(capsys):
    lengths = [length for path in python_files(*PACKAGES) for length in function_lengths(path)]
    median = statistics.median(lengths)
    with capsys.disabled():
        print(f"\nmedian of {len(lengths)} functions: {median:g} lines without docstring; longest {max(lengths)}")
    assert median <= 10


def test_no_host_of_a_registry_and_no_path_of_a_machine_is_named():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: cannot tell the project's files from others")
    hosts = ("pypi.", "pythonhosted.", "docker.", "ghcr.", "quay.")
    words = [f"{host}{ending}" for host in hosts for ending in ("org", "io")] + ["/work" + "/main", "/work" + "/shared"]
    named = [
        (name, word)
        for name in listed.stdout.split("\0")
        if (ROOT / name).is_file()
        for word in words
        if word.encode() in (ROOT / name).read_bytes()
    ]
    assert named == []
