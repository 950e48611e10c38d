"""What searches have gained on other data: whether one is worth its hours here, as far as that tells (LOG.md)."""

from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Searched:
    """Data that was searched, and what that gained over the default configuration, out of fold.

    Attributes:
        patients, patches: of development.
        gained: in words, with its interval.
    """

    patients: int
    patches: int
    gained: str


BEFORE = (
    Searched(20, 400, "nothing that so few can show"),
    Searched(196, 7949, ".007 to .010 of AUC by the ensemble of both models, of which .001 to .004 are the search's"),
)
"""Of the public set, 30 trials of each model."""


def worth(patients: int, patches: int) -> str:
    """What a search of data of about this size has gained, in words.

    Args:
        patients: of development; 0 where they are unknown, and patches count.
        patches: of development.
    """
    like = min(BEFORE, key=lambda one: abs(log(one.patients / patients if patients else one.patches / patches)))
    here = f"{patients} patients" if patients else f"{patches} patches"
    return (
        f"a search of {like.patients} development patients with {like.patches} patches gained {like.gained} (LOG.md); "
        f"here are {here}"
    )
