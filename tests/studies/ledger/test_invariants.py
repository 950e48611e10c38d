"""What must be true of a database at any time."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from stored import own_study

from studies.ledger import _tables as tables
from studies.ledger.invariants import broken
from studies.ledger.ledger import Launch, Ledger
from studies.records import BEST_EPOCH
from studies.storage.definition import DEFINITION

SPACE = {"rate": FloatDistribution(0, 1)}
STEPS = {1: 0.6, 2: 0.7, 3: 0.8}


@pytest.fixture
def study(storage: RDBStorage) -> optuna.Study:
    """Two trials as they should be."""
    Ledger(storage.engine)
    study = own_study(storage)
    study.set_user_attr("settings", {"trials": 4})
    add(study, 0.1, TrialState.COMPLETE, value=0.8)
    add(study, 0.2, TrialState.PRUNED, steps={1: 0.5})
    return study


def add(
    study: optuna.Study,
    rate: float,
    state: TrialState,
    *,
    value: float | None = None,
    steps: dict[int, float] | None = None,
    **attributes: object,
) -> None:
    study.add_trial(
        create_trial(
            state=state,
            value=value,
            params={"rate": rate},
            distributions=SPACE,
            intermediate_values=STEPS if steps is None else steps,
            user_attrs={BEST_EPOCH: 3, **attributes},
        )
    )


def found(storage: RDBStorage, *, alive: bool = False) -> list[str]:
    return broken(storage, lambda _: alive)


def test_a_sound_database_breaks_nothing(storage: RDBStorage, study: optuna.Study) -> None:
    add(study, 0.3, TrialState.FAIL, steps={}, failure="ValueError: no")
    assert found(storage) == []


@pytest.mark.parametrize(
    ("state", "more", "problem"),
    [
        (TrialState.COMPLETE, {"value": 0.7}, "trial 2 is COMPLETE with 0.7, which is not its last epoch's value"),
        (TrialState.COMPLETE, {"value": 0.8, "steps": {1: 0.6, 3: 0.8}}, "trial 2 has holes in its epochs: 1, 3"),
        (TrialState.PRUNED, {"steps": {}}, "trial 2 is PRUNED without an epoch"),
        (TrialState.FAIL, {"steps": {}}, "trial 2 is FAIL without a reason"),
    ],
)
def test_a_trial_that_cannot_be_is_named(
    storage: RDBStorage, study: optuna.Study, state: TrialState, more: dict[str, object], problem: str
) -> None:
    add(study, 0.3, state, **more)
    assert found(storage) == [f"idc-cnn: {problem}"]


def test_a_launch_that_ends_between_two_reads_has_left_no_trial(storage: RDBStorage, study: optuna.Study) -> None:
    trial = study.ask()
    Ledger(storage.engine).begin_launch("idc", "host", 1, 0.0)
    assert found(storage) == ["idc-cnn: RUNNING without a launch that is alive: 2 (the next launch takes them up)"]

    def ends(_: Launch) -> bool:
        if study.trials[2].state == TrialState.RUNNING:
            trial.set_user_attr("failure", "ValueError: no")
            study.tell(trial, state=TrialState.FAIL)
        return False

    assert broken(storage, ends) == []


def test_a_later_launch_may_ask_for_fewer_trials_than_there_are(storage: RDBStorage, study: optuna.Study) -> None:
    study.set_user_attr("settings", {"trials": 1, "most_trials": 2})
    assert found(storage) == []
    study.set_user_attr("settings", {"trials": 1, "most_trials": 1})
    assert found(storage) == ["idc-cnn: 2 trials are finished, 1 were asked for"]


def test_a_study_of_before_is_held_to_its_best_epoch(storage: RDBStorage, study: optuna.Study) -> None:
    add(study, 0.3, TrialState.COMPLETE, value=0.9, steps={1: 0.6, 2: 0.9, 3: 0.7})
    assert found(storage) == ["idc-cnn: trial 2 is COMPLETE with 0.9, which is not its last epoch's value"]
    definition = {name: value for name, value in study.user_attrs[DEFINITION].items() if name != "measure"}
    study.set_user_attr(DEFINITION, definition)
    assert found(storage) == []


def test_a_trial_that_was_told_by_hand_is_named_and_studies_of_others_are_not_judged(
    storage: RDBStorage, study: optuna.Study
) -> None:
    study.tell(study.ask(), 0.99)
    others = optuna.create_study(storage=storage, study_name="idc-anything")
    others.tell(others.ask(), 0.5)
    assert found(storage) == ["idc-cnn: trial 2 is COMPLETE, but no launch has trained it: added or told by hand"]


def test_a_configuration_that_nobody_asked_for_twice_is_named(storage: RDBStorage, study: optuna.Study) -> None:
    add(study, 0.1, TrialState.COMPLETE, value=0.8)
    assert found(storage) == ["idc-cnn: trial 2 repeats the configuration of trial 0"]


def test_more_trials_than_were_asked_for_are_counted_at_rest(storage: RDBStorage, study: optuna.Study) -> None:
    for rate in (0.3, 0.4, 0.5):
        add(study, rate, TrialState.COMPLETE, value=0.8)
    assert found(storage) == ["idc-cnn: 5 trials are finished, 4 were asked for"]


def test_a_running_trial_belongs_to_a_launch_that_is_alive(storage: RDBStorage, study: optuna.Study) -> None:
    ledger = Ledger(storage.engine)
    launch = ledger.begin_launch("idc", "host", 1, 0.0)
    trial = study.ask()
    with ledger.lease("idc-cnn", launch):
        assert ledger.own("idc-cnn", trial.number, launch)
    assert found(storage, alive=True) == []
    (problem,) = found(storage)
    assert problem.startswith("idc-cnn: RUNNING without a launch that is alive: 2")


def test_one_comparison_is_looked_at_without_the_others_but_with_the_chain_of_all(
    storage: RDBStorage, study: optuna.Study
) -> None:
    other = own_study(storage, "idc-b-cnn")
    add(other, 0.3, TrialState.FAIL, steps={})
    assert broken(storage, lambda _: False, "idc") == []
    assert found(storage) == ["idc-b-cnn: trial 0 is FAIL without a reason"]
    with storage.engine.begin() as connection:
        values = {"study": "idc-b", "digest": "1", "text": "past the ledger", "drawn_at": 0.0}
        connection.execute(tables.locks.insert().values(values))
    (problem,) = broken(storage, lambda _: False, "idc")
    assert problem == "in the chain of the whole database: the lock idc-b was written past the chain of records"
