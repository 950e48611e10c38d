"""The dashboard on the database of the studies."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import optuna
import pytest
from stored import own_study

from search.command.settings import parse_dashboard
from search.dashboard import run
from studies.errors import StorageError

START = [sys.executable, "-W", "error", "-m", "search.dashboard"]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def storage(tmp_path):
    url = f"sqlite:///{tmp_path}/studies.db"
    study = own_study(url, "demo-cnn")
    study.add_trial(optuna.trial.create_trial(value=0.9, state=optuna.trial.TrialState.COMPLETE))
    return url


def test_it_serves_the_studies_on_this_machine_and_ends_on_ctrl_c(storage):
    port = free_port()
    dashboard = subprocess.Popen([*START, "--storage", storage, "--port", str(port)], stdout=-1, stderr=-1, text=True)
    try:
        address = re.match(r"http://127\.0\.0\.1:\d+/", dashboard.stdout.readline()).group()
        with urllib.request.urlopen(f"{address}api/studies", timeout=60) as answer:
            names = [study["study_name"] for study in json.load(answer)["study_summaries"]]
    finally:
        dashboard.send_signal(signal.SIGINT)
        _, said = dashboard.communicate(timeout=60)
    assert names == ["demo-cnn"]
    assert dashboard.returncode == 0
    assert said == ""


def test_a_taken_port_is_one_line_and_exit_code_2(storage):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*START, "--storage", storage, "--port", str(port)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"127.0.0.1 port {port} cannot be listened on")
    assert done.stderr.count("\n") == 1


def test_a_mistyped_folder_gets_no_database(tmp_path):
    with pytest.raises(StorageError, match="there is no database"):
        run(parse_dashboard(["--runs", str(tmp_path / "etc")], {}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_no_warning_for_this_machine_alone(host):
    assert notes(host, studies=1) == []


@pytest.mark.parametrize(
    ("host", "place"), [("10.1.2.3", "10.1.2.3"), ("0.0.0.0", "any address of this machine,"), ("::", "any address")]
)
def test_another_address_is_warned_of_in_words(host, place):
    (note,) = notes(host, studies=1)
    assert f"no password; whoever reaches {place}" in note
    assert "0.0.0.0" not in note


@pytest.mark.parametrize(
    ("host", "page"),
    [("0.0.0.0", "127.0.0.1:8080"), ("::", "[::1]:8080"), ("10.1.2.3", "10.1.2.3:8080"), ("::1", "[::1]:8080")],
)
def test_the_page_that_is_told_can_be_opened(host, page):
    from search.dashboard import _page

    assert _page(parse_dashboard(["--host", host], {})) == f"http://{page}/"


def test_an_empty_database_is_named_without_its_password():
    (note,) = notes("127.0.0.1", studies=0, storage="postgresql://u:s3cret@h/d")
    assert "no study of HistoTune in postgresql://u:***@h/d yet" in note


def notes(host, studies, storage="sqlite:///x.db"):
    from search.dashboard import _notes

    return _notes(parse_dashboard(["--host", host, "--storage", storage], {}), studies)
