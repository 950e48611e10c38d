"""What searches have gained on other data: whether one is worth its hours here, as far as that tells (LOG.md)."""

from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Searched:
    """Data that was searched, and what that gained over the default configuration, out of fold.

    Attributes:
        patients, patches: of development.
        alone: by a model for itself, in words.
        together: by the ensemble of two models.
    """

    patients: int
    patches: int
    alone: str
    together: str


BEFORE = (
    Searched(
        17,
        336,
        "cnn gained nothing that so few can show",
        "neither cnn, vgg16 nor the ensemble of both gained what so few can show",
    ),
    Searched(
        51,
        1279,
        "cnn gained .005 and .009 (-.002 to .019) of AUC in two searches, which so many cannot show",
        "the ensemble of cnn and vgg16 gained .010 (-.000 to .020) of AUC over the better of them, and .001 "
        "(-.004 to .006) over an ensemble of both defaults",
    ),
    Searched(
        196,
        7949,
        "cnn gained nothing, and vgg16 .001 (-.003 to .004) of AUC",
        "the ensemble of cnn and vgg16 gained .006 (.002 to .009) of AUC over the default cnn, and .003 (.001 to .005) "
        "over an ensemble of both defaults",
    ),
)
"""Of the public set, 20 to 30 trials of each model; with 95 % intervals over patients."""
RARE = 0.15
"""Share of patches with IDC below which a search of data with one in eleven is more alike than those above, .28."""
_RARE_ALONE = "cnn gained .004 (-.001 to .009) and vgg16 nothing"
_RARE_TOGETHER = (
    "the ensemble of both gained .010 (.004 to .016) over the better of them, and .003 (-.001 to .007) over one of "
    "both defaults"
)


def worth(patients: int, patches: int, models: int, idc: int) -> str:
    """What searches of data of about this size have gained, in words.

    Args:
        patients: of development; 0 where they are unknown, and patches count.
        patches: of development.
        models: how many are to be searched.
        idc: how many of the patches have IDC.
    """
    like = min(BEFORE, key=lambda one: abs(log(one.patients / patients if patients else one.patches / patches)))
    gained, of_rare = (like.together, _RARE_TOGETHER) if models > 1 else (like.alone, _RARE_ALONE)
    here = f"{patients} patients with {patches} patches" if patients else f"{patches} patches"
    rare = f"; where one patch of eleven had IDC, {of_rare}" if idc < RARE * patches else ""
    size = f"{like.patients} development patients with {like.patches} patches"
    return f"where searches had {size}, {gained}{rare} (LOG.md); here are {here}"
