"""The soak in its short form: on real processes, and what it says of a database that is not as promised."""

import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from stored import own_study

from soak.kills import look
from soak.launched import MODEL, STUDY
from soak.plan import END, START_UP, TRAINING, WHOLE, draw
from studies.storage.studies import open_storage

ROOT = Path(__file__).resolve().parents[2]


def test_a_driver_and_a_worker_killed_at_random_leave_a_study_as_promised(tmp_path: Path) -> None:
    options = ["--databases", "sqlite", "--drivers", "1", "--workers", "1", "--no-inputs", "--seed", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "soak", *options, "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=570,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    # a search that ends before its driver is killed is begun again, and its worker killed again
    assert re.match(r"soak: sqlite: 1 driver kills \(1 training\), [1-5] worker kills, ", last), last
    assert "0 problems" in last


def test_what_is_not_as_promised_is_found_in_the_database_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    storage = open_storage(url)
    study = own_study(storage, f"{STUDY}-{MODEL}")
    study.ask()
    for _ in range(2):
        trial = study.ask({"rate": optuna.distributions.FloatDistribution(0, 0)})
        trial.report(0.5, 2)
        study.tell(trial, 0.5)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    storage.engine.dispose()
    states, problems = look(url, wanted=4, may_fail=0)
    assert states == {"RUNNING": 1, "COMPLETE": 2, "FAIL": 1}
    assert [problem for problem in problems if "3 trials have ended, 4 were asked for" in problem]
    assert [problem for problem in problems if "1 trials are FAIL, the kills explain 0" in problem]
    assert [problem for problem in problems if "1 trials are RUNNING" in problem]
    assert [problem for problem in problems if "has holes in its epochs: 2" in problem]
    assert [problem for problem in problems if "repeats the configuration" in problem]


def test_a_plan_is_drawn_from_its_seed_and_reaches_all_phases() -> None:
    plan = draw(5, 50, 20)
    assert plan == draw(5, 50, 20) != draw(6, 50, 20)
    assert {launch.phase for launch in plan[:-1]} == {START_UP, TRAINING, END}
    assert plan[-1].phase == WHOLE
    assert len(plan) == 51
    assert sum(len(launch.workers) for launch in plan) == 20
    assert not [launch for launch in plan if launch.phase in (START_UP, END) and launch.workers]


@pytest.mark.parametrize("seed", range(3))
def test_workers_are_killed_although_no_driver_is(seed: int) -> None:
    (only,) = draw(seed, 0, 4)
    assert (only.phase, len(only.workers)) == (WHOLE, 4)
