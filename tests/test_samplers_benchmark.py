"""The comparison of samplers on surrogates of studies that have ended."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from benchmarks.samplers import SAMPLERS, compared, main, search, summary, surrogate, worst
from studies.storage.studies import make_sampler, open_storage

SPACE: dict[str, BaseDistribution] = {
    "place": FloatDistribution(0, 1),
    "rate": FloatDistribution(1e-4, 1e-2, log=True),
    "smoothing": FloatDistribution(-0.05, 0.2),
    "kind": CategoricalDistribution(("a", "b")),
    "held": CategoricalDistribution((3,)),
}


def fill(study: optuna.Study, trials: int) -> optuna.Study:
    """Trials that are pruned after epoch 2, but for every fourth."""
    study.sampler = make_sampler("random", 0)
    for number in range(trials):
        trial = study.ask(SPACE)
        value = 0.9 - (trial.params["place"] - 0.5) ** 2
        trial.report(value, 2)
        if number % 4:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.report(value + 0.05, 8)
            study.tell(trial, value + 0.05)
    return study


@pytest.fixture(scope="module")
def trials() -> list[optuna.trial.FrozenTrial]:
    return fill(optuna.create_study(direction="maximize"), 40).trials


def test_a_surrogate_has_learned_the_values_at_the_first_rung(trials: list[optuna.trial.FrozenTrial]) -> None:
    found = surrogate("s", trials)
    assert found is not None
    assert set(found.space) == set(SPACE) - {"held"}
    assert found.default == {name: trials[0].params[name] for name in found.space}
    assert [found.value(trial.params) for trial in trials] == pytest.approx(
        [trial.intermediate_values[2] for trial in trials], abs=1e-6
    )
    assert found.value(worst(found)) < found.value(found.default) - 0.05
    assert surrogate("s", trials[:14]) is None


def test_a_search_begins_with_the_default_and_is_judged_by_what_its_best_is_truly_worth(
    trials: list[optuna.trial.FrozenTrial],
) -> None:
    found = surrogate("s", trials)
    assert found is not None
    values = search(found, "tpe", found.default, trials=12, noise=0.1, seed=0)
    assert values[0, 0] == found.value(found.default)
    assert 0.03 < np.std(values[:, 1] - values[:, 0]) < 0.3
    assert summary(values) == [values[int(np.argmax(values[:10, 1])), 0], values[:, 0].mean()]


def test_all_samplers_see_the_same_world(trials: list[optuna.trial.FrozenTrial]) -> None:
    found = surrogate("s", trials)
    assert found is not None
    told = compared(found, misled=True, trials=10, noise=0.0, seeds=2)
    assert told.shape == (len(SAMPLERS), 2)
    assert told[0] == pytest.approx(told[1])  # tpe learns nothing of ten


def test_a_database_is_read_and_its_studies_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    storage = open_storage(url)
    for name in ("s-cnn", "s-vgg16"):
        fill(optuna.create_study(storage=storage, study_name=name, direction="maximize"), 15)
    fill(optuna.create_study(storage=storage, study_name="t-cnn", direction="maximize"), 3)
    assert main([url, "--seeds", "1", "--trials", "10"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("2 studies (1/s-cnn, 1/s-vgg16), 1 seeds, noise 0.006")
    assert "prior - tpe" in told
    assert "misled" in told
