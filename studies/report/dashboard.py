"""What optuna-dashboard shows of a comparison beside its trials: a note, the report, each trial's learning curve.

Report and curves are artifacts, files in a folder that ``search.dashboard`` serves. They are written when a report is,
and again with every later one: each has an id of its own that follows from what it is.

Optuna's own ``upload_artifact`` refuses trials that have ended, and gives a new id each time. So their description is
stored where optuna-dashboard keeps that of files uploaded in the browser: with the study, under the trial's id.
"""

import json
from dataclasses import asdict
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import optuna
from optuna.artifacts import ArtifactMeta
from optuna.storages import BaseStorage
from optuna_dashboard import get_note, save_note

from studies.figures.curve import curve_picture
from studies.files import write_whole
from studies.records import StudySummary
from studies.storage.results import IGNORED, ZERO_IS_NONE
from studies.storage.studies import quiet_optuna

ARTIFACTS = "artifacts"
"""Folder below ``--runs`` that holds them."""
_OURS = "**HistoTune:**"


def publish(storage: BaseStorage, study: StudySummary, report: Path, headline: str, folder: Path) -> None:
    """Stores note, report and curves of one study; what somebody else wrote into the note is kept below ours.

    Args:
        storage: of the study.
        study: as it was read for the report.
        report: the HTML file.
        headline: the verdict.
        folder: of the artifacts.
    """
    shelf = _Shelf(storage, study.name, folder)
    link = shelf.keep("report.html", "text/html", report.read_text(encoding="utf-8"))
    for trial in study.trials:
        if trial.curve:
            name = f"learning-curve-{trial.number}.svg"
            shelf.keep(name, "image/svg+xml", curve_picture(study, trial), trial.number)
    place = f"[Open the report]({link}), or find it at `{report.resolve()}`."
    told = f"{_OURS} {headline} {place}{_of_ignored(study)}{_of_none(study)}{_of_taken_over(study)}"
    _say(storage, study.name, told)


def _of_taken_over(study: StudySummary) -> str:
    """Nor can it know that a value was reached elsewhere."""
    if not study.taken_over:
        return ""
    return (
        f" {study.taken_over} trials were taken over from an older study (`origin`: taken over): what this page calls "
        "the best may be one of them."
    )


def _of_ignored(study: StudySummary) -> str:
    """What optuna-dashboard cannot know: its own importances and slices take what was drawn for what was used."""
    names = sorted({name for trial in study.trials for name in trial.attributes.get(IGNORED, ())})
    if not names:
        return ""
    listed = ", ".join(f"`{name}`" for name in names)
    return f" Drawn in all trials but without effect in some, which this page does not tell apart: {listed}."


def _of_none(study: StudySummary) -> str:
    """Nor that a negative number stands for none at all."""
    names = [f"`{name}`" for name, space in study.space.items() if space.get(ZERO_IS_NONE)]
    return f" A value below 0 means none at all, as 0 does: {', '.join(names)}." if names else ""


class _Shelf:
    """The artifacts of one study: files in a folder, described in the database."""

    def __init__(self, storage: BaseStorage, study: str, folder: Path) -> None:
        self._storage = storage
        self._name = study
        self._id = storage.get_study_id_from_name(study)
        self._folder = folder
        self._known = storage.get_study_system_attrs(self._id)

    def keep(self, name: str, mimetype: str, text: str, trial: int | None = None) -> str:
        """Stores a file of the study, or of one of its trials; returns where the dashboard serves it."""
        artifact = str(uuid5(NAMESPACE_URL, f"{self._name}/{name}"))
        write_whole(self._folder / artifact, text)
        owner = "" if trial is None else str(self._storage.get_trial_id_from_study_id_trial_number(self._id, trial))
        key = f"artifacts:{artifact}" if trial is None else f"dashboard:artifacts:{owner}:{artifact}"
        described = json.dumps(asdict(ArtifactMeta(artifact, name, mimetype, None)))
        if self._known.get(key) != described:
            self._storage.set_study_system_attr(self._id, key, described)
        return "/".join(["/artifacts", str(self._id), *([owner] if owner else []), artifact])


def _say(storage: BaseStorage, name: str, ours: str) -> None:
    """Puts our paragraph at the head of the study's note, in place of an earlier one."""
    with quiet_optuna():
        study = optuna.load_study(study_name=name, storage=storage)
    note = get_note(study)
    theirs = [paragraph for paragraph in note.split("\n\n") if paragraph and not paragraph.startswith(_OURS)]
    wanted = "\n\n".join([ours, *theirs])
    if note != wanted:
        save_note(study, wanted)
