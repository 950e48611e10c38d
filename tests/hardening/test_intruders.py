"""What others on the machine or in the network can see and reach while a whole comparison is made.

One comparison, from launch to dashboard, on a PostgreSQL whose role needs a planted password: once in the variable, and
once, as nobody should, on the command line.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest
from server import running_server
from tree import Tree, copy_tree, wait_until

PLANTED = "pl4nted-s3cret"
LAUNCH = ("--model", "tiny", "--data", "synthetic:300", "--trials", "2", "--epochs", "2", "--study", "seen")
# Runs where a network is built. In a worker: what Ray stores of the driver, and where it writes; then it waits.
PROBE = """
import json, os, time
from pathlib import Path
import ray
seen = Path(os.environ["SEEN"])
if ray.is_initialized() and not seen.exists():
    here = ray.get_runtime_context()
    told = {"jobs": repr(ray._private.state.jobs()), "session": f"{here.get_temp_dir()}/{here.get_session_name()}"}
    told |= {"gcs": here.gcs_address, "token": os.environ["RAY_AUTH_TOKEN"]}
    seen.with_suffix(".part").write_text(json.dumps(told))
    seen.with_suffix(".part").rename(seen)
while ray.is_initialized() and not Path(os.environ["GO_ON"]).exists():
    time.sleep(0.1)
"""
JOIN = "import ray, sys; ray.init(address=sys.argv[1], logging_level='error'); print('joined', len(ray.nodes()))"


@dataclass
class Seen:
    """What an onlooker found.

    Attributes:
        told: what the commands printed, by command.
        titles: command line of each command, as it was at the last look, by process id.
        others: command lines of all other processes.
        environments: of all processes but the commands themselves.
        listening: (process, address) of every socket that listens.
        ray: what a worker of the launch, and one of the finalization, knows of its Ray.
        joined: what came of joining the launch's Ray without its token, and with it.
        page: what the dashboard served.
        numbers: what Prometheus would read while the launch's first trial trains.
    """

    told: dict[str, str] = field(default_factory=dict)
    titles: dict[int, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    environments: set[str] = field(default_factory=set)
    listening: set[tuple[str, str]] = field(default_factory=set)
    ray: list[dict[str, str]] = field(default_factory=list)
    joined: tuple[str, str] = ("", "")
    page: str = ""
    numbers: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    rows: str = ""

    def look_at(self, command: psutil.Process) -> None:
        for process in (command, *command.children(recursive=True)):
            try:
                title = " ".join(process.cmdline())
                if process == command:
                    self.titles[process.pid] = title
                else:
                    self.others.add(title)
                    self.environments.add(repr(process.environ()))
                self.listening |= {
                    (process.name(), one.laddr.ip)
                    for one in process.net_connections(kind="inet")
                    if one.status == psutil.CONN_LISTEN
                }
            except psutil.Error:  # it has just ended
                continue

    def watch(self, name: str, command: subprocess.Popen[str]) -> None:
        """Looks again and again until the command has ended in order."""
        process = psutil.Process(command.pid)
        while command.poll() is None:
            self.look_at(process)
            time.sleep(1.0)
        self.told[name], _ = command.communicate()
        assert command.returncode == 0, self.told[name]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("seen")
    found = Seen()
    with running_server() as server:
        url = server.with_password("planted", PLANTED)
        tree = copy_tree(folder / "tree", folder / "runs")
        tree.fresh = True  # its command line and environment are what is looked at
        (folder / "probe.py").write_text(PROBE)
        probing = {"TINY_PROBE": str(folder / "probe.py"), "SEEN": str(folder / "ray"), "GO_ON": str(folder / "on")}
        tree.environment = {**probing, "HISTOTUNE_STORAGE": url, "PGPASSWORD": PLANTED}
        port = free_port()
        launch = tree.start("launch", *LAUNCH, "--metrics-port", str(port))
        wait_until((folder / "ray").exists, 300, "a worker")
        found.ray.append(json.loads((folder / "ray").read_text()))
        found.look_at(psutil.Process(launch.pid))
        wait_until(lambda: 'state="RUNNING"} 1' in got(f"http://127.0.0.1:{port}/metrics"), 30, "a trial that runs")
        found.numbers = got(f"http://127.0.0.1:{port}/metrics")
        found.joined = (
            join(found.ray[0]["gcs"], None, folder),
            join(found.ray[0]["gcs"], found.ray[0]["token"], folder),
        )
        (folder / "on").touch()
        found.watch("launch", launch)
        tree.environment, tree.storage = probing | {"SEEN": str(folder / "again")}, url  # from here on as nobody should
        found.watch("finalize", tree.start("finalize", "--study", "seen"))
        found.ray.append(json.loads((folder / "again").read_text()))
        for name in ("status", "report"):
            found.watch(name, tree.start(name))
        look_at_dashboard(found, tree)
        tree.storage = url.replace("/postgres?", "/nowhere?")
        found.told["refused"] = tree.run("status", expect=2).stderr
        found.rows = server.rows()
    for place in (tree.runs, *(Path(told["session"]) for told in found.ray)):
        found.files |= {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    return found


def join(address: str, token: str | None, folder: Path) -> str:
    """What somebody sees who tries to join a Ray from another account of this machine."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "HOME": str(folder / "nobody"),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else it would look at the machine's other addresses
        "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
        "RAY_AUTH_MODE": "disabled" if token is None else "token",
    }
    if token is not None:
        environment["RAY_AUTH_TOKEN"] = token
    done = subprocess.run(
        [sys.executable, "-c", JOIN, address], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    return done.stdout + done.stderr


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def got(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def look_at_dashboard(found: Seen, tree: Tree) -> None:
    port = free_port()
    dashboard = tree.start("dashboard", "--port", str(port))
    assert dashboard.stdout is not None
    lines = [dashboard.stdout.readline()]
    while not lines[-1].startswith("http://"):
        lines.append(dashboard.stdout.readline())
    found.look_at(psutil.Process(dashboard.pid))
    found.page = got(f"http://127.0.0.1:{port}/api/studies")
    dashboard.terminate()
    found.told["dashboard"] = "".join(lines) + dashboard.communicate(timeout=60)[0]


def test_the_onlooker_saw_what_there_is_to_see(seen: Seen) -> None:
    """Else the tests below would prove nothing."""
    assert any("raylet" in title for title in seen.others)
    assert any("RAY_JOB_ID" in environment for environment in seen.environments)
    assert ["search.launch" in seen.ray[0]["jobs"], "search.finalize" in seen.ray[1]["jobs"]] == [True, True]
    assert "seen-tiny" in seen.page
    assert "tiny" in seen.rows
    assert any(path.endswith("report.html") for path in seen.files)
    assert any(path.endswith("gcs_server.out") for path in seen.files)
    assert "password authentication" in seen.told["refused"] or "does not exist" in seen.told["refused"]


def test_numbers_are_read_in_the_middle_of_a_search(seen: Seen) -> None:
    read = dict(line.rsplit(" ", 1) for line in seen.numbers.splitlines() if not line.startswith("#"))
    states = {
        state: read[f'histotune_trials{{study="seen-tiny",state="{state}"}}'] for state in ("RUNNING", "COMPLETE")
    }
    assert states == {"RUNNING": "1", "COMPLETE": "0"}
    assert read['histotune_trials_wanted{study="seen-tiny"}'] == "2"
    assert (read["histotune_workers_placed"], read["histotune_workers_waiting"]) == ("1", "0")
    assert (read["histotune_database_waits_total"], read["histotune_database_wait_seconds_total"]) == ("0", "0.0")
    assert PLANTED not in seen.numbers


def test_no_command_prints_the_password(seen: Seen) -> None:
    for name, told in seen.told.items():
        assert PLANTED not in told, name


def test_no_log_report_or_file_of_ray_holds_the_password(seen: Seen) -> None:
    assert [path for path, content in seen.files.items() if PLANTED.encode() in content] == []


def test_the_database_does_not_hold_the_password(seen: Seen) -> None:
    assert PLANTED not in seen.rows
    assert PLANTED not in seen.page


def test_no_worker_inherits_the_password(seen: Seen) -> None:
    assert not [environment for environment in seen.environments if PLANTED in environment]


def test_ray_stores_a_command_line_without_the_password(seen: Seen) -> None:
    for told in seen.ray:
        assert PLANTED not in told["jobs"]
    assert "planted:***@" in seen.ray[1]["jobs"]


def test_no_process_title_holds_the_password_and_a_hint_says_what_to_do_instead(seen: Seen) -> None:
    """A command that lasts: at the first moment, before it can do anything, its title is what was typed."""
    for command in ("search.finalize", "search.dashboard"):
        (title,) = [title for title in seen.titles.values() if command in title]
        assert "planted:***@" in title
        assert PLANTED not in title
    assert not [title for title in seen.others if PLANTED in title]
    for name in ("finalize", "status", "report", "dashboard", "refused"):
        assert "can be read by everyone on this machine: give the URL in $HISTOTUNE_STORAGE" in seen.told[name]
    assert "can be read by everyone" not in seen.told["launch"]


def test_the_dashboard_is_served_by_the_command_itself(seen: Seen) -> None:
    assert not [title for title in seen.others if "optuna-dashboard" in title]


def test_everything_that_listens_listens_on_this_machine_alone(seen: Seen) -> None:
    assert {"gcs_server", "raylet"} <= {name for name, _ in seen.listening}
    outside = {(name, address) for name, address in seen.listening if not is_loopback(address)}
    assert outside == set()


def is_loopback(address: str) -> bool:
    found = ip_address(address)
    return found.is_loopback or bool(getattr(found, "ipv4_mapped", None) and found.ipv4_mapped.is_loopback)


def test_a_search_s_ray_turns_away_whoever_has_no_token(seen: Seen) -> None:
    without, with_token = seen.joined
    assert "joined" not in without
    assert "Failed to connect to Ray" in without, without[-500:]
    assert "joined 1" in with_token, with_token[-500:]
    tokens = [told["token"] for told in seen.ray]
    assert len(set(tokens)) == 2  # each command has one of its own
    assert not [path for path, content in seen.files.items() for token in tokens if token.encode() in content]
    assert not [title for title in seen.others for token in tokens if token in title]


@pytest.mark.parametrize(("mode", "warned"), [(None, True), ("disabled", True), ("token", False)])
def test_joining_a_ray_without_a_token_is_warned_of(
    mode: str | None, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.workers.cluster import _warn_of_open_ray

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    _warn_of_open_ray("10.0.0.5:6379")
    told = capsys.readouterr().err
    assert ("whoever reaches its ports runs code there" in told) == warned
