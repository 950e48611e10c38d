"""A finding as it is handed on, and how its numbers are written: rules look at them as they are printed."""

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


def counted(number: int, one: str, more: str = "") -> str:
    """As "1 patch" or "1,200 patches"."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def per_cent(share: float) -> float:
    """As it is printed."""
    return round(100 * share, 1)


def percent(share: float) -> str:
    """As "12.3 %"."""
    return f"{per_cent(share):.1f} %"
