"""What a model file offers, and what it may ask for.

Every file in ``models/`` without a leading underscore is one searchable model. It offers:

``suggest(trial) -> config``
    The search space: a frozen dataclass with a ``recipe``, filled from a trial. Flat: every parameter is
    suggested every time. Reads stored parameters back as well (``Model.configuration``).
``DEFAULT``
    Parameters of a good first guess, by name, inside the space. The search tries them first.
``build(config, weights) -> network``
    A module from RGB in [0, 1], (N, 3, S, S) float with S from 32 to 256, to one logit a patch, (N,). It does its own
    resizing and normalising, so that nothing outside can normalise for the wrong weights.
``ALLOWED`` (optional, {})
    How far a search may widen the space, by parameter, where that is further than ``suggest`` goes by itself: the two
    ends of a range, or all choices. What is not named keeps to its space.
``BEFORE`` (optional, {})
    What an older form of the file meant that did not have a parameter yet: its trials and final models lack it.
``EPOCHS`` (optional, 12)
    The most that one of its networks is trained where ``--epochs`` does not say.
``PRETRAINED`` (optional, False)
    True where ``build`` takes the tensors of ``models._weights``; otherwise it is called with None.
``LAYOUT`` (optional, "contiguous")
    Memory layout of feature maps in which its network trains faster on CPUs, or "channels_last". A measured constant:
    a stopwatch in each process would make the same search give other numbers.
``parameter_groups(network, config) -> list`` (optional)
    Groups for the optimizer, each ``{"params": [...], "lr": float}``; by default one group at the recipe's rate.
``network.last_features`` (optional, a property, so that nothing is registered twice)
    The module whose output is the last map of features, (N, C, h, w), for Grad-CAM; none is drawn without it. Where
    everything before it is frozen, that output needs no gradient until a hook asks for one (``requires_grad_``).
``prefix_name(config) -> str | None`` (optional)
    Names frozen layers at the front whose outputs may be kept and shared by all configurations with the same name; None
    where there are none, or where computing them again costs less. Where it names some, the network offers
    ``prefix``, a module that is the same in training and evaluation, and ``after_prefix(kept)``, the rest behind it,
    and passes the prefix's outputs on in bf16, so that it makes no difference whether they were kept.

What its last ``nn.Linear`` is given are the network's features, by which ``search.predict`` tells patches that are
unlike the development patches; without one, it goes by their pixels alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from models._errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from models._weights import Weights

EPOCHS = 12
ParamValue = bool | int | float | str


class TrialLike(Protocol):
    """The part of an Optuna trial that a search space needs; keeps Optuna out of the models."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A float in [low, high]."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """An integer in [low, high], both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        ...


class Stored:
    """A trial that answers with stored parameters, in whatever space they were drawn: it may have been a wider one."""

    def __init__(self, params: Mapping[str, ParamValue]) -> None:
        self._params = params

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:  # noqa: ARG002
        """The stored one."""
        return float(self._value(name))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:  # noqa: ARG002
        """The stored one."""
        return int(self._value(name))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ARG002
        """The stored one."""
        return self._value(name)

    def _value(self, name: str) -> ParamValue:
        if name not in self._params:
            raise ModelError(
                f"The stored configuration has no {name}, which its model asks for: the model has changed."
            )
        return self._params[name]


def suggest_or_none(trial: TrialLike, name: str, most: float) -> float:
    """A float in [0, most] whose 0 is drawn as well, in a fifth of all draws: what is stored below 0 is none.

    A range from a quarter of its end below 0 is known by that as one of these (``draws_none``).
    """
    return max(0.0, trial.suggest_float(name, -most / 4, most))


def draws_none(low: float, high: float) -> bool:
    """Whether a range of floats is one of ``suggest_or_none``."""
    return low < 0 and low == -high / 4


COLOUR_JITTERS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""What a search may be told to try. By itself it tries none: patches of the same scanners lose by it, others gain."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; part of every model's configuration.

    Attributes:
        optimizer: "adamw" or "sgd" (Nesterov momentum 0.9).
        learning_rate: peak rate of the head, or of the whole network where there is one group.
        weight_decay: decoupled for adamw; applied to weights of two and more dimensions only.
        batch_size: patches a step.
        schedule: "constant", "cosine" (to zero) or "linear" (to zero).
        warmup: share of all steps over which the rate rises linearly from zero, in [0, 0.5].
        label_smoothing: in [0, 0.2]; 0.1 trains towards 0.05 and 0.95.
        class_weighting: whether the loss weighs both classes equally, whatever their counts.
        stain_jitter: strength of the random change of haematoxylin and eosin, in [0, 0.2]; 0 is none.
        colour_jitter: strength of the random change of saturation and contrast, in [0, 0.5]; 0 is none.
    """

    optimizer: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    schedule: str
    warmup: float
    label_smoothing: float
    class_weighting: bool
    stain_jitter: float
    colour_jitter: float = 0.0


class ModelConfig(Protocol):
    """What training reads of a configuration; the rest is between a model file and its ``build``."""

    @property
    def recipe(self) -> Recipe:
        """How to train the network."""
        ...


@dataclass(frozen=True)
class Model:
    """One searchable model, as found in its file by ``models._registry``; of another package, with dots in its name."""

    name: str
    suggest: Callable[[TrialLike], ModelConfig]
    default: Mapping[str, ParamValue]
    build: "Callable[[Any, Weights | None], nn.Module]"
    parameter_groups: "Callable[[nn.Module, Any], list[dict[str, Any]]]"
    pretrained: bool
    layout: str
    prefix_name: Callable[[Any], str | None]
    allowed: Mapping[str, Sequence[ParamValue]] = field(default_factory=dict)
    before: Mapping[str, ParamValue] = field(default_factory=dict)
    epochs: int = EPOCHS

    def configuration(self, params: Mapping[str, ParamValue]) -> ModelConfig:
        """That of stored parameters.

        Raises:
            ModelError: one is missing.
        """
        return self.suggest(Stored(self.completed(params)))

    def completed(self, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """Stored parameters, with what the model meant before it had the others."""
        return {**self.before, **params}
