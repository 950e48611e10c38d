"""Patient ids as people write them, by one rule for every reader: who is the same patient, and who is nobody.

A split by patient is no better than its ids. A blank at one end makes two patients of one, "nan" makes one of all who
are unknown, and file names make a patient of every patch; each of them puts a patient into two parts unseen.
"""

import re
import unicodedata
from collections import Counter

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError
from data_utils.files import NO_TEXT, shown
from data_utils.readers.patchset import Strings

UNKNOWN_WORDS = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "nat", "unknown", "-1", "-1.0"})
"""What stands for "nobody knows" in ids of any case; NumPy and pandas write most of them by themselves."""

ALONE = 0.9
"""From this share of ids with a single patch on they name patches, not patients; half of the patches must be such."""


_NUMBER = re.compile(r"0*(\d+?)(?:\.0+)?")


def normal_id(text: str) -> str:
    """An id in the form in which it is compared: composed Unicode (NFC), no white space at its ends; "" for nobody.

    Signs that nobody sees (a byte order mark, a soft hyphen, a joiner of no width) are no part of it.
    """
    seen = "".join(sign for sign in unicodedata.normalize("NFC", text) if unicodedata.category(sign) != "Cf")
    stripped = seen.strip()
    return "" if stripped.casefold() in UNKNOWN_WORDS else stripped


def read_ids(raw: npt.NDArray[np.str_], source: object) -> tuple[Strings | None, tuple[str, ...]]:
    """The patient of each patch, and what was done to the ids in a sentence each.

    Args:
        raw: (N,) as they were written.
        source: for the messages.

    Returns:
        (N,) ids, "" where the patient is unknown, and None where that is so of all of them.

    Raises:
        FormatError: ids that are no printable text, or are ``alike`` and so may be one patient or two.
    """
    written, of_row = np.unique(raw, return_inverse=True)
    normal = [normal_id(text) for text in written.tolist()]
    _check_text(normal, source)
    _check_alike(normal, source)
    ids = np.array(normal, dtype=np.str_)[of_row]
    notes = [*_joined(normal, source), *_unknown(written.tolist(), normal, of_row, source)]
    return (ids if (ids != "").any() else None), tuple(notes)


def without_names(ids: Strings | None, source: object) -> tuple[Strings | None, tuple[str, ...]]:
    """The ids, or None and a sentence where nearly every one has one patch: they name patches or files, no patient."""
    if ids is None or not (ids != "").any():
        return ids, ()
    sizes = np.unique(ids[ids != ""], return_counts=True)[1]
    alone = int((sizes == 1).sum())
    if alone / len(sizes) < ALONE or 2 * alone < sizes.sum():
        return ids, ()
    note = f"{source}: {alone} of {len(sizes)} ids have one patch only, so they name patches, not patients"
    return None, (f"{note}: patients count as unknown",)


def _check_text(ids: list[str], source: object) -> None:
    """Refuses control characters inside of an id, which could rewrite a terminal's line."""
    wrong = [one for one in ids if NO_TEXT.search(one)]
    if wrong:
        raise FormatError(
            f"{source} holds {len(wrong)} ids with characters that are no printable text (first: {shown(wrong[0])}); "
            "expected one id a patch: save the ids again"
        )


def alike(one: str) -> str:
    """What an id has in common with those that a slip or a table makes of it: P 1 and p  1, 7 and 07 and 7.0."""
    plain = " ".join(unicodedata.normalize("NFKC", one).casefold().split())
    number = _NUMBER.fullmatch(plain)
    return number[1] if number else plain


def _check_alike(ids: list[str], source: object) -> None:
    """Refuses ids that are ``alike``."""
    spelled: dict[str, set[str]] = {}
    for one in ids:
        spelled.setdefault(alike(one), set()).add(one)
    doubtful = [sorted(forms) for _, forms in sorted(spelled.items()) if len(forms) > 1]
    if doubtful:
        listed = ", ".join("/".join(shown(form) for form in forms) for forms in doubtful[:5])
        more = f" and {len(doubtful) - 5} more" if len(doubtful) > 5 else ""
        raise FormatError(
            f"{source} holds ids that differ in case, in blanks, in zeros around a number or in forms of signs alone "
            f"({listed}{more}); expected one spelling for each patient: write each in one way"
        )


def _joined(normal: list[str], source: object) -> list[str]:
    """That some were written in several ways, which are one patient by now."""
    ways = Counter(one for one in normal if one)
    several = sum(count > 1 for count in ways.values())
    if not several:
        return []
    return [
        f"{source}: {several} of {len(ways)} patients were written in several ways (blanks at the ends, forms of "
        "Unicode); each counts as one"
    ]


def _unknown(written: list[str], normal: list[str], of_row: npt.NDArray[np.intp], source: object) -> list[str]:
    """That some mean nobody; "" alone is how that is written, and needs no word."""
    words = [at for at, one in enumerate(normal) if not one and written[at].strip()]
    if not words:
        return []
    count = int(np.isin(of_row, words).sum())
    listed = ", ".join(shown(written[at].strip()) for at in words[:5])
    return [f"{source}: {count} ids mean that the patient is unknown ({listed})"]
