"""What networks see of a patch: chosen once a comparison, part of its studies' identity, written once for workers."""

from pathlib import Path

from data_utils.colour.derived import derive
from data_utils.colour.preprocessing import KINDS, Kind, Preprocessing
from data_utils.split.prepare import Prepared
from search.errors import UsageError
from studies.files import naming

_AS_IT_IS = "RGB in [0, 1], normalised by the network; training: one of 8 dihedral views a patch and epoch"
_BEFORE: dict[Kind, str] = {
    "none": "",
    "standardise": "each channel of a patch brought to the mean and standard deviation of the median training patch; ",
    "reinhard": "Reinhard's transfer in CIELAB to the mean and standard deviation of the median training patch; ",
    "macenko": "Macenko's stain normalisation to the stains of the pooled training patches; ",
}
_TEXTS: dict[str, str] = {kind: _BEFORE[kind] + _AS_IT_IS for kind in KINDS}


def text_of(kind: str) -> str:
    """A preprocessing in words, as a study's definition has it."""
    return _TEXTS[kind]


def kind_of(text: str) -> str:
    """The kind that a study's definition means.

    Raises:
        UsageError: the study was begun by another version of HistoTune.
    """
    found = next((kind for kind, words in _TEXTS.items() if words == text), None)
    if found is None:
        raise UsageError(
            f"the studies of this comparison were begun with a preprocessing that is not known here ({text}): "
            "go on with the version of HistoTune that they were begun with, or begin a new one: --study NEW"
        )
    return found


def chosen_preprocessing(asked: str | None, stored: str | None) -> str:
    """The preprocessing of a comparison: its first study chose it, later launches obey.

    Args:
        asked: as typed after --preprocess; None where it was left out.
        stored: of the studies that there are; None before the first.

    Raises:
        UsageError: another one was asked for than the stored one.
    """
    if asked is not None and stored is not None and asked != stored:
        raise UsageError(
            f"--preprocess {asked}: the studies of this comparison are on pixels preprocessed by {stored}, and only "
            "networks that see the same are compared; leave it out, or begin a new one: --study NEW"
        )
    return stored or asked or "none"


def place_of(prepared: Prepared, kind: str) -> Path | None:
    """Folder of transformed development pixels, beside the caches and removed with them; None where they stay raw."""
    return None if kind == "none" else prepared.development.with_name(kind).resolve()


def write_derived(prepared: Prepared, kind: str) -> Preprocessing:
    """Fits on the training patches and writes what workers will map, unless it is there.

    Raises:
        FormatError: nothing can be fitted to these patches.
        NotWrittenError: the disk is full.
    """
    place = place_of(prepared, kind)
    if place is None:
        return Preprocessing()
    with naming(place):
        return derive(kind, prepared.development, place)
