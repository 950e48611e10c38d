"""A search on several hosts without a shared folder, whose links are cut: exactly the trials that were asked for.

One story, told once: a head that has no GPU, the host of the launch, two that train, one of which lends a GPU that is
none, one with other sources and a sick one. The tests look at what it has left.
"""

import time
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
from hosts import HEAD, Hosts
from tree import Tree, copy_tree, wait_until

TRIALS = 10
pytestmark = pytest.mark.timeout(900)  # of waiting, mostly
LAUNCH = ("--model", "tiny", "--data", "synthetic:300", "--study", "story", "--trials", str(TRIALS), "--epochs", "4")
WORKERS = ("--pruner", "none", "--workers", "3", "--cpus-per-worker", "1")
SICK = 'raise RuntimeError("CUDA error: an uncorrectable ECC error")'
# On a host: says that a network is built there, and waits as long as it is told to.
GATE = """
import os, pathlib, time

gate = pathlib.Path({!r})
(gate / f"{{os.uname().nodename}}.there").touch()
while (gate / f"{{os.uname().nodename}}.hold").exists():
    time.sleep(0.1)
os.environ["TINY_PAUSE"] = "0.25" if (gate / "slow").exists() else "0"
"""
# A driver on a host whose raylet dies: Ray gives back what it holds, and then it asks for more.
LOST = """
import sys
import ray
from ray.util.placement_group import placement_group

ray.init(address=sys.argv[1], logging_level="ERROR")
print("joined", flush=True)
sys.stdin.readline()
groups = [placement_group([{"CPU": 1}]) for _ in range(2)]
print("asked", [group.wait(20) for group in groups], flush=True)
sys.stdin.readline()
"""


@dataclass(frozen=True)
class Story:
    """What is left of it.

    Attributes:
        tree: its results, by the database's socket.
        first: what the launch said whose link was cut in the end, and its exit code.
        second: what the one said that took over.
        left: states of the groups that a driver of a lost host had left before.
        nodes: folders of the hosts, by name.
        shown: hosts as search.status told of them while all were there.
    """

    tree: Tree
    first: tuple[str, int]
    second: str
    left: list[str]
    nodes: dict[str, Path]
    shown: list[dict[str, Any]]


class Gate:
    """Holds jobs on hosts before their first epoch."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        (folder / "slow").touch()

    def hold(self, *hosts: str) -> None:
        """From the next job on."""
        for host in hosts:
            (self._folder / f"{host}.there").unlink(missing_ok=True)
            (self._folder / f"{host}.hold").touch()

    def wait(self, *hosts: str) -> None:
        """Until each has a job that is held."""
        for host in hosts:
            wait_until((self._folder / f"{host}.there").exists, 120, f"a job on {host}")

    def release(self, *hosts: str, slow: bool = True) -> None:
        """Lets them go on."""
        if not slow:
            (self._folder / "slow").unlink()
        for host in hosts:
            (self._folder / f"{host}.hold").unlink()


def column(database: str, statement: str) -> list[str]:
    """What a statement finds in the database: one text a row."""
    engine = sqlalchemy.create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = connection.exec_driver_sql(statement).scalars().all()
    engine.dispose()
    return [str(one) for one in found]


def epochs(database: str) -> Counter[str]:
    """Epochs in the database so far, by the host that has trained."""
    workers = column(
        database,
        "select value_json from trial_intermediate_values "
        "join trial_user_attributes using (trial_id) where key = 'worker'",
    )
    return Counter(worker.strip('"').partition(":")[0] for worker in workers)


def told_hosts(database: str) -> str:
    """What launches have told of their hosts."""
    (text,) = column(database, "select text from histotune_hosts")
    return text


def more_epochs(database: str, *hosts: str) -> None:
    """Waits for one more of each host."""
    before = epochs(database)
    wait_until(lambda: all(epochs(database)[host] > before[host] for host in hosts), 120, f"epochs of {hosts}")


@pytest.fixture(scope="module")
def story(packages: Path, tmp_path_factory: pytest.TempPathFactory, hosts: Hosts, database: str) -> Story:
    folder = tmp_path_factory.mktemp("hosts")
    gate, runs = Gate(folder / "gate"), folder / "runs"
    runs.mkdir()
    watch = packages / "search" / "workers" / "cluster.py"
    watch.write_text(watch.read_text().replace("SILENCE_SECONDS = 120.0", "SILENCE_SECONDS = 20.0"))
    nodes = _others(hosts, packages, folder, runs)
    there = Tree(
        packages, runs, storage=f"postgresql://postgres@{hosts.database}/{sqlalchemy.make_url(database).database}"
    )
    joins = ("--ray-address", hosts.address)
    gate.hold("a", "b")
    first = hosts.start("driver", there, "launch", *LAUNCH, *WORKERS, *joins)
    gate.wait("a", "b")
    log = runs / "story" / "logs"
    wait_until(lambda: any("is barred" in path.read_text() for path in log.glob("*.log")), 120, "the sick host barred")
    gate.release("a", "b")
    more_epochs(database, "a", "b")
    here = Tree(packages, runs, storage=database)
    wait_until(lambda: "ECC" in told_hosts(database), 20, "the sick host in the database")
    shown = here.status("story-tiny")["hosts"]
    for name in ("sick", "other"):
        hosts.end(name)

    hosts.cut("driver")
    time.sleep(5)
    hosts.join("driver")
    more_epochs(database, "a", "b")

    gate.hold("a", "b")
    hosts.cut("b")
    wait_until(lambda: "b" not in hosts.nodes(), 60, "the end of a node")
    hosts.join("b")
    hosts.wait_for_end_of_ray("b")
    gate.hold("b")
    hosts.start_ray("b", "--num-gpus=1", HISTOTUNE_NODE_FOLDER=str(nodes["b"]), TINY_PROBE=str(folder / "gate.py"))
    gate.wait("a", "b")

    hosts.cut("driver")
    output, _ = first.communicate(timeout=240)
    left = _leave_groups(hosts)
    gate.release("a", "b", slow=False)
    second = hosts.run("second", there, "launch", *LAUNCH, *WORKERS, *joins)
    hosts.run(HEAD, there, "finalize", "--cpus-per-worker", "1", *joins)
    return Story(here, (output, first.wait()), second, left, nodes, shown)


def _others(hosts: Hosts, packages: Path, folder: Path, runs: Path) -> dict[str, Path]:
    """Adds the hosts to the head; the folders of those that train."""
    changed, sick, gate = folder / "loop.py", folder / "sick.py", folder / "gate.py"
    source = packages / "search" / "training" / "loop.py"
    changed.write_text(f"{source.read_text()}\n# another version\n")
    sick.write_text(SICK)
    gate.write_text(GATE.format(str(folder / "gate")))
    nodes = {name: folder / name for name in ("a", "b", "other", "sick")}
    empty = f"mount -t tmpfs tmpfs {runs}"
    mounts = {"other": [f"mount --bind {changed} {source}"]}
    for name, own in nodes.items():
        hosts.add(name, empty, *mounts.get(name, []))
        flags = ["--num-gpus=1"] if name == "b" else []
        probe = sick if name == "sick" else gate
        hosts.start_ray(name, *flags, HISTOTUNE_NODE_FOLDER=str(own), TINY_PROBE=str(probe))
        wait_until(lambda here=name: here in hosts.nodes(), 240, name)  # two that start at once disturb each other
    for name in ("driver", "second"):  # a launch makes its host a node as long as it runs
        hosts.add(name)
    return nodes


def _leave_groups(hosts: Hosts) -> list[str]:
    """Has a driver whose node has died ask for groups, and ends it; what it leaves."""
    hosts.add("gone")
    hosts.start_ray("gone", cpus=0)
    wait_until(lambda: "gone" in hosts.nodes(), 240, "its node")
    lost = hosts.python("gone", LOST, hosts.address)
    assert lost.stdin is not None
    assert lost.stdout is not None
    wait_until(lambda: "joined" in lost.stdout.readline(), 60, "the driver")  # type: ignore[union-attr]
    hosts.kill_ray("gone")
    wait_until(lambda: "gone" not in hosts.nodes(), 60, "the end of its node")
    lost.stdin.write("\n")
    lost.stdin.flush()
    wait_until(lambda: "asked" in lost.stdout.readline(), 60, "groups")  # type: ignore[union-attr]
    lost.kill()
    lost.communicate()
    return hosts.groups()


def test_exactly_the_trials_that_were_asked_for_are_finished_on_both_hosts(story: Story, database: str) -> None:
    assert story.tree.status("story-tiny")["trials"] == {"COMPLETE": TRIALS}
    assert epochs(database).keys() == {"a", "b"}
    assert sum(epochs(database).values()) == TRIALS * 4
    story.tree.run("status", "--check")


def test_a_node_of_another_version_is_left_out_by_name_and_a_sick_host_is_barred(story: Story) -> None:
    output, _ = story.first
    left_out = next(line for line in output.splitlines() if line.startswith("node other ("))
    assert left_out.endswith("is left out: its sources are others (search/training/loop.py)")
    assert "host sick is barred: 3 jobs in a row failed there and none was done (RuntimeError: CUDA error" in output


def test_hosts_are_shown_with_their_trials_and_why_one_gets_none(story: Story) -> None:
    assert [(host["host"], host["slots"], len(host["trials"])) for host in story.shown] == [
        ("a", 1, 1),
        ("b", 1, 1),
        ("other", 1, 0),
        ("sick", 1, 0),
    ]
    assert [host["reason"] for host in story.shown[:3]] == [
        None,
        None,
        "its sources are others (search/training/loop.py)",
    ]
    assert "uncorrectable ECC error" in story.shown[3]["reason"]


def test_a_gpu_that_ray_lends_and_pytorch_does_not_find_is_told_and_the_search_runs_on_cpus(story: Story) -> None:
    output, _ = story.first
    assert "node b lends 1 GPU, and PyTorch finds none there" in output
    assert ", 3 workers with 1 CPU each, on cpu, " in output


def test_a_driver_whose_link_is_cut_for_good_ends_with_the_command_to_go_on(story: Story) -> None:
    output, code = story.first
    assert code == 1, output
    last = output.strip().splitlines()[-1]
    assert "Go on with: python -m search.launch --model tiny" in last


def test_what_a_driver_that_lost_its_node_left_behind_is_removed(story: Story, hosts: Hosts) -> None:
    assert len(story.left) == 2  # one waits where no other host has room
    assert (
        "2 placement groups that dead drivers had left in this Ray, with 2 CPU asked for, were removed" in story.second
    )
    wait_until(lambda: hosts.groups() == [], 20, "no placement group")


def test_a_launch_on_a_host_that_is_no_node_makes_it_one_and_leaves_in_order(story: Story, hosts: Hosts) -> None:
    assert "second" in hosts.left()
    assert not {"driver", "b"} & set(hosts.left())


def test_what_hosts_without_the_folder_of_results_leave_is_as_of_any_other(story: Story) -> None:
    results = story.tree.runs / "story"
    assert (results / "report.html").exists()
    (sign,) = (path.name for path in results.iterdir() if path.name.startswith("."))
    assert sign.startswith(".histotune-post-")  # of the launch that could not clear up; search.clean does


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_host_got_development_rows_once_and_never_a_sealed_one(story: Story, name: str) -> None:
    data, own = story.tree.runs / "story" / "data", story.nodes[name]
    sealed = set(np.load(data / "sealed" / "digests.npy").tolist())
    pixels = list(own.rglob("pixels.npy"))
    assert len(pixels) == 1
    assert pixels[0].read_bytes() == (data / "development" / "pixels.npy").read_bytes()
    assert not sealed & {sha256(patch.tobytes()).hexdigest() for patch in np.load(pixels[0])}
    assert {path.name for path in own.rglob("*.npy")} <= {path.name for path in data.rglob("*.npy")}


@pytest.mark.usefixtures("story")
def test_workers_that_ask_for_a_gpu_are_placed_where_ray_lends_one(hosts: Hosts, tmp_path: Path) -> None:
    """PyTorch finds none on any of these hosts: here a stand-in says that it does, and trains on CPUs all the same."""
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    for name, old, new in (
        ("machines.py", "return Found(memory,", "return Found((16 * 2**30,),"),
        ("cluster.py", "machines=machines)", 'machines=machines, device="cpu")'),
    ):
        path = tree.folder / "search" / "workers" / name
        code = path.read_text()
        assert code.count(old) == 1
        path.write_text(code.replace(old, new))
    counts = ("--trials", "2", "--epochs", "1", "--pruner", "none", "--workers", "2")
    share = ("--cpus-per-worker", "0.5", "--gpus-per-worker", "0.5", "--ray-address", hosts.address)
    search = ("launch", "--model", "tiny", "--data", "synthetic:300", "--study", "lent")
    output = hosts.run(HEAD, tree, *search, *counts, *share)
    assert ", 2 workers with 0.5 CPU and 0.5 GPU each, on cpu, " in output
    assert epochs(f"sqlite:///{tree.runs}/studies.db").keys() == {"b"}
    wait_until(lambda: hosts.groups() == [], 20, "no placement group")
