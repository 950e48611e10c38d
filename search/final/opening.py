"""The frozen plan, the one reading of the test rows, and all that a report will ever show of them.

Order matters and is the point: the plan is stored, then the opening is recorded, and only then is a test row read.
An opening that was cut off goes on under its own record; what was predicted already is not predicted again.
"""

import io
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.readers.array_file import map_array
from data_utils.readers.patches import PatchSet
from data_utils.split.draw import folds
from data_utils.split.holdout import open_sealed, sealed_digests
from data_utils.split.prepare import Prepared, load_development
from models._weights import Weights
from search.comparison import OPENING, Comparison
from search.errors import UsageError
from search.final.baselines import FROZEN, baseline_logits, baseline_thresholds, frozen_logits
from search.final.control import control_logit
from search.final.ensemble import ensemble_logit
from search.final.entrants import Entrant
from search.final.examples import save_test_examples
from search.final.likeness import keep_likeness, measures
from search.final.members import MODEL_FILE, Progress, SharedOutputs, StoredModel, member_logits
from search.final.neighbours import neighbours_logit, publish_neighbours
from search.final.plan import decides_the_same, last_plan, trained_otherwise
from search.final.robustness import keep_robustness
from search.final.scored import patients_of, scored
from search.final.stored_ensemble import ENSEMBLE_FILE, StoredEnsemble, StoredPart
from search.final.tissue import tissue_of
from search.trials.looks import by
from search.trials.marks import Mark, check_folder, lost
from search.trials.seals import SEALED_FILE
from studies.files import write_whole
from studies.final_models import Ensemble, Fit
from studies.findings.ensemble import CONTROL, ENSEMBLE
from studies.findings.examples import problem_with_pictures
from studies.findings.measured import save_measures
from studies.findings.neighbours import NEIGHBOURS
from studies.findings.predictions import TABLE_FILE, as_table, problem_with, save_predictions
from studies.findings.slides import SLIDES, problem_with_tissue, save_tissue
from studies.ledger.ledger import OpeningRecord
from studies.records import AnalysisPlan, Predictions, from_json, to_json

Floats = npt.NDArray[np.float64]


def open_test(
    comparison: Comparison,
    prepared: Prepared,
    plan: AnalysisPlan,
    plan_digest: str,
    entrants: list[Entrant],
    *,
    reopen: str | None,
    device: str,
    weights: Weights | None,
    progress: Progress,
) -> bool:
    """Opens the test split under a plan; False where that was done already, and nothing was read now.

    Args:
        comparison: whose test split.
        prepared: its data.
        plan: all that was decided; stored before anything is read.
        plan_digest: under which it is stored.
        entrants: the models, in the order of the report.
        reopen: why it is opened once more, under another plan or as its predictions were lost; None refuses that.
        device: to predict on.
        weights: pretrained layers of the comparison; None where it has none.
        progress: called with (members done, all) of each entrant.

    Raises:
        UsageError: it was opened under another database; or it was opened under another plan, or its predictions
            were lost or edited, and no reason was given.
        SealError: the sealed rows are not those that were sealed.
    """
    opening = _opening(comparison, plan, plan_digest, prepared, reopen)
    if opening is None:
        return False
    folder = comparison.folder / OPENING
    _begin_anew(folder, Mark(plan_digest, opening))
    test = open_sealed(prepared.sealed, prepared.lock.sealed)
    predictions = _predict(test, prepared, plan, entrants, folder, device, weights, progress)
    save_measures(measures(test.pixels), folder)
    file = save_predictions(predictions, folder)
    save_test_examples(predictions, test, entrants, folder / "examples")
    save_tissue(tissue_of(test), folder / SLIDES)
    write_whole(comparison.folder / TABLE_FILE, as_table(predictions))
    comparison.ledger.close_opening(opening, sha256(file.read_bytes()).hexdigest())
    return True


def publish(folder: Path, prepared: Prepared, plan: AnalysisPlan, entrants: Sequence[Entrant], device: str) -> None:
    """Leaves final models for others to use, once their opening is closed: a model at hand is a look at hand.

    Of each model that is the chosen configuration. The digests of the sealed patches come first, so that
    ``search.predict`` never meets a model without them; so does what is usual of the development patches.
    """
    sealed = sealed_digests(prepared.sealed)
    development = load_development(prepared.development)
    fold = folds(prepared.lock, development)
    for entrant in entrants:
        if entrant.entry == entrant.stored.model:
            _save_array(entrant.folder / SEALED_FILE, sealed)
            keep_likeness(entrant.stored, entrant.folder, development, fold, device)
            keep_robustness(entrant.stored, entrant.folder, development, fold, device)
            write_whole(entrant.folder / MODEL_FILE, to_json(entrant.stored))
    if plan.ensemble is not None and plan.ensemble.chosen:
        write_whole(folder / ENSEMBLE_FILE, to_json(_as_stored(plan, plan.ensemble, entrants)))
    else:
        (folder / ENSEMBLE_FILE).unlink(missing_ok=True)
    publish_neighbours(folder, plan.study, entrants[0].stored.plan_digest, plan.neighbours)


def _as_stored(plan: AnalysisPlan, ensemble: Ensemble, entrants: Sequence[Entrant]) -> StoredEnsemble:
    stored, models = {one.entry: one.stored for one in entrants}, {one.model: one for one in plan.models}
    return StoredEnsemble(
        study=plan.study,
        parts=tuple(StoredPart(one.times, stored[models[one.model].entry(one.label)]) for one in ensemble.parts),
        temperature=ensemble.fit.temperature,
        threshold=ensemble.fit.threshold,
        plan_digest=entrants[0].stored.plan_digest,
    )


def withdraw(comparison: Comparison) -> None:
    """Takes away final models that an earlier version left before its opening; a closed one's stay."""
    if comparison.ledger.was_opened(comparison.name):
        return
    for model in comparison.models():
        (comparison.folder / model / MODEL_FILE).unlink(missing_ok=True)


def check_reopening(comparison: Comparison, reopen: str | None, planned: str) -> None:
    """Refuses early, before anything is retrained, what ``open_test`` would refuse.

    Args:
        comparison: whose test split.
        reopen: the user's reason; None where there is none.
        planned: what is about to be planned, as ``plan.settings["planned"]`` has it.
    """
    last = comparison.ledger.last_opening(comparison.name)
    if last is None or reopen is not None:
        return
    stored = comparison.ledger.plan(last.plan_digest)
    if stored is not None and _planned_in(stored[0]) != planned:
        raise UsageError(_refusal(comparison.name))
    _is_done(comparison, last, reopen)


def check_decided(comparison: Comparison, decided: AnalysisPlan, reopen: str | None) -> None:
    """Refuses what ``open_test`` would, once members are trained: lost ones may have come out otherwise elsewhere.

    Raises:
        UsageError: another plan was opened before, and no reason was given.
    """
    before = last_plan(comparison)
    if before is None or reopen is not None or decides_the_same(before[0], decided):
        return
    others = trained_otherwise(before[0], decided)
    raise UsageError(_not_those(comparison, before[1], others) if others else _refusal(comparison.name))


def _planned_in(text: str) -> object:
    return from_json(AnalysisPlan, text, "the plan in the database").settings.get("planned")


def _refusal(study: str) -> str:
    return (
        f"the test split of {study} was opened before, under another plan (other best trials, settings, data "
        "or version of HistoTune): its numbers would not be the first look any more. "
        "To open it again, and have that in the report: "
        '--reopen "reason"'
    )


def _not_those(comparison: Comparison, plan_digest: str, members: list[str]) -> str:
    more = f" and {len(members) - 3} more" if len(members) > 3 else ""
    return (
        f"{'; '.join(members[:3])}{more}: lost, trained again, and not those that the plan {plan_digest[:12]} was "
        "frozen with, as another machine, device or version sums otherwise. Put these back from a backup "
        f"({comparison.folder}/MODEL/members), or have the new ones tested, which the report will count as one more "
        f'opening: python -m search.finalize --study {comparison.name} --reopen "reason"'
    )


def _is_done(comparison: Comparison, last: OpeningRecord, reopen: str | None) -> bool:
    """Whether an opening was closed, and what it left for the report is still there.

    Raises:
        UsageError: it is not, and there is no reason to read again.
    """
    if last.predictions is None:
        return False
    folder = comparison.folder / OPENING
    problem = (
        problem_with(folder, last.predictions)
        or problem_with_pictures(folder / "examples")
        or problem_with_tissue(folder / SLIDES)
    )
    if problem is not None and reopen is None:
        raise UsageError(lost(comparison, problem))
    return problem is None


def _opening(
    comparison: Comparison, plan: AnalysisPlan, plan_digest: str, prepared: Prepared, reopen: str | None
) -> int | None:
    """The record to read under: a new one, or one that was cut off; None where all was read under this plan."""
    check_folder(comparison)
    ledger, study = comparison.ledger, comparison.name
    last = ledger.last_opening(study)
    if last is not None and last.plan_digest == plan_digest:
        if not last.closed:
            return last.number
        if _is_done(comparison, last, reopen):
            return None
    elif last is not None and reopen is None:
        raise UsageError(_refusal(study))
    ledger.freeze_plan(study, plan_digest, to_json(plan))
    sealed = sealed_digests(prepared.sealed).tolist()
    return ledger.record_opening(study, plan_digest, sealed, reopen or "", by(), prepared.plain)


def _begin_anew(folder: Path, mark: Mark) -> None:
    """Keeps what this opening has predicted already, and moves what an earlier one has left out of the way."""
    left = Mark.read(folder)
    if left != mark and folder.is_dir() and any(folder.iterdir()):
        folder.rename(folder.with_name(f"{OPENING}-{0 if left is None else left.record}"))
    folder.mkdir(parents=True, exist_ok=True)
    mark.write(folder)


def _predict(
    test: PatchSet,
    prepared: Prepared,
    plan: AnalysisPlan,
    entrants: list[Entrant],
    folder: Path,
    device: str,
    weights: Weights | None,
    progress: Progress,
) -> Predictions:
    kept = SharedOutputs()
    members = {entrant.entry: _members(entrant, test, folder, device, progress, kept) for entrant in entrants}
    development = load_development(prepared.development)
    assert development.labels is not None
    logits = {entry: scores.mean(axis=1) for entry, scores in members.items()}
    fits: dict[str, StoredModel | Fit] = {entrant.entry: entrant.stored for entrant in entrants}
    if plan.ensemble is not None:
        logits[ENSEMBLE] = ensemble_logit(plan.ensemble, plan.models, logits)
        fits[ENSEMBLE] = plan.ensemble.fit
        if (control := plan.ensemble.control) is not None:
            by_label = {part.retrained.label: logits[part.entry] for part in control.parts}
            logits[CONTROL] = control_logit(control.parts, by_label)
            fits[CONTROL] = control.fit
    if plan.neighbours is not None:
        logits[NEIGHBOURS] = neighbours_logit(
            plan.neighbours, patients_of(test), test.x, test.y, logits[plan.neighbours.of]
        )
        fits[NEIGHBOURS] = plan.neighbours.fit
    logits |= baseline_logits(development.pixels, development.labels, test.pixels)
    if FROZEN in plan.baselines:
        assert weights is not None  # by which it was planned
        logits[FROZEN] = frozen_logits(
            development.pixels, development.labels, test.pixels, weights=weights, device=device
        )
    prevalence = float(np.mean(development.labels))
    return scored(
        test,
        logits,
        temperatures={entry: fit.temperature for entry, fit in fits.items()},
        thresholds={entry: fit.threshold for entry, fit in fits.items()}
        | baseline_thresholds(plan.baselines, prevalence),
        members=members,
    )


def _members(
    entrant: Entrant, test: PatchSet, folder: Path, device: str, progress: Progress, outputs: SharedOutputs
) -> Floats:
    """(N, M) logits of an entrant's members; kept as soon as they are there."""
    kept = folder / f"members-{entrant.entry.replace(':', '-')}.npy"
    if os.path.lexists(kept):
        logits = np.array(map_array(kept))
        if logits.shape != (len(test), len(entrant.stored.members)) or logits.dtype != np.float64:
            raise UsageError(f"{kept} is not what was predicted before; delete it and run the same command again")
        return logits
    logits = member_logits(entrant.stored, entrant.folder, test.pixels, device, progress, outputs)
    _save_array(kept, logits)
    return logits


def _save_array(path: Path, array: npt.NDArray[Any]) -> None:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    write_whole(path, content.getvalue())
