"""The analysis plan: what is decided before a test row is read, and whether what it rests on is still the same.

A plan knows the trials and the records that it was made of by their digests. What came later is told, and is in no
number; what was changed is told as well.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from data_utils.readers.patchset import Ints, known
from data_utils.split.prepare import DevelopmentSet
from search.comparison import DATA_FILE, ENVIRONMENT_FILE, OUT_OF_FOLD, Comparison
from studies.errors import RecordError
from studies.files import read_file
from studies.final_models import CandidateResult, ControlPart, FinalModel
from studies.findings.neighbours import NEIGHBOURS
from studies.findings.predictions import PREDICTIONS_FILE
from studies.records import AnalysisPlan, DataSummary, StudySummary, digest, from_json, to_json
from studies.storage.results import FINISHED, own_trials, summarise, trials_digest

TRIALS, RECORDS, FOLD_SIZES, TRAINED_AGAIN = "trials", "records", "fold sizes", "trained again"
ABOVE_LIMIT = "above the limit"
"""Settings of a plan that decide nothing: which trials of each study it knew, and the files that a report reads
besides, both by digest; patients, patches and patches with IDC of each fold; members that were lost and came out
otherwise than under the plan before; that its final model takes longer than a prediction may. So does why no score
looks at neighbours, under the name of that entrant."""
MOST_TIME = "most milliseconds a patch"
"""The setting that has what the final model may take; there is none in plans without such a limit."""
RACE = "race"
"""The setting that has the rule by which candidates were dropped; there is none in plans without a race."""
_OF_DATA = ("fingerprint", "parts", "patient_ids", "patients", "lock_digest", "fractions")  # not what was passed over
_LARGEST = 2**30  # bytes of a file of out-of-fold predictions
_LARGEST_DATA = 16 * 2**20  # bytes of data.json, which names each development patient


def last_plan(comparison: Comparison) -> tuple[AnalysisPlan, str] | None:
    """The plan of the newest opening, closed or not, and its digest; None before the first."""
    last = comparison.ledger.last_opening(comparison.name)
    stored = None if last is None else comparison.ledger.plan(last.plan_digest)
    if last is None or stored is None:
        return None
    return from_json(AnalysisPlan, stored[0], "the plan in the database"), last.plan_digest


def digest_of(plan: AnalysisPlan) -> str:
    """Sha256 of a plan; how long its members took to train is no part of what was decided."""
    return digest(_without_seconds(plan))


def decides_the_same(one: AnalysisPlan, other: AnalysisPlan) -> bool:
    """Whether two plans differ at most in the records that they name, and in what a later version computes besides."""
    return to_json(_decisions(one)) == to_json(_decisions(other))


def frozen(model: FinalModel, plan: AnalysisPlan | None) -> FinalModel:
    """The model as the plan of the last opening has it, where that was made of the same members; else as it is.

    Rules for temperature and threshold may change from version to version; what was frozen by them does not.
    """
    models = () if plan is None else plan.models
    known = next((one for one in models if _made_of(one) == _made_of(model)), None)
    return model if known is None else known


def _made_of(model: FinalModel) -> object:
    members = [
        (one.label, one.trial, one.params, [member.sha256 for member in one.members]) for one in model.candidates
    ]
    return model.model, model.chosen, model.weights, members


def trained_otherwise(before: AnalysisPlan, decided: AnalysisPlan) -> list[str]:
    """Members of the same configurations that are not those of the plan before: they were lost, and trained again."""
    known = members_of(before)
    return [
        f"{model} trial {trial}, member {fold + 1}"
        for (model, trial, epochs, fold), sha256 in members_of(decided).items()
        if known.get((model, trial, epochs, fold), sha256) != sha256
    ]


def members_of(plan: AnalysisPlan) -> dict[tuple[str, int, int, int], str]:
    """(model, trial, epochs, fold) -> sha256 of the member's weights; of a control the model goes with its label."""
    control = () if plan.ensemble is None or plan.ensemble.control is None else plan.ensemble.control.trained
    all_of_them = [
        *((model.model, candidate) for model in plan.models for candidate in model.candidates),
        *((f"{part.model} {part.retrained.label},", part.retrained) for part in control),
    ]
    return {
        (name, candidate.trial, candidate.epochs, member.fold): member.sha256
        for name, candidate in all_of_them
        for member in candidate.members
    }


# --- the trials that it knows ---------------------------------------------------------------------------------------


def trials_of(studies: Sequence[StudySummary]) -> dict[str, dict[str, Any]]:
    """For the settings of a plan: by model, the numbers of the finished trials and a digest of them."""
    return {
        study.model: {
            "numbers": [trial.number for trial in study.trials if trial.state in FINISHED],
            "sha256": trials_digest(study),
        }
        for study in studies
    }


def studies_of(comparison: Comparison, plan: AnalysisPlan | None) -> tuple[StudySummary, ...]:
    """The studies as a plan knew them; as they are now where there is none, or one that names no trials."""
    known = _numbers(plan)
    models = comparison.models() if known is None else [model for model in comparison.models() if model in known]
    return tuple(
        summarise(comparison.load_study(model), only=None if known is None else known[model]) for model in models
    )


def came_later(comparison: Comparison, plan: AnalysisPlan) -> tuple[str, ...]:
    """What the studies hold by now that the plan did not know, a sentence a study."""
    known = _numbers(plan)
    if known is None:
        return ()
    found = []
    for model in comparison.models():
        trials = own_trials(comparison.load_study(model).get_trials(deepcopy=False))
        later = sum(trial.state.is_finished() and trial.number not in known.get(model, ()) for trial in trials)
        if later:
            trials_of_it = f"{later} {'trial' if later == 1 else 'trials'} of {comparison.study_name(model)}"
            found.append(f"{trials_of_it} ended after the plan was frozen, and the report is without them")
    return tuple(found)


def changed(comparison: Comparison, plan: AnalysisPlan, studies: Sequence[StudySummary]) -> tuple[str, ...]:
    """What is not as the plan knew it, in words: trials in the database, and files that a report reads."""
    known: Mapping[str, Any] = plan.settings.get(TRIALS, {})
    trials = [
        f"the trials of study {study.name} are not those that the plan was frozen on"
        for study in studies
        if study.model in known and known[study.model]["sha256"] != trials_digest(study)
    ]
    gone = [
        f"study {comparison.study_name(model)}, which the plan was frozen on, is gone from the database"
        for model in sorted(set(known) - {study.model for study in studies})
    ]
    recorded: Mapping[str, str] = plan.settings.get(RECORDS, {})
    found = records_of(comparison.folder, [model.model for model in plan.models])
    files = [
        f"{comparison.folder / name} is not what it was when the plan was frozen"
        for name, before in recorded.items()
        if found.get(name) != before
    ]
    return (*trials, *gone, *files)


def _numbers(plan: AnalysisPlan | None) -> dict[str, Collection[int]] | None:
    if plan is None or TRIALS not in plan.settings:
        return None
    return {model: frozenset(of["numbers"]) for model, of in plan.settings[TRIALS].items()}


def fold_sizes(development: DevelopmentSet, fold: Ints) -> list[list[int]]:
    """[patients, patches, patches with IDC] of each fold; patients 0 where they are unknown."""
    labels, patients = known(development), development.patients
    return [
        [
            0 if patients is None else len(np.unique(patients[fold == number])),
            int((fold == number).sum()),
            int(labels[fold == number].sum()),
        ]
        for number in range(int(fold.max()) + 1)
    ]


# --- the files that it knows ----------------------------------------------------------------------------------------


def records_of(folder: Path, models: Sequence[str]) -> dict[str, str]:
    """Sha256 of each file beside the database that a report reads, by its place in ``runs/NAME``; "" of a lost one."""
    predictions = [f"{model}/{OUT_OF_FOLD}/{PREDICTIONS_FILE}" for model in models]
    return {
        DATA_FILE: _of_data(folder / DATA_FILE),
        **{name: _of_file(folder / name) for name in (ENVIRONMENT_FILE, *predictions)},
    }


def _of_data(path: Path) -> str:
    """Of what was read and how it was split, in fields that every version has; it may be named by another path."""
    try:
        summary = from_json(DataSummary, read_file(path, _LARGEST_DATA), str(path))
    except RecordError:
        return ""
    return sha256(json.dumps([getattr(summary, name) for name in _OF_DATA], default=vars).encode()).hexdigest()


def _of_file(path: Path) -> str:
    try:
        return sha256(read_file(path, _LARGEST)).hexdigest()
    except RecordError:
        return ""


def _without_seconds(plan: AnalysisPlan) -> AnalysisPlan:
    models = tuple(replace(model, candidates=tuple(map(_timeless, model.candidates))) for model in plan.models)
    ensemble = plan.ensemble
    if ensemble is not None and (control := ensemble.control) is not None:
        parts, others = map(_timeless_parts, (control.parts, control.others))
        ensemble = replace(ensemble, control=replace(control, parts=parts, others=others))
    return replace(plan, models=models, ensemble=ensemble)


def _timeless_parts(parts: tuple[ControlPart, ...]) -> tuple[ControlPart, ...]:
    return tuple(replace(part, retrained=_timeless(part.retrained)) for part in parts)


def _timeless(one: CandidateResult) -> CandidateResult:
    return replace(one, members=tuple(replace(member, seconds=0.0) for member in one.members))


def _decisions(plan: AnalysisPlan) -> AnalysisPlan:
    about = (TRIALS, RECORDS, FOLD_SIZES, TRAINED_AGAIN, ABOVE_LIMIT, NEIGHBOURS)
    settings = {key: value for key, value in plan.settings.items() if key not in about}
    return replace(_without_seconds(plan), settings=settings, statistics=())
