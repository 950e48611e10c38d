"""What a line says of a trial that has ended."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from search.command.terminal import Standing, Terminal
from search.training.jobs import EpochReport, Job

JOB = Job("cnn 3", "cnn", 3, {}, 0, 3, 3, Path("checkpoints"))


def told(job: Job, *values: float, failure: str | None = None) -> str:
    """The line after epochs with these scores."""
    console = Console(file=io.StringIO(), width=200)
    terminal = Terminal("title", "auc", lambda: {"idc-cnn": Standing({"COMPLETE": 1}, 2, None)}, console)
    terminal.begun(job)
    for epoch, value in enumerate(values, 1):
        last = epoch == len(values)
        report = EpochReport(epoch, {"auc": value}, 0.1, failure=failure if last else None)
        terminal.epoch(job, report, "COMPLETE" if last else "RUNNING")
    return console.file.getvalue().partition(" ")[2].strip()  # type: ignore[attr-defined]


def test_a_trial_is_told_with_its_best_epoch_where_that_is_not_its_last() -> None:
    counted = "(idc-cnn: 1 of 2)"
    assert told(JOB, 0.7, 0.9, 0.8) == f"cnn 3 COMPLETE after epoch 3, auc 0.8000, best 0.9000 after epoch 2 {counted}"
    assert told(JOB, 0.7, 0.9) == f"cnn 3 COMPLETE after epoch 2, auc 0.9000 {counted}"
    assert told(JOB, 0.9, 0.9) == f"cnn 3 COMPLETE after epoch 2, auc 0.9000, best 0.9000 after epoch 1 {counted}"
    assert told(JOB, 0.9, 0.8, failure="it broke") == f"cnn 3 COMPLETE: it broke {counted}"


def test_of_one_that_went_on_earlier_epochs_are_not_known() -> None:
    assert told(replace(JOB, reported=1), 0.9, 0.8) == "cnn 3 COMPLETE after epoch 2, auc 0.8000 (idc-cnn: 1 of 2)"
