"""A finding of an exploration, as it is handed on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: of its kind (``findings.codes``).
        section: of the page that it belongs to.
        title: a few words.
        found: what, with its numbers.
        means: what follows from it.
        action: what to do about it.
    """

    code: str
    section: str
    title: str
    found: str
    means: str
    action: str
