"""What the trials of one study have in common so far, for samplers that are made anew for each trial."""

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import TrialState

from studies.storage._optuna import trials_as_asked

_TELLING = (TrialState.COMPLETE, TrialState.PRUNED)


class SharedSpace:
    """Each trial is looked at once, when it has ended.

    Optuna's ``IntersectionSearchSpace`` looks at all again that are younger than the oldest which runs: with 64 at a
    time that took longer than all the rest of asking for a trial (LOG.md).

    Attributes:
        rows: parameters of finished trials as numbers, in this space (``RememberingTpe``).
    """

    def __init__(self) -> None:
        self.rows: dict[int, tuple[float, ...] | None] = {}
        self._seen: set[int] = set()
        self._common: dict[str, BaseDistribution] | None = None
        self._varied: dict[str, BaseDistribution] = {}

    def varied(self, study: Study) -> dict[str, BaseDistribution]:
        """Parameters that all have in the same distribution, but for those of a single value, by name.

        The same dictionary as long as nothing of it changes.
        """
        before = self._common
        for trial in trials_as_asked(study, _TELLING):
            if trial.number not in self._seen:
                self._seen.add(trial.number)
                self._common = _common(self._common, trial.distributions)
        if self._common is not before:
            self.rows.clear()
            self._varied = {name: one for name, one in sorted((self._common or {}).items()) if not one.single()}
        return self._varied


def _common(
    space: dict[str, BaseDistribution] | None, found: dict[str, BaseDistribution]
) -> dict[str, BaseDistribution]:
    """What is in both; ``space`` itself where it is all of it."""
    if space is None:
        return dict(found)
    same = {name: one for name, one in space.items() if (other := found.get(name)) is one or other == one}
    return space if len(same) == len(space) else same
