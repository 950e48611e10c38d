"""What makes two trials of one study comparable, and the refusal to mix those that are not."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from optuna.storages import BaseStorage

from studies.errors import DefinitionMismatchError
from studies.measure import NOW, Measure

DEFINITION = "definition"
"""User attribute of a study that holds its definition."""
MADE_AS = "made_as"
"""User attribute of a study that a launch has made: its name. One of ``optuna.copy_study`` has that of the original."""
_LATER = ("source", "layout", "threads", "pruner")  # studies of earlier versions go on with whatever they are
_OWN = ("measure",)  # a study keeps the one that it was begun with


@dataclass(frozen=True)
class StudyDefinition:
    """The identity of a study: two trials under different definitions cannot be ranked.

    Attributes:
        model: name of the model file.
        lock_digest: sha256 of the split lock, which names data, fractions and seed.
        space: every parameter's distribution as Optuna's JSON, by name.
        epochs: most epochs of a trial; also the length of the learning-rate schedule.
        objective: "auc", "average_precision" or "balanced_accuracy", on the validation patients.
        preprocessing: what is done to the pixels before the network sees them, in words.
        precision: "bf16" or "fp32".
        weights: sha256 of the pretrained tensors, "random" without.
        source: sha256 of the model's file.
        layout: of feature maps in memory.
        threads: on which a worker trains; like the layout, they change the last digits of a sum.
        pruner: how weak trials are stopped; two kinds note values of different epochs as those of the same rung.
        measure: what of a network is scored (``studies.measure``).
    """

    model: str
    lock_digest: str
    space: dict[str, str]
    epochs: int
    objective: str
    preprocessing: str
    precision: str
    weights: str
    source: str
    layout: str
    threads: int
    pruner: str
    measure: Measure = NOW

    def as_attributes(self) -> dict[str, Any]:
        """The definition as it is stored in the study's user attributes."""
        return asdict(self)


_NEEDED = {part.name for part in fields(StudyDefinition)} - {*_LATER, *_OWN}


@dataclass(frozen=True)
class OwnStudy:
    """A study that a launch has made: one model's search of a comparison."""

    name: str
    comparison: str
    model: str


def definition_of(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The definition among the user attributes of a study; None for a study of others, whatever they call so."""
    found = attributes.get(DEFINITION)
    whole = isinstance(found, dict) and found.keys() >= _NEEDED and isinstance(found["model"], str)
    return found if whole else None


def own_studies(storage: BaseStorage, comparison: str = "") -> list[OwnStudy]:
    """The studies that launches have made, in order of their names; those of one comparison where it is named.

    Others may lie in the same database, under names like ours, and copies of ours.
    """
    found = [_own(study.study_name, study.user_attrs) for study in storage.get_all_studies()]
    ours = [study for study in found if study is not None and comparison in ("", study.comparison)]
    return sorted(ours, key=lambda study: study.name)


def _own(name: str, attributes: Mapping[str, Any]) -> OwnStudy | None:
    definition = definition_of(attributes)
    model = "" if definition is None or original(name, attributes) else definition["model"]
    comparison = name.removesuffix(f"-{model}")
    return OwnStudy(name, comparison, model) if model and comparison not in ("", name) else None


def original(name: str, attributes: Mapping[str, Any]) -> str:
    """The study that one of this name is a copy of; "" where it is none, as far as it says."""
    made_as = str(attributes.get(MADE_AS, name))
    return "" if made_as == name else made_as


def check_same(study: str, stored: Mapping[str, Any], asked: StudyDefinition) -> None:
    """Refuses to go on with a study that was begun under another definition.

    Raises:
        DefinitionMismatchError: one line with each difference and the way out.
    """
    differences = _differences(stored, asked.as_attributes())
    if differences:
        name = study.removesuffix(f"-{asked.model}")
        raise DefinitionMismatchError(
            f"study {study} was begun with {'; '.join(differences)}: trials would not be comparable. "
            f"Give the old settings, or start anew: --study NEW --warm-start {name}"
        )


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    known = {key: value for key, value in asked.items() if key not in _OWN and (key in stored or key not in _LATER)}
    return [_difference(key, stored.get(key), value) for key, value in known.items() if stored.get(key) != value]


def _difference(key: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        return f"another {key} ({', '.join(names)})"
    return f"{key} {_short(old)}, not {_short(new)}"


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text  # a sha256 is recognised by its beginning
