"""From the default to the best trial: a path where the trials tell it, and the plain word where they do not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from studies.findings.ablation import FEWEST, Path, Step, path_of
from studies.records import StudySummary, TrialResult

SPACE: dict[str, dict[str, Any]] = {
    "rate": {"kind": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "dropout": {"kind": "float", "low": 0.0, "high": 0.5, "log": False},
    "depth": {"kind": "integer", "low": 1, "high": 3, "log": False},
    "optimizer": {"kind": "choices", "choices": ["adamw", "sgd"]},
}
DEFAULT: dict[str, Any] = {"rate": 1e-3, "dropout": 0.1, "depth": 1, "optimizer": "adamw"}
BEST: dict[str, Any] = {"rate": 1e-3, "dropout": 0.4, "depth": 3, "optimizer": "sgd"}


def study(count: int, noise: float, seed: int = 0) -> StudySummary:
    """Depth is worth .02 a step and sgd .03, the others nothing; odd trials are pruned, .1 below their end."""
    rng = np.random.default_rng(seed)
    drawn = [
        {
            "rate": float(10 ** rng.uniform(-4, -2)),
            "dropout": float(rng.uniform(0, 0.5)),
            "depth": int(rng.integers(1, 4)),
            "optimizer": str(rng.choice(["adamw", "sgd"])),
        }
        for _ in range(count - 2)
    ]
    trials = []
    for number, params in enumerate([DEFAULT, BEST, *drawn]):
        value = 0.8 + 0.02 * params["depth"] + 0.03 * (params["optimizer"] == "sgd") + noise * rng.normal()
        value += 0.001 * (number == 1)
        pruned = number > 1 and number % 2 == 1
        curve = ((3, value - 0.1),) if pruned else ((3, value - 0.1), (12, value))
        state = "PRUNED" if pruned else "COMPLETE"
        attributes = {"best_epoch": curve[-1][0]}
        trials.append(TrialResult(number, state, curve[-1][1], params, curve, None, None, attributes))
    return StudySummary("s-cnn", "cnn", {"epochs": 12}, SPACE, tuple(trials), 1, 0, None)


def test_what_made_the_difference_is_found_and_the_rest_is_summed_up() -> None:
    path = path_of(study(60, noise=0.0))
    assert path is not None
    assert (path.trials, path.code) == (60, "HT-L05")
    assert path.foretold > 0.8
    gains = {step.parameter: step.gain for step in path.steps}
    assert set(gains) == {"dropout", "depth", "optimizer"}  # the rate is the same
    assert gains["depth"] == pytest.approx(0.04, abs=0.01)
    assert gains["optimizer"] == pytest.approx(0.03, abs=0.01)
    assert abs(gains["dropout"]) < 0.005
    assert path.steps[0].parameter == "depth"
    assert "; optimizer adamw → sgd +0.0" in path.words
    assert path.words.startswith("from the default to the best trial: depth 1 → 3 +0.0")
    assert path.words.endswith(
        " trials that are about as good differ by is foretold by a forest of trees that have not seen them)"
    )
    assert "dropout" not in path.words
    assert "; 1 more together " in path.words


def test_trials_that_foretell_nothing_tell_no_path() -> None:
    path = path_of(study(60, noise=0.2))
    assert path is not None
    assert (path.steps, path.code) == ((), "HT-L06")
    assert path.words.startswith("what made the best trial better than the default cannot be told: ")


def test_that_some_trials_collapse_tells_nothing_of_the_others() -> None:
    """Half of all rates ruin a training, which is foretold well; the rest is noise, the best trial the luckiest."""
    told = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        searched = study(50, noise=0.0, seed=seed)
        trials = []
        for trial in searched.trials:
            value = 0.6 if float(trial.params["rate"]) > 1.01e-3 else 0.9 + 0.007 * float(rng.normal())
            ended = replace(trial, state="COMPLETE", value=value, curve=((12, value),), attributes={"best_epoch": 12})
            trials.append(ended)
        best = max(range(len(trials)), key=lambda number: trials[number].value or 0.0)
        path = path_of(replace(searched, trials=tuple(trials), best=best))
        told.append(path is not None and path.code == "HT-L05")
    assert sum(told) == 0


def test_a_trial_that_somebody_added_with_another_parameter_is_no_obstacle() -> None:
    searched = study(60, noise=0.0)
    other = replace(searched.trials[0], number=60, params={**DEFAULT, "foo": 3.0}, attributes={})
    lost = replace(searched.trials[2], number=61, value=float("nan"), curve=((12, float("nan")),))
    space = SPACE | {"foo": {"kind": "float", "low": 0.0, "high": 9.0, "log": False}}
    path = path_of(replace(searched, trials=(*searched.trials, other, lost), space=space))
    assert path is not None
    assert (path.trials, path.steps) == (60, path_of(searched).steps)  # type: ignore[union-attr]


def test_nothing_is_said_while_trials_run_of_few_of_them_and_of_the_default() -> None:
    searched = study(60, noise=0.0)
    running = replace(searched.trials[-1], state="RUNNING")
    assert path_of(replace(searched, trials=(*searched.trials[:-1], running))) is None
    assert path_of(study(FEWEST - 1, noise=0.0)) is None
    assert path_of(replace(searched, best=0)) is None
    assert path_of(replace(searched, default=None)) is None
    assert path_of(replace(searched, best=None)) is None


def test_what_does_not_count_there_is_none() -> None:
    searched = study(60, noise=0.0)
    ignored = replace(searched.trials[1], attributes={"best_epoch": 12, "ignored": ["dropout"]})
    path = path_of(replace(searched, trials=(searched.trials[0], ignored, *searched.trials[2:])))
    assert path is not None
    assert [(step.before, step.after) for step in path.steps if step.parameter == "dropout"] == [(0.1, None)]


def test_steps_are_named_that_are_a_tenth_of_the_way() -> None:
    steps = (Step("rate", 1e-3, 0.002, 0.008), Step("depth", 1, 3, 0.003), Step("dropout", 0.1, None, -0.001))
    told = Path(30, 12, 0.62, steps).words
    assert told.startswith(
        "from the default to the best trial: rate 0.001 → 0.002 +0.0080; depth 1 → 3 +0.0030; "
        "dropout 0.1 → none -0.0010 (62% of what the 12 of 30 trials"
    )
    assert Path(30, 12, 0.62, (*steps, Step("pooling", "mean", "max", 0.0))).words.count("; 1 more together +0.0000 (")
    assert Path(30, 3, -302.0, ()).words.endswith("told: 3 of 30 trials are about as good, too few to tell by")
