"""docker-compose.yml with an engine: what is up, searches, loses a worker and its database, and keeps its studies."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine import PASSWORD, Stack, stack
from tree import wait_until

pytestmark = pytest.mark.timeout(5400)  # the first one may build the image
ENDLESS = 1000  # trials: no machine is through with them before all has happened to the search
SPACE = "cnn.width=16,cnn.kernel=3,cnn.batch_size=32"
NAME = "synthetic-300"
BACK = "the database is back after"
ALARMS = re.compile(r"Traceback|marked dead|unexpected|crash|died|0\.0\.0\.0", re.IGNORECASE)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("compose")) as made:
        yield made


def search(trials: int) -> list[str]:
    """The line that is typed for it."""
    more = ["--trials", str(trials), "--pruner", "none", "--epochs", "8", "--set", SPACE]
    return ["run", "--rm", "-T", "launch", "--model", "cnn", *more]


@dataclass
class Searched:
    """A search to which much happened.

    Attributes:
        said: by its launches.
        workers: the names of its containers, after another one was asked for.
        trials: how many it holds, all of them finished.
        again: what the same launch said that had nothing more to do.
    """

    said: str
    workers: list[str]
    trials: int
    again: str


@pytest.fixture(scope="module")
def searched(running: Stack) -> Searched:
    launch = running.start(*search(ENDLESS))
    try:
        wait_until(lambda: finished(running) >= 1, 240, "the first trial")
        running.up("--scale", "ray-worker=2")
        workers = running.containers("ray-worker")
        wait_until(lambda: len(hosts(running)) == 2, 240, "a trial on the second worker")
        running.podman("kill", workers[0])
        (database,) = running.containers("postgres")
        running.podman("kill", database)
        wait_until(lambda: "for the database" in running.logs("launch"), 60, "that the launch misses its database")
        running.podman("start", database)
        wait_until(lambda: BACK in running.logs("launch"), 60, "that it has it again")
        before = finished(running)
        wait_until(lambda: finished(running) > before, 240, "one more trial")
        running.podman("stop", "--time", "100", *running.containers("launch"))
        said, _ = launch.communicate(timeout=60)
    finally:
        launch.kill()
    trials = finished(running) + 3
    first, again = (running.compose(*search(trials)) for _ in range(2))
    return Searched(said + first.stdout + first.stderr, workers, trials, again.stdout + again.stderr)


def status(running: Stack) -> str:
    return running.compose("run", "--rm", "-T", "status", check=False).stdout


def finished(running: Stack) -> int:
    """Trials; -1 before there are any tables."""
    found = running.sql("SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL')")
    return int(found[0]) if found else -1


def hosts(running: Stack) -> set[str]:
    """On which trials were trained."""
    rows = running.sql("SELECT DISTINCT value_json FROM trial_user_attributes WHERE key = 'worker'")
    return {row.partition(":")[0] for row in rows}


def test_a_search_survives_its_worker_and_its_database(running: Stack, searched: Searched) -> None:
    assert f"{searched.trials} of {searched.trials}" in searched.said
    assert BACK in searched.said
    said = status(running)
    assert re.search(rf"finished +{searched.trials} of {searched.trials}\b", said)
    assert "RUNNING" not in said


def test_a_worker_that_comes_is_used(running: Stack, searched: Searched) -> None:
    assert len(searched.workers) == 2
    assert len(hosts(running)) == 2


def test_hints_are_typed_as_they_are(searched: Searched) -> None:
    assert f"next: docker compose run --rm finalize --study {NAME}" in searched.again
    assert "python -m" not in searched.said + searched.again


def test_the_next_launch_hears_nothing_of_the_one_before(running: Stack, searched: Searched) -> None:
    logs = f"cat $(ls /app/runs/{NAME}/logs/launch-*.log | tail -n 1)"
    told = running.podman("exec", running.containers("dashboard")[0], "sh", "-c", logs)
    assert "docker compose run --rm launch" in told
    assert ALARMS.findall(searched.again + told) == []


def test_no_part_of_the_password_is_shown(running: Stack, searched: Searched) -> None:
    logs = running.logs("dashboard")
    told = searched.said + searched.again + logs
    assert [part for part in (PASSWORD, "p@ss", "w:rd") if part in told] == []
    assert "http://127.0.0.1:18080/" in logs


def test_workers_know_neither_the_password_nor_the_database(running: Stack, searched: Searched) -> None:
    for name in (*running.containers("ray-head"), *running.containers("ray-worker")):
        assert PASSWORD not in running.podman("exec", name, "sh", "-c", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")


def test_studies_are_there_after_down_and_up(running: Stack, searched: Searched) -> None:
    before = status(running)
    running.compose("down")
    running.up()
    assert status(running) == before


def test_what_has_been_found_can_be_had_by_its_user(running: Stack, searched: Searched, tmp_path: Path) -> None:
    running.podman("cp", f"{running.containers('dashboard')[0]}:/app/runs/{NAME}", str(tmp_path))
    assert (tmp_path / NAME / "launch.toml").is_file()
    assert "docker compose run --rm launch" in (tmp_path / NAME / "launch.toml").read_text()


def test_ctrl_c_ends_a_search_in_order(running: Stack, searched: Searched) -> None:
    launch = running.start(*search(ENDLESS))
    try:
        wait_until(lambda: finished(running) > searched.trials, 120, "one more trial")
        (name,) = running.containers("launch")
        began = time.monotonic()
        running.podman("stop", "--time", "100", name)
        said, _ = launch.communicate(timeout=60)
    finally:
        launch.kill()
    assert time.monotonic() - began < 60
    assert "go on with: docker compose run --rm launch" in said
    assert "RUNNING" not in status(running)
    assert ALARMS.findall(said) == []


def test_a_command_with_another_token_says_so_in_a_line(running: Stack) -> None:
    typed = f"RAY_AUTH_TOKEN={'f' * 64} exec /app/deploy/in_ray.sh ray-head:6379 python -m search.launch --model cnn"
    done = running.compose("run", "--rm", "-T", "--entrypoint", "bash", "launch", "-c", typed, check=False)
    assert done.returncode == 1
    (told,) = [line for line in done.stderr.splitlines() if "Ray" in line]
    assert told.startswith("Ray at ray-head:6379 cannot be joined: ")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_launch_waits_for_the_first_worker_before_it_plans(running: Stack, searched: Searched) -> None:
    workers, before = running.containers("ray-worker"), finished(running)
    running.podman("stop", *workers)
    launch = running.start(*search(ENDLESS))
    try:
        wait_until(lambda: "no node of this Ray lends anything yet" in running.logs("launch"), 120, "that it waits")
        running.podman("start", workers[0])
        wait_until(lambda: finished(running) > before, 120, "one more trial")
        running.podman("stop", "--time", "100", *running.containers("launch"))
        said, _ = launch.communicate(timeout=60)
    finally:
        launch.kill()
    assert "none has joined" not in said
    assert "0 of 0 workers placed" not in said
