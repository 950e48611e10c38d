"""Averaged weights: what they are, that they go on as if never cut off, and that a search scores them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from inside import context_of, job_for
from safetensors.torch import load_file
from torch import Tensor, nn

from data_utils.split.prepare import load_development
from models._registry import load_model
from search.training.average import Average
from search.training.device import Compute
from search.training.loop import evaluate
from search.workers.worker import Worker
from studies.measure import BEFORE, NOW, Measure, measure_of
from studies.statistics.metrics import auc

WINDOW = 3.0


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    made[0].requires_grad_(False)
    return made


def step(learning: nn.Sequential) -> None:
    """As an optimizer and batch statistics change what learns."""
    with torch.no_grad():
        for tensor in (*learning[1].parameters(), *learning[2].parameters(), learning[1].running_mean):
            tensor.add_(torch.randn_like(tensor))


def test_it_is_the_moving_average_of_every_step_that_forgets_its_beginning_sooner() -> None:
    learning = network()
    average = Average(learning, WINDOW)
    expected: dict[str, Tensor] = {name: tensor.double() for name, tensor in learning.state_dict().items()}
    for number in range(1, 21):
        step(learning)
        average.follow()
        share = max(1 / WINDOW, 9 / (9 + number))  # of the newest
        for name, tensor in learning.state_dict().items():
            expected[name] += share * (tensor.double() - expected[name])
    for name, tensor in average.network.state_dict().items():
        assert torch.allclose(tensor.double(), expected[name], atol=1e-5), name


def test_frozen_layers_are_not_held_twice_and_nothing_of_it_learns() -> None:
    learning = network()
    average = Average(learning, WINDOW)
    assert average.network[0].weight is learning[0].weight
    assert average.network[2].weight is not learning[2].weight
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert all(parameter.requires_grad for parameter in learning[2].parameters())


def test_one_that_goes_on_is_the_same_to_the_bit() -> None:
    learning = network()
    one, other = Average(learning, WINDOW), Average(learning, WINDOW)
    step(learning)
    one.follow()
    other.load_state_dict(one.state_dict())
    for _ in range(15):
        step(learning)
        one.follow()
        other.follow()
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    return Worker(context_of(tmp_path_factory.mktemp("development")))


def scores(worker: Worker, folder: Path, measure: Measure, cut_off_after: int | None = None) -> dict[int, float]:
    """The AUC after each epoch; a job that is cut off goes on from its checkpoint."""
    job = replace(job_for(folder, epochs=4), measure=measure)
    reports = [worker.begin(job)]
    while reports[-1].epoch < job.last_epoch:
        if len(reports) == cut_off_after:
            reports.append(worker.begin(replace(job, reported=reports[-1].epoch)))
        else:
            reports.append(worker.advance())
    return {report.epoch: report.scores["auc"] for report in reports}


def test_a_search_scores_averaged_weights_in_several_views_and_goes_on_with_them(
    worker: Worker, tmp_path: Path
) -> None:
    whole = scores(worker, tmp_path / "whole", NOW)
    assert scores(worker, tmp_path / "cut", NOW, cut_off_after=2) == whole
    assert whole != scores(worker, tmp_path / "before", BEFORE)
    assert whole != scores(worker, tmp_path / "one", replace(NOW, views=1))


def test_a_study_of_before_keeps_its_measure_and_another_one_names_its_own() -> None:
    assert measure_of({"model": "cnn"}) == BEFORE
    assert measure_of({"measure": {"window": 0.2, "views": 4, "best_epoch": False}}) == Measure(0.2, 4, False)
    assert str(BEFORE) == "best epoch, 1 view"
    assert str(Measure(0.2, 4, False)) == "last epoch, 4 views, weights averaged over 20 % of all steps"


def test_the_weights_that_a_member_leaves_are_those_that_were_scored(tmp_path: Path) -> None:
    made = context_of(tmp_path / "development")
    fold = np.arange(len(load_development(made.development).part)) % 3
    np.save(tmp_path / "folds.npy", fold)
    worker = Worker(replace(made, folds=tmp_path / "folds.npy"))
    job = replace(job_for(tmp_path / "job"), fold=1, out=tmp_path / "out", measure=NOW)
    report = worker.begin(job)
    while report.epoch < job.last_epoch:
        report = worker.advance()
    assert report.failure is None
    model = load_model("cnn")
    kept = model.build(model.configuration(job.params), None)
    kept.load_state_dict(load_file(tmp_path / "out" / "member_1.safetensors"))
    with np.load(tmp_path / "out" / "member_1.npz") as stored:
        logits = evaluate(kept, worker._patches, stored["rows"], Compute(), views=range(8))
        assert np.array_equal(stored["rows"], np.flatnonzero(fold == 1))
        assert np.allclose(stored["logits"], logits, atol=1e-5)
    assert report.scores["auc"] == pytest.approx(auc(worker._labels[fold == 1], logits.mean(axis=1)))
