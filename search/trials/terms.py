"""What all models of a comparison have in common: its first launch chooses, all others obey."""

from dataclasses import astuple

from search.command.settings import LaunchSettings
from search.errors import UsageError
from search.training.device import choose_precision
from search.training.preprocess import chosen_preprocessing
from search.workers.cluster import Crew
from studies.records import Terms


def asked_terms(settings: LaunchSettings, stored: Terms | None, crew: Crew) -> Terms:
    """The terms of a launch: those that are stored, else as it was asked for.

    Args:
        settings: of the launch.
        stored: of the comparison; None before its first launch.
        crew: its workers.

    Raises:
        UsageError: others were asked for than the stored ones.
    """
    precision, preprocess, threads = (None, None, 0) if stored is None else astuple(stored)
    return Terms(
        precision=chosen_precision(settings.precision, precision, crew.device, crew.device in crew.machines.bf16),
        preprocess=chosen_preprocessing(settings.preprocess, preprocess),
        threads=threads or crew.threads,
    )


def chosen_precision(asked: str, stored: str | None, device: str, bf16: bool | None = None) -> str:
    """The precision of a comparison; ``bf16`` as ``choose_precision`` takes it.

    Raises:
        UsageError: another one was asked for than the stored one.
    """
    precision = stored if stored is not None and asked == "auto" else choose_precision(asked, device, bf16)
    if stored is not None and precision != stored:
        raise UsageError(
            f"--precision {asked}: the studies of this comparison are in {stored}, and only networks of one precision "
            "are compared; leave it out, or begin a new one: --study NEW"
        )
    return precision
