"""Whatever Optuna's cache asks of its storage leads to a call that waits for its database."""

import inspect
import re
from pathlib import Path

import pytest
from optuna.storages import _CachedStorage

from studies.storage._optuna import OpenStorage
from studies.storage._rdb import REPEATABLE, PatientStorage

LEADS_TO = {
    "_create_new_trial": "make_trial",
    "_get_trials": "some_trials",
    "_set_trial_param": "set_param",
    "_get_best_trial_id": "best_trial_id",
}
"""Optuna's name of a step -> ours."""


def test_every_call_of_optuna_s_cache_on_its_storage_is_patient() -> None:
    called = set(re.findall(r"self\._backend\.(\w+)\(", inspect.getsource(_CachedStorage)))
    heartbeats = {name for name in called if "heartbeat" in name or "stale" in name}  # not used here
    wanted = {LEADS_TO.get(name, name) for name in called - heartbeats}
    assert wanted <= set(REPEATABLE) | {name for name in vars(PatientStorage) if name not in REPEATABLE}
    assert len(wanted) > 15


def test_every_step_under_a_name_of_optuna_s_is_the_one_under_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = OpenStorage(f"sqlite:///{tmp_path}/studies.db")
    for theirs, ours in LEADS_TO.items():
        told: list[tuple[object, ...]] = []
        asked = [object() for _ in inspect.signature(getattr(storage, ours)).parameters]
        monkeypatch.setattr(storage, ours, lambda *given, told=told: told.append(given))
        getattr(storage, theirs)(*asked)
        assert told == [tuple(asked)]
    storage.engine.dispose()
    overridden = {name for name in vars(OpenStorage) if re.match(r"_[a-z]", name)}
    assert overridden - {"_abc_impl"} == set(LEADS_TO)
