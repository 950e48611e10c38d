"""``search.status --check``: whether database and files are as they must be, and what was edited where they are not."""

from hashlib import sha256
from pathlib import Path

from data_utils._files import parse_json
from data_utils.errors import DataError
from search.comparison import OPENING, Comparison
from search.launches import is_alive
from search.settings import CommonSettings
from studies import chain, invariants
from studies.errors import StudyError
from studies.files import read_file
from studies.ledger import Ledger
from studies.predictions import PREDICTIONS_FILE
from studies.report import REPORT_JSON
from studies.storage import open_existing

_LARGEST = 256 * 2**20  # bytes of a report's numbers; they name each test patch
_MOST_VALUES = 10_000_000  # in it


def problems(common: CommonSettings, comparisons: list[str]) -> list[str]:
    """Whatever is wrong, a line each; empty where all is well.

    Args:
        common: names the database and the folder of results.
        comparisons: whose files are looked at.
    """
    storage = open_existing(common.storage)
    found = invariants.broken(storage, is_alive)
    links = set(chain.links_of(storage.engine)) | {chain.BEGINNING}
    for name in comparisons:
        comparison = Comparison(name, common.runs / name, storage, Ledger(storage.engine))
        found += [f"{name}: {problem}" for problem in _files(comparison, links)]
    return found


def _files(comparison: Comparison, links: set[str]) -> list[str]:
    found = []
    try:
        comparison.stored_lock()
    except DataError as error:
        found.append(str(error))
    opening = comparison.ledger.last_opening(comparison.name)
    predictions = comparison.folder / OPENING / PREDICTIONS_FILE
    if opening is not None and opening.closed and predictions.is_file() and _sha256(predictions) != opening.predictions:
        found.append(f"{predictions} was edited after the opening")
    report = comparison.folder / REPORT_JSON
    if report.is_file() and _head_in(report) not in links:
        found.append(f"the head of the chain in {report} is no link of the database's chain: records were rewritten")
    return found


def _head_in(report: Path) -> object:
    """The head of the chain that a report names; None where the report cannot be read."""
    try:
        numbers = parse_json(read_file(report, _LARGEST), _MOST_VALUES)
    except (StudyError, ValueError):
        return None
    return numbers.get("chain_head", chain.BEGINNING) if isinstance(numbers, dict) else None


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
