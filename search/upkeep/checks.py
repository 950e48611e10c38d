"""``search.status --check``: whether database and files are as they must be, and what was edited where they are not.

A report is no record: ``search.report`` writes a lost one again from what is sealed, so only one that is there must
name a link of the chain.
"""

import os
import re
from functools import partial
from pathlib import Path

from data_utils.errors import DataError
from data_utils.files import parse_json
from search.command.settings import CommonSettings
from search.comparison import LOCK_FILE, OPENING, Comparison
from search.errors import SearchError
from search.final.members import MODEL_FILE, other_members
from search.final.stored_ensemble import ensemble_problems
from search.trials.launches import is_alive
from search.trials.marks import opened_elsewhere
from studies.errors import StudyError
from studies.files import read_file
from studies.findings.predictions import TABLE_FILE, as_table, load_predictions, problem_with
from studies.ledger import chain, invariants
from studies.ledger.ledger import Ledger
from studies.report.page import REPORT_HTML, REPORT_JSON
from studies.storage.definition import own_studies
from studies.storage.studies import open_existing

_LARGEST = 256 * 2**20  # bytes of a report's numbers, which name each test patch, or of its page
_MOST_VALUES = 10_000_000  # in its numbers
_HEAD = re.compile(rb'Head of the chain of records</dt><dd class="hash">([0-9a-f]{64})<')  # reproduction.html.j2


def problems(common: CommonSettings) -> list[str]:
    """Whatever is wrong, a line each; empty where all is well.

    Args:
        common: names the database and the folder of results, and the comparison; all of them where it names none. A
            comparison may have lost all of its studies and keep its lock and openings.
    """
    storage = open_existing(common.storage)
    ledger = Ledger(storage.engine)
    found = invariants.broken(storage, is_alive, common.study)
    names = {study.comparison for study in own_studies(storage)} | set(ledger.locked())
    for name in sorted(name for name in names if common.study in ("", name)):
        comparison = Comparison(name, common.runs / name, storage, ledger)
        found += [f"{name}: {problem}" for problem in _files(comparison)]
    return found


def _files(comparison: Comparison) -> list[str]:
    elsewhere = opened_elsewhere(comparison)
    return [
        *_lock(comparison),
        *([] if elsewhere is None else [elsewhere]),
        *_predictions(comparison),
        *_members(comparison.folder),
        *_report(comparison),
    ]


def _lock(comparison: Comparison) -> list[str]:
    file = comparison.folder / LOCK_FILE
    try:
        comparison.stored_lock()
    except DataError as error:
        return [str(error)]
    if os.path.lexists(file):
        return []
    return [f"{file} is missing: the same launch writes it again; or name the folder of results with --runs"]


def _predictions(comparison: Comparison) -> list[str]:
    """Of an opening that was closed: its arrays are those on record, and the table is what they make."""
    opening = comparison.ledger.last_opening(comparison.name)
    if opening is None or opening.predictions is None:
        return []
    problem = problem_with(comparison.folder / OPENING, opening.predictions)
    if problem is not None:
        return [problem]
    table = comparison.folder / TABLE_FILE
    try:
        expected = as_table(load_predictions(comparison.folder / OPENING)).encode()
        if os.path.lexists(table) and read_file(table, _LARGEST) == expected:
            return []
    except StudyError as error:
        return [str(error)]
    what = "was edited after the opening" if os.path.lexists(table) else "is missing"
    return [f"{table} {what}: python -m search.report writes it again"]


def _members(folder: Path) -> list[str]:
    """Of each final model and the ensemble: its members are those that were put to the test."""
    found = []
    looks = [partial(other_members, file.parent) for file in sorted(folder.glob(f"*/{MODEL_FILE}"))]
    for look in (*looks, partial(ensemble_problems, folder)):
        try:
            found += look()
        except (StudyError, DataError, SearchError) as error:
            found.append(str(error))
    return list(dict.fromkeys(found))  # a member may be of both


def _report(comparison: Comparison) -> list[str]:
    """Of those of its two files that are there."""
    folder, engine = comparison.folder, comparison.storage.engine
    readers = {folder / REPORT_JSON: _head_in, folder / REPORT_HTML: _head_on}
    heads = {file: read(file) for file, read in readers.items() if os.path.lexists(file)}
    found = [
        f"{file} names no head of the chain: it was edited, or is no report; python -m search.report writes it again"
        for file, head in heads.items()
        if head is None
    ]
    known = {file: head for file, head in heads.items() if head is not None}
    links = chain.links_of(engine) or [chain.BEGINNING]  # after them: a report may be written meanwhile
    found += [
        f"the head of the chain in {file} is no link of the database's chain: it or the records were rewritten"
        for file, head in known.items()
        if head not in links
    ]
    if len(set(known.values())) > 1:
        found.append(
            f"{' and '.join(map(str, known))} name different heads of the chain: one was edited, or is older; "
            "python -m search.report writes both again"
        )
    return found


def _head_in(numbers: Path) -> str | None:
    """The head of the chain that a report's numbers name; None where there is none to be read."""
    try:
        content = parse_json(read_file(numbers, _LARGEST), _MOST_VALUES)
    except (StudyError, ValueError):
        return None
    head = content.get("chain_head") if isinstance(content, dict) else None
    return head if isinstance(head, str) else None


def _head_on(page: Path) -> str | None:
    """The head of the chain that a report's page names; None where there is none to be read."""
    try:
        found = _HEAD.search(read_file(page, _LARGEST))
    except StudyError:
        return None
    return None if found is None else found[1].decode()
