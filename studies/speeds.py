"""What retrained networks take for a patch, as search.finalize measured it on its machine."""

from collections.abc import Sequence
from dataclasses import dataclass

VIEWS = 8
"""In which each network sees a patch."""


@dataclass(frozen=True)
class Layers:
    """A network, or a part of it, and what a patch takes in one view.

    Attributes:
        parameters: trained or frozen.
        multiply_adds: of convolutions and products of matrices.
        milliseconds: a patch's share of a batch.
    """

    parameters: int
    multiply_adds: int
    milliseconds: float


@dataclass(frozen=True)
class NetworkSpeed:
    """One member of a configuration.

    Attributes:
        model, label: whose.
        key: of the configuration, as of its folder.
        rest: all its layers, or those behind the prefix.
        prefix: frozen layers at the front that all members share, so that a view of a patch takes them once.
        prefix_name: theirs; "" for none.
    """

    model: str
    label: str
    key: str
    rest: Layers
    prefix: Layers
    prefix_name: str


@dataclass(frozen=True)
class Speeds:
    """All that were measured.

    Attributes:
        where: the device in words.
        batch: patches at a time.
        precision: "fp32" or "bf16".
    """

    where: str
    batch: int
    precision: str
    networks: tuple[NetworkSpeed, ...]

    def of(self, model: str, label: str) -> NetworkSpeed | None:
        """That of a configuration; None where it was not measured."""
        return next((one for one in self.networks if (one.model, one.label) == (model, label)), None)


def together(networks: Sequence[tuple[NetworkSpeed, int]]) -> Layers:
    """What a patch takes of so many members of each in all views: a prefix that several have in turn is taken once."""
    parts, before = [], ("", "")
    for one, count in networks:
        parts += [one.rest] * count
        if one.prefix_name and (one.model, one.prefix_name) != before:
            before = (one.model, one.prefix_name)
            parts.append(one.prefix)
    return Layers(
        parameters=sum(count * (one.rest.parameters + one.prefix.parameters) for one, count in networks),
        multiply_adds=VIEWS * sum(part.multiply_adds for part in parts),
        milliseconds=VIEWS * sum(part.milliseconds for part in parts),
    )
