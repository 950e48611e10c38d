"""Which patches an exploration may show: development patches, by the lock or by the split that a launch would draw.

What is sealed under another name, by the database or in the same folder of results, is never shown but by --all, and
that is recorded.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_utils.errors import LabelError, TooFewPatientsError
from data_utils.quality.cleaning import clean, without_patient
from data_utils.quality.rules import NO_PATIENT
from data_utils.readers.patches import PatchSet, Progress, read_patches
from data_utils.readers.patchset import Bools, known
from data_utils.scratch import scratch_in
from data_utils.split.draw import draw_lock
from data_utils.split.lock import SplitLock
from data_utils.split.prepare import Prepared, load_development
from search.command.settings import SPLIT, SPLIT_SEED, ExploreSettings
from search.comparison import LOCK_FILE, alone_with_data, data_source, prepared_by
from search.errors import UsageError
from search.trials.looks import EXPLORATION, one_look, remember
from search.trials.refusals import begun
from search.trials.seals import Met, sealed_among
from search.upkeep.leftovers import EXPLORING
from studies.exploration.explored import SEALED_FOR, Sealed
from studies.ledger.ledger import Ledger

Step = Callable[[str], AbstractContextManager[Progress]]
"""Shows that a long step is at work; called with its name."""


@dataclass(frozen=True, eq=False)
class Shown:
    """The patches that may be seen, and what was found, left out and said; ``sealed`` is None where all are shown."""

    patches: PatchSet
    found: int
    exclusions: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    sealed: Sealed | None


@contextmanager
def may_be_seen(settings: ExploreSettings, folder: Path, step: Step) -> Iterator[Shown]:
    """The patches that may be shown, for as long as the block lasts.

    Raises:
        DataError: they cannot be read, or are not those of the lock.
        UsageError: none is left, or what another comparison has sealed is not known.
    """
    ledger, lock = _ledger_and_lock(settings, folder)
    if lock is not None:
        if settings.all:
            raise UsageError(
                f"--all: the split of {settings.common.study} is locked, and its test patches are not shown; leave it "
                "out, or look under another name, which is recorded: --study NEW"
            )
        with scratch_in(folder, EXPLORING) as draft:
            yield _development(settings, ledger, prepared_by(lock, settings.common), draft)
        return
    with scratch_in(folder, EXPLORING) as draft:
        with step("reading") as progress:
            patches = read_patches(
                data_source(settings.common.data),
                positive=settings.positive or "",
                progress=progress,
                into=draft / "read.npy",
            )
        patches = _with_patient(patches, draft / "kept.npy")
        if settings.all:
            shown, sealed = patches, None
        else:
            with step("drawing the split that search.launch would draw"):
                test, sealed = _would_be_sealed(settings.common.study, patches, draft)
            shown = _without_sealed(settings, ledger, patches, test, draft / "development.npy")
        with alone_with_data(settings.common.study, folder):  # a launch takes over what it finds when it locks
            _check_unlocked(settings, folder)
            if settings.all:
                _record_sealed(settings, ledger, patches)
            remember(folder, shown)
        yield Shown(shown, shown.found, shown.exclusions, shown.notes, sealed)


def _ledger_and_lock(settings: ExploreSettings, folder: Path) -> tuple[Ledger | None, SplitLock | None]:
    """Of the comparison of this name, as far as it has begun."""
    comparison = begun(settings.common)
    if comparison is None:
        return None, SplitLock.read(folder / LOCK_FILE)
    return comparison.ledger, comparison.stored_lock()


def _check_unlocked(settings: ExploreSettings, folder: Path) -> None:
    _, lock = _ledger_and_lock(settings, folder)
    if lock is not None:
        raise UsageError(
            f"the split of {settings.common.study} was locked while its patches were read, and its test patches may be "
            "among them: nothing is shown; run this again"
        )


def _development(settings: ExploreSettings, ledger: Ledger | None, prepared: Prepared, draft: Path) -> Shown:
    """Of a locked split, without what other comparisons have sealed: one's development is another's test."""
    _, patients, patches, idc = prepared.parts[-1]  # of the test split
    sealed = Sealed(prepared.lock.digest, patients, patches, idc)
    development = replace(load_development(prepared.development), exclusions=prepared.exclusions)
    nothing = np.zeros(len(development), dtype=np.bool_)
    shown = _without_sealed(settings, ledger, development, nothing, draft / "unsealed.npy", "--study NEW --all")
    return Shown(shown, prepared.found, shown.exclusions, prepared.notes, sealed)


def _with_patient(patches: PatchSet, into: Path) -> PatchSet:
    """Without the patches of nobody, where others have a patient."""
    nobody = without_patient(patches)
    if not nobody.any():
        return patches
    counted = (NO_PATIENT.reason, int(nobody.sum()))
    return replace(patches.take(~nobody, into), exclusions=(*patches.exclusions, counted))


def _would_be_sealed(study: str, patches: PatchSet, draft: Path) -> tuple[Bools, Sealed | None]:
    """(N,) test patches of the split that a launch of these patches draws by default, and their totals.

    None of them, and None, where no split can be drawn: a launch says why.
    """
    try:
        lock = draw_lock(clean(patches, draft / "cleaned.npy"), study, SPLIT, SPLIT_SEED)
    except (TooFewPatientsError, LabelError):
        return np.zeros(len(patches), dtype=np.bool_), None
    keys = patches.digests if lock.by != "patient" else np.asarray(patches.patients)
    test = np.array([lock.assignment.get(key) == "test" for key in keys.tolist()])
    patients = len(np.unique(keys[test])) if lock.by == "patient" else 0
    return test, Sealed("", patients, int(test.sum()), int(known(patches)[test].sum()))


# --- what other comparisons have sealed -----------------------------------------------------------------------------


def _without_sealed(
    settings: ExploreSettings,
    ledger: Ledger | None,
    patches: PatchSet,
    test: Bools,
    into: Path,
    otherwise: str = "--all",
) -> PatchSet:
    """Without those that a launch would seal, (N,) ``test``, and without those that other comparisons have sealed.

    ``otherwise`` are the flags that would show them.

    Raises:
        UsageError: nothing is left.
    """
    met = sealed_among(settings.common.runs, ledger, patches)
    hidden = test.copy()
    counted = []
    for one in met:
        if more := int((one.rows & ~hidden).sum()):
            counted.append((f"{SEALED_FOR} {one.study}", more))
        hidden |= one.rows
    if hidden.all():
        raise UsageError(
            f"every patch of {patches.source} is sealed for the test of {', '.join(one.study for one in met)}, or "
            f"would be for that of {settings.common.study}; to look at them all the same, and have that recorded: "
            f"{otherwise}"
        )
    if not hidden.any():
        return patches
    return replace(patches.take(~hidden, into), exclusions=(*patches.exclusions, *counted))


def _record_sealed(settings: ExploreSettings, ledger: Ledger | None, patches: PatchSet) -> None:
    """Writes down which sealed patches of other comparisons are shown.

    Raises:
        UsageError: there is no database in which it could be; none is written down then.
    """
    found = sealed_among(settings.common.runs, ledger, patches)
    for met in found:
        _check_recordable(met)
    words = f"shown with their labels by search.explore --study {settings.common.study} --all"
    if ledger is not None:
        for met in found:
            ledger.record_look(met.study, EXPLORATION, words, met.count, one_look())


def _check_recordable(met: Met) -> None:
    if not met.recordable:
        raise UsageError(
            f"--all: {met.count} patches are sealed for the test of {met.study}, and its database, in which this look "
            "would be recorded, is not at hand: name it by --storage, or leave --all out"
        )
