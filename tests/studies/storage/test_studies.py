"""Opening databases, and refusing to mix studies."""

import math
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from server import new_database
from stored import id_of

from studies.errors import DefinitionMismatchError, NoCompleteTrialError, StorageError
from studies.records import TrialResult
from studies.storage._gaussian import as_complete
from studies.storage.attributes import at_once
from studies.storage.definition import StudyDefinition
from studies.storage.results import best_trial, count_states, ranking, summarise
from studies.storage.space import SharedSpace
from studies.storage.studies import (
    check_resumed,
    create_or_resume,
    make_pruner,
    make_sampler,
    open_existing,
    open_storage,
    quiet_optuna,
)

DEFINITION = StudyDefinition(
    model="cnn",
    lock_digest="a" * 64,
    space={"x": '{"name": "FloatDistribution"}'},
    epochs=3,
    objective="auc",
    preprocessing="none",
    precision="fp32",
    weights="random",
    source="d" * 64,
    layout="contiguous",
    threads=1,
    pruner="none",
)


def new_study(storage: RDBStorage, definition: StudyDefinition = DEFINITION, pruner: str = "none") -> optuna.Study:
    return create_or_resume(
        storage, "idc-cnn", definition, sampler=make_sampler("random", 0), pruner=make_pruner(pruner, definition.epochs)
    )


def test_a_study_is_made_and_resumed(storage: RDBStorage) -> None:
    trial = new_study(storage).ask()
    assert trial.number == 0
    assert len(new_study(storage).trials) == 1


def test_a_sampler_a_trial_draws_what_optunas_own_would_draw() -> None:
    space = SharedSpace()

    def drawn(sampler_of: Callable[[int], BaseSampler]) -> list[dict[str, Any]]:
        study = optuna.create_study(direction="maximize")
        for number in range(25):
            study.sampler = sampler_of(number)
            trial = study.ask()
            width = trial.suggest_categorical("width", [16, 32, 48])
            rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
            ended = TrialState.FAIL if number == 7 else TrialState.COMPLETE
            study.tell(trial, None if number == 7 else width * rate, state=ended)
        return [trial.params for trial in study.trials]

    assert drawn(lambda number: make_sampler("tpe", number, space)) == drawn(_stock_tpe)


@pytest.mark.parametrize("seed", range(4))
def test_a_gaussian_process_learns_from_pruned_trials(seed: int) -> None:
    """With three complete trials it would still draw at random."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler("random", seed))
    for number in range(23):
        trial = study.ask()
        place = trial.suggest_float("place", 0, 1)
        trial.report(0.6 - (place - 0.8) ** 2, 1)
        if number in (4, 9, 15):
            study.tell(trial, 0.8 - (place - 0.8) ** 2)
        else:
            study.tell(trial, state=TrialState.PRUNED)
    study.sampler = make_sampler("gp", seed)
    assert study.ask().suggest_float("place", 0, 1) == pytest.approx(0.8, abs=0.1)


def test_a_pruned_trial_is_taken_for_what_it_may_have_come_to() -> None:
    study = optuna.create_study(direction="maximize")
    for values in ((0.5, 0.7, 0.8), (0.6, 0.7, 0.7)):
        trial = study.ask()
        trial.suggest_float("place", 0, 1)
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
        study.tell(trial, max(values))
    pruned, failed, running, empty = study.ask(), study.ask(), study.ask(), study.ask()
    for trial in (pruned, failed, running, empty):
        trial.suggest_float("place", 0, 1)
    study.tell(empty, state=TrialState.PRUNED)  # by hand, before it had a value
    pruned.report(0.4, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(failed, state=TrialState.FAIL)
    told = as_complete(study.trials)
    assert [trial.value for trial in told] == [0.8, 0.7, pytest.approx(0.6), None]
    assert [trial.params for trial in told] == [study.trials[number].params for number in (0, 1, 2, 4)]


@pytest.mark.parametrize("epochs", range(1, 101))
def test_successive_halving_looks_once_before_the_end(epochs: int) -> None:
    """A second look just before it would end what differs by noise alone."""
    noted: dict[str, float] = {}
    study = optuna.create_study(direction="maximize", pruner=make_pruner("sha", epochs))
    trial = study.ask()
    looked = []
    for epoch in range(1, epochs):  # none is judged after its last one
        trial.report(0.5, epoch)
        assert not trial.should_prune()
        found = {name: value for name, value in study.trials[0].system_attrs.items() if "rung" in name}
        looked += [epoch] * (len(found) - len(noted))
        noted = found
    assert looked == ([math.ceil(epochs / 4)] if epochs > 1 else [])


def _stock_tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": 5}, "epochs 3, not 5"),
        ({"objective": "balanced_accuracy"}, "objective auc, not balanced_accuracy"),
        ({"lock_digest": "b" * 64}, "lock_digest aaaaaaaaaaaa, not bbbbbbbbbbbb"),
        ({"space": {"x": "wider", "y": "new"}}, "another space \\(x, y\\)"),
        ({"pruner": "hyperband"}, "pruner none, not hyperband"),
        ({"weights": "c" * 64}, "weights random, not cccccccccccc"),
    ],
)
def test_another_definition_under_the_same_name_is_refused(
    storage: RDBStorage, changed: dict[str, object], said: str
) -> None:
    new_study(storage)
    with pytest.raises(DefinitionMismatchError, match=said) as caught:
        new_study(storage, replace(DEFINITION, **changed))  # type: ignore[arg-type]
    assert "--study NEW --warm-start idc" in str(caught.value)


@pytest.mark.parametrize("read", range(4))
def test_a_study_that_another_launch_makes_meanwhile_is_ours(
    storage: RDBStorage, read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its definition, missing in one read and there in the next, was taken for what another program says of it."""
    bare = optuna.create_study(storage=storage, study_name="idc-cnn", direction="maximize")
    reads = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            nonlocal reads
            reads += 1
            if reads == read + 1:
                new_study(storage).ask()
            return original(*given, **named)

        return called

    monkeypatch.setattr(optuna.Study, "get_trials", counted(optuna.Study.get_trials))
    monkeypatch.setattr(optuna.Study, "user_attrs", property(counted(vars(optuna.Study)["user_attrs"].fget)))
    check_resumed(bare, DEFINITION)
    assert reads > min(read, 1), "two reads are enough; by a third or fourth it was met half made"


def test_a_study_from_before_its_pruner_was_stored_keeps_it_and_its_first_rung(storage: RDBStorage) -> None:
    """Of its trials, those of epoch 2 are compared with one another; new ones judged after 3 would be among them."""
    asked = replace(DEFINITION, epochs=10, pruner="sha")
    study = new_study(storage, asked, "sha")
    before = {name: value for name, value in asked.as_attributes().items() if name != "pruner"}
    study.set_user_attr("definition", before)
    study.set_user_attr("settings", {"pruner": "sha"})
    trial = new_study(storage, asked, "sha").ask()
    for epoch in (1, 2):
        trial.report(0.5, epoch)
        trial.should_prune()
    assert "completed_rung_0" in study.trials[0].system_attrs
    with pytest.raises(DefinitionMismatchError, match="pruner sha, not hyperband"):
        new_study(storage, replace(asked, pruner="hyperband"), "hyperband")


def test_a_parameter_is_important_by_the_trials_in_which_it_counted() -> None:
    """Under adamw the rate of sgd was drawn without effect: that it happens to be large in good trials is no merit."""

    def importance_of(ignored: list[str]) -> dict[str, float]:
        study = optuna.create_study(direction="maximize", sampler=make_sampler("random", 0))
        for _ in range(60):
            trial = study.ask()
            sgd = trial.suggest_categorical("optimizer", ["adamw", "sgd"]) == "sgd"
            rate, width = trial.suggest_float("sgd_rate", 0, 1), trial.suggest_float("width", 0, 1)
            trial.set_user_attr("best_epoch", 1)  # as of every trial that a launch has trained
            if not sgd:
                trial.set_user_attr("ignored", ignored)
            study.tell(trial, 0.1 * width if sgd else 0.5 + 0.1 * rate)
        found = summarise(study).importance
        assert found is not None
        assert sum(found.values()) == pytest.approx(1)
        return found

    assert importance_of(["sgd_rate"])["sgd_rate"] == 0
    assert importance_of([])["sgd_rate"] > 0.2


def test_a_trial_that_waits_again_keeps_number_parameters_and_values(storage: RDBStorage) -> None:
    study = new_study(storage)
    trial = study.ask()
    x = trial.suggest_float("x", 0, 1)
    trial.report(0.5, 1)
    storage.set_trial_state_values(id_of(storage, 0), state=TrialState.WAITING)
    again = new_study(storage).ask()
    assert again.number == 0
    assert again.suggest_float("x", 0, 1) == x
    assert storage.get_trial(id_of(storage, 0)).intermediate_values == {1: 0.5}


def test_what_is_written_and_read_here_is_what_optuna_itself_reads(storage: RDBStorage) -> None:
    study = new_study(storage)
    study.enqueue_trial({"kind": "b"})
    study.enqueue_trial({"kind": "a"}, user_attrs={"why": "by hand"})
    trial = study.ask()
    trial.suggest_categorical("kind", ["a", "b", None])
    trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    trial.suggest_int("width", 8, 64, step=8)
    for step, value in enumerate((0.5, float("nan"), float("inf"), float("-inf"))):
        trial.report(value, step)
    trial.set_user_attr("cost", {"training": 1.5, "device": None})
    storage.set_trial_system_attr(id_of(storage, trial.number), "rung", 0.5)
    study.tell(trial.number, float("inf"))
    study.ask().report(0.5, 1)
    study.tell(1, state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask().suggest_float("rate", 1e-5, 1e-1, log=True)
    optunas = RDBStorage(storage.engine.url.render_as_string(hide_password=False))
    study_id = storage.get_study_id_from_name("idc-cnn")
    wanted = [repr(found) for found in optunas.get_all_trials(study_id)]
    assert len(wanted) == 4
    assert [repr(found) for found in storage.get_all_trials(study_id)] == wanted  # as Optuna does
    assert [repr(found) for found in optuna.load_study(study_name="idc-cnn", storage=storage).trials] == wanted
    assert [repr(storage.get_trial(id_of(storage, number))) for number in range(4)] == wanted
    optunas.engine.dispose()
    with pytest.raises(KeyError):
        storage.get_trial(99)
    with pytest.raises(KeyError):
        storage.set_trial_user_attr(99, "cost", 1)


def test_what_is_set_at_once_is_one_thread_s_and_one_trial_s(storage: RDBStorage) -> None:
    study = new_study(storage)
    first, second = study.ask(), study.ask()
    with ThreadPoolExecutor(1) as other, at_once(storage, id_of(storage, first.number)):
        first.set_user_attr("a", 1)
        second.set_user_attr("a", 2)
        other.submit(storage.set_trial_user_attr, id_of(storage, first.number), "b", 3).result()
        assert [trial.user_attrs for trial in study.get_trials()] == [{"b": 3}, {"a": 2}]
    assert [trial.user_attrs for trial in study.get_trials()] == [{"b": 3, "a": 1}, {"a": 2}]


def test_the_summary_has_every_state_and_the_best_trial(storage: RDBStorage) -> None:
    study = new_study(storage)
    for value in (0.7, 0.9, None):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ["a", "b"])
        trial.report(0.6, 1)
        trial.set_user_attr("best_epoch", 1)
        study.tell(trial, value, state=TrialState.PRUNED if value is None else None)
    summary = summarise(study)
    assert [trial.state for trial in summary.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert summary.best == 1
    assert summary.model == "cnn"
    assert summary.space == {
        "kind": {"kind": "choices", "choices": ["a", "b"]},
        "x": {"kind": "float", "low": 0.0, "high": 1.0, "log": False},
    }
    assert summary.trials[2].value == 0.6
    assert summary.trials[0].started is not None
    assert summary.trials[0].started.tzinfo is not None
    assert best_trial(summary).number == 1
    assert count_states(summary.trials) == "2 COMPLETE, 1 PRUNED"


def trial_of(number: int, value: float | None, state: str = "COMPLETE", best_epoch: int = 1) -> TrialResult:
    return TrialResult(number, state, value, {}, (), None, None, {"best_epoch": best_epoch})


def test_ties_go_to_fewer_epochs_then_to_the_older_trial() -> None:
    trials = [trial_of(0, 0.9, best_epoch=5), trial_of(1, 0.9, best_epoch=2), trial_of(2, 0.9, best_epoch=2)]
    trials += [trial_of(3, 0.99, state="PRUNED"), trial_of(4, 0.8)]
    assert [trial.number for trial in ranking(trials)] == [1, 2, 0, 4]


def test_a_difference_in_the_last_bits_is_a_tie() -> None:
    """83 of 117 pairs, as scikit-learn tells them of two orders of the same ranks."""
    assert [trial.number for trial in ranking([trial_of(0, 0.7094017094017093), trial_of(1, 0.7094017094017094)])] == [
        0,
        1,
    ]


def test_no_complete_trial_is_an_error_with_a_name(storage: RDBStorage) -> None:
    study = new_study(storage)
    study.tell(study.ask(), state=TrialState.FAIL)
    with pytest.raises(NoCompleteTrialError, match=r"1 FAIL.*search.launch --model cnn"):
        best_trial(summarise(study))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://user@host/db", "neither sqlite"),
        ("sqlite://", "keeps nothing"),
        ("sqlite:////proc/nowhere/studies.db", "cannot be made"),
    ],
)
def test_a_url_that_cannot_serve_is_refused_with_one_line(url: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text("not a database, but long enough to be read as one " * 50)
    with pytest.raises(StorageError, match="is no SQLite database; nothing was changed in it"):
        open_storage(f"sqlite:///{tmp_path}/studies.db")


def test_looking_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no database"):
        open_existing(f"sqlite:///{tmp_path}/new/studies.db")
    assert not (tmp_path / "new").exists()


def test_an_unreachable_server_names_itself_without_its_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("studies.storage.studies.SERVER_SECONDS", 1)
    with pytest.raises(StorageError, match=r"postgresql://me:\*\*\*@127.0.0.1:1/db cannot be opened") as caught:
        open_storage("postgresql://me:s3cret@127.0.0.1:1/db")
    assert "Connection refused" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in caplog.text
    assert caplog.text.count("for the database postgresql://me:***@127.0.0.1:1/db") == 1


@pytest.mark.parametrize("password", ["s3c@ret/word", "s3c/ret@127.0.0.1", "s@3cret", "@s3cret", "s3c@ret:5"])
def test_no_part_of_a_password_is_taken_for_a_host(password: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StorageError, match=r"write @ as %40 and / as %2F, or .* in \$PGPASSWORD") as caught:
        open_storage(f"postgresql://me:{password}@127.0.0.1:1/db")
    told = f"{caught.value} {caplog.text}"
    assert [part for part in ("s3c", "3cret", "127.0") if part in told] == []


def test_a_database_in_sql_ascii_holds_studies(postgresql: str) -> None:
    url = new_database(postgresql, "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    storage = open_storage(url)
    study = optuna.create_study(study_name="präparat-cnn", storage=storage)
    study.set_user_attr("note", "Gewebe, 組織")
    storage.engine.dispose()
    again = open_existing(url, served=True)
    assert optuna.load_study(study_name="präparat-cnn", storage=again).user_attrs["note"] == "Gewebe, 組織"
    again.engine.dispose()


def test_optuna_is_heard_again_when_the_last_who_wanted_quiet_has_left() -> None:
    before = optuna.logging.get_verbosity()
    first, second = ExitStack(), ExitStack()  # as two threads are within
    first.enter_context(quiet_optuna())
    second.enter_context(quiet_optuna())
    first.close()
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR != before
    second.close()
    assert optuna.logging.get_verbosity() == before
