"""Every kind of finding has one code for ever, one paragraph in the docs, and one place in the source that tells it."""

import re
from pathlib import Path

import pytest

from studies.findings.codes import KINDS, glossary

ROOT = Path(__file__).resolve().parents[3]
CODE = re.compile(r"HT-[A-Z]\d\d")
PARAGRAPHS = dict(
    re.findall(
        r"^### (\S+)\n(.+?)(?=\n\n|\n*\Z)", (ROOT / "docs" / "findings.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
)


def test_codes_are_those_that_were_given_once() -> None:
    """A line of this file is never changed and never taken out: others look findings up by their codes."""
    given = (Path(__file__).with_name("codes.txt")).read_text("utf-8").splitlines()
    assert [f"{code} {kind.name}" for code, kind in KINDS.items()] == given
    assert len({line.split()[0] for line in given}) == len(given)
    assert all(CODE.fullmatch(code) for code in KINDS)


@pytest.mark.parametrize("code", KINDS)
def test_the_docs_say_of_each_what_it_means_how_it_is_told_and_what_to_do(code: str) -> None:
    said = " ".join(PARAGRAPHS[code].split())
    assert said.startswith(f"**{KINDS[code].name}.** {KINDS[code].meaning} *Told where* ")
    assert re.search(r" \*Told where\* .+\. \*What to do:\* .+\.$", said)


def test_the_docs_have_no_other_code() -> None:
    assert list(PARAGRAPHS) == list(KINDS)


def test_each_code_is_told_by_one_file_and_no_other_is() -> None:
    told: dict[str, set[str]] = {}
    for path in (ROOT / "studies").rglob("*.py"):
        for code in CODE.findall(path.read_text("utf-8")) if path.name != "codes.py" else []:
            told.setdefault(code, set()).add(path.name)
    assert set(told) == set(KINDS)
    assert {code for code, files in told.items() if len(files) > 1} == set()


def test_a_glossary_has_each_kind_once_and_knows_of_none_without_a_code() -> None:
    assert list(glossary(["HT-W02", "HT-V01", "HT-W02", ""])) == ["HT-V01", "HT-W02"]
