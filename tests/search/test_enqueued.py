"""Trials that others enqueue, by plain Optuna."""

import sqlite3
from pathlib import Path

import optuna
from optuna.trial import TrialState
from tree import copy_tree

SEARCH = ("--study", "mine", "--model", "tiny", "--epochs", "2", "--pruner", "none", "--data", "synthetic:300")


def test_a_trial_that_is_enqueued_outside_of_the_space_fails_with_its_reason_and_the_search_goes_on(
    tmp_path: Path,
) -> None:
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    tree.run("launch", *SEARCH, "--trials", "1")
    study = optuna.load_study(study_name="mine-tiny", storage=f"sqlite:///{tree.runs}/studies.db")
    bad = ({"learning_rate": 9999.0}, {"batch_size": 33}, {"learning_rate": "0.02"}, {"width": 8})
    for params in bad:
        study.enqueue_trial(params)
    study.enqueue_trial({"learning_rate": 0.02})
    told = tree.run("launch", *SEARCH, "--trials", "7").stdout
    assert "tiny 1 FAIL: enqueued: learning_rate = 9999.0 lies outside FloatDistribution" in told
    trials = study.get_trials()
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        *[TrialState.FAIL] * len(bad),
        *[TrialState.COMPLETE] * 2,
    ]
    assert "batch_size = 33 lies outside CategoricalDistribution" in trials[2].user_attrs["failure"]
    assert "learning_rate = '0.02' lies outside" in trials[3].user_attrs["failure"]
    assert "'width' is no parameter of this model" in trials[4].user_attrs["failure"]
    assert trials[5].params["learning_rate"] == 0.02
    assert "1 study checked, 0 problems" in tree.run("status", "--check").stdout
    connection = sqlite3.connect(tree.runs / "studies.db")
    assert connection.execute("select count(*) from trial_params where trial_id in (2, 3, 4, 5)").fetchone() == (0,)
    connection.close()
