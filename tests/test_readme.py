"""README and docs say what is there: flags, commands, files, links, variables."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("search", "models", "data_utils", "studies")
COMMANDS = (
    *("explore", "launch", "finalize", "report", "status", "predict", "heatmap", "export", "check", "dashboard"),
    *("clean", "move", "completion", "match", "fetch"),
)
OF_DATA_UTILS = ("match", "fetch")  # the others are search's
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs" / name for name in DOCS)]
OF_THE_ROOT = ("CONTRIBUTING.md", "BENCHMARKS.md", "SECURITY.md", "CHANGELOG.md", "LOG.md")
COMMAND = re.compile(r"python -m (?:search|data_utils)\.(\w+)([^`#\n]*)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
OF_OTHERS = {
    "mypy --strict",
    "ray start --head",
    "ray start --address",
    "make bench ARGS=--write",
    "benchmarks.coverage --runs 250 --ours",
    "docker compose run --rm",
    "docker compose up --detach --build",
    "down --volumes",
    "earlier `--scale`",
    "--profile run",
    "docker compose up --detach --scale",
    "git describe --always --dirty --abbrev",
}
"""Flags in the text that are no flags of ours, with the program that takes them."""


@cache
def files() -> tuple[str, ...]:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: cannot tell the project's files from others")
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).exists())


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    """Command -> the flags that its --help names."""

    def asked(command: str) -> set[str]:
        package = "data_utils" if command in OF_DATA_UTILS else "search"
        done = subprocess.run(
            [sys.executable, "-m", f"{package}.{command}", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(FLAG.findall(done.stdout))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(COMMANDS, pool.map(asked, COMMANDS), strict=True))


def tree_lines() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```$", DOCS["files.md"], re.MULTILINE | re.DOTALL)
    return "".join(blocks).splitlines()


def tree() -> set[str]:
    """Paths that the file tree names; folders end with a slash."""
    found: set[str] = set()
    above: list[tuple[int, str]] = []  # (indent, folder) from the outermost in
    for line in tree_lines():
        indent = len(line) - len(line.lstrip())
        above = [(depth, folder) for depth, folder in above if depth < indent]
        for name in re.split(r"\s{2,}", line.strip())[:1] if not is_list(line) else list_of(line):
            path = "".join(folder for _, folder in above) + name
            found.add(path)
            if name.endswith("/"):
                above.append((indent, name))
    return found


def is_list(line: str) -> bool:
    """A line of several files of the top level."""
    return not line.startswith(" ") and not line.split()[0].endswith("/")


def list_of(line: str) -> list[str]:
    return [word for word in line.split() if (ROOT / word).is_file()]


def expected_tree() -> set[str]:
    """Every top-level folder and file, every Python file of the packages, every folder of theirs."""
    inside = {name for name in files() if name.split("/")[0] in PACKAGES}
    modules = {name for name in inside if name.endswith(".py") and not name.endswith("__init__.py")}
    folders = {f"{folder}/" for name in files() for folder in [name.split("/")[0]] if "/" in name}
    nested = {f"{PurePosixPath(name).parent}/" for name in inside if name.count("/") > 1}
    top = {name for name in files() if "/" not in name}
    return modules | folders | nested | top - {".gitignore", ".dockerignore"}


def test_the_file_tree_is_the_real_one() -> None:
    assert tree() == expected_tree()


def test_every_flag_of_a_command_line_is_in_the_help_of_that_command(flags: dict[str, set[str]]) -> None:
    lines = [(page.name, *found) for page in PAGES for found in COMMAND.findall(page.read_text(encoding="utf-8"))]
    assert len(lines) >= 8, "the command lines were not found"
    for page, command, rest in lines:
        assert command in flags, f"{page}: {command} is no command"
        unknown = set(FLAG.findall(rest)) - flags[command]
        assert not unknown, f"{page}: {command} takes no {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_in_the_text_belongs_to_a_command(page: Path, flags: dict[str, set[str]]) -> None:
    text = page.read_text(encoding="utf-8")
    for foreign in OF_OTHERS:
        text = text.replace(foreign, "")
    assert set(FLAG.findall(text)) <= set.union(*flags.values())


def test_every_command_is_mentioned() -> None:
    assert {command for command, _ in COMMAND.findall(README)} == set(COMMANDS)


def test_every_make_target_exists_and_is_mentioned() -> None:
    targets = set(re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make (\w+)", README + CONTRIBUTING, re.MULTILINE))
    assert named <= targets
    assert targets - named <= {"help", "clean"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).is_file()] == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_every_page_is_linked_from_the_readme() -> None:
    assert [name for name in DOCS if f"(docs/{name})" not in README] == []
    assert [name for name in OF_THE_ROOT if f"({name})" not in README] == []


def test_every_file_named_in_the_text_exists() -> None:
    text = README + CONTRIBUTING + DOCS["architecture.md"]
    named = re.findall(r"`((?:search|models|data_utils|studies|tests|docs|\.ci|\.github)/[\w./-]+)`", text)
    assert len(named) >= 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_variable_is_in_the_table_and_nothing_else() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", DOCS["environment.md"], re.MULTILINE))
    code = [name for name in files() if name.endswith((".py", ".ci/run")) and name != "tests/test_readme.py"]
    quoted = re.compile(r'"(HISTOTUNE_\w+)"|^export (HISTOTUNE_\w+)=', re.MULTILINE)
    found = [match for name in code for match in quoted.findall((ROOT / name).read_text(encoding="utf-8"))]
    used = {python or shell for python, shell in found}
    assert listed == used


def test_the_exit_codes_are_those_of_the_code() -> None:
    from search.command.outcome import BAD_INPUT, FAILED

    codes = dict(re.findall(r"^\| (\d[\d, ]*) \| (.*) \|$", DOCS["exit-codes.md"], re.MULTILINE))
    assert set(codes) == {"0", str(FAILED), str(BAD_INPUT), "129, 130, 143"}
    assert "failed" in codes[str(FAILED)]
    assert "bad input" in codes[str(BAD_INPUT)]


def test_what_was_not_run_is_said() -> None:
    for untried in ("CUDA", "docker-compose.yml", "Ray cluster", "ci.yml"):
        assert untried in DOCS["not-run.md"]


def test_the_picture_is_small_and_the_text_says_of_which_run_it_is() -> None:
    picture = (ROOT / "docs" / "report.png").read_bytes()
    assert int.from_bytes(picture[16:20], "big") == 1200
    assert len(picture) < 300_000
    assert "of a real report (`docs/picture.py`, 20" in README.split("(docs/report.png)")[1][:300]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_path_of_a_machine_is_named(page: Path) -> None:
    assert re.findall(r"/(?:home|root|Users|tmp|work)/\w+", page.read_text(encoding="utf-8")) == []
