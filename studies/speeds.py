"""What retrained networks take for a patch, as search.finalize measured it on its machine."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum

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

    @property
    def prefix_of(self) -> tuple[str, str]:
        """What has the same prefix has the same."""
        return self.model, self.prefix_name


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


def evened(speeds: Speeds) -> Speeds:
    """The same prefix has one time, the fastest that was measured, with whatever configuration that was."""
    fastest: dict[tuple[str, str], float] = {}
    for one in speeds.networks:
        fastest[one.prefix_of] = min(one.prefix.milliseconds, fastest.get(one.prefix_of, float("inf")))
    return replace(
        speeds,
        networks=tuple(
            replace(one, prefix=replace(one.prefix, milliseconds=fastest[one.prefix_of])) for one in speeds.networks
        ),
    )


def together(networks: Sequence[tuple[NetworkSpeed, int]]) -> Layers:
    """What a patch takes of so many members of each in all views: a prefix that several have is taken once."""
    shared = {one.prefix_of: one.prefix for one, _ in networks if one.prefix_name}
    parts = [one.rest for one, count in networks for _ in range(count)] + list(shared.values())
    return Layers(
        parameters=sum(count * (one.rest.parameters + one.prefix.parameters) for one, count in networks),
        multiply_adds=VIEWS * sum(part.multiply_adds for part in parts),
        milliseconds=VIEWS * fsum(part.milliseconds for part in parts),
    )
