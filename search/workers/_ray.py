"""Every private part of Ray that is used here, as found in Ray 2.60.0; a test holds that no other file names one.

pip refuses a Ray that was not tried, and ``search.command.versions`` tells of one that is there all the same.
"""

import logging
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SYNC_WARNING = "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"
"""Variable: Tune warns where it stores its state twice within so many seconds. The others set here are documented."""
GCS_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Variable: seconds without an answer of its control store (GCS), after which Ray ends the driver."""
NICENESS = "RAY_worker_niceness"
"""Variable: by how much Ray's workers give way to other processes; for tests and benchmarks on busy machines."""
PRESTART = "RAY_prestart_worker_first_driver"
"""Variable: whether a Ray starts an idle worker for each of its cores; none of them ever becomes one of ours."""
_TOKEN = "RAY_AUTH_TOKEN"
TEMP_DIR = "_temp_dir"
"""Argument of ``ray.init``: the folder of its sockets and logs."""
_NO_NODE = 3
_GREETING = f"""
import sys
from ray._private.services import find_node_ids
from ray._raylet import GcsClient

client = GcsClient(address=sys.argv[1])
client.check_alive([], timeout=10)
nodes = client.get_all_node_info(timeout=10).values()
alive = {{node.node_id.hex() for node in nodes if node.state == 0}}
if not alive & set(find_node_ids()):
    sys.exit({_NO_NODE})
"""
_OF_A_TOKEN = re.compile("unauthenticated|authentication|token", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def as_imported() -> Iterator[None]:
    """Has what the functions below change of Ray put back after the block: the process may have a use for it, too."""
    before = changed_here()
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
        log = logging.getLogger("ray")
        log.setLevel(log.level)  # it remembers which levels were on
        _forget_token()


def changed_here() -> list[tuple[Any, str, Any]]:
    """What the functions below change, and Ray itself of its logger: the object, its attribute, the value now."""
    from ray._private import ray_constants, worker
    from ray._private.node import Node

    log = logging.getLogger("ray")
    places: list[tuple[Any, str]] = [(ray_constants, "ENABLE_RAY_CLUSTER"), (worker, "print_to_stdstream")]
    places += [(Node, name) for name in ("start_monitor", "start_log_monitor", "start_api_server")]
    places += [(log, name) for name in ("handlers", "level", "propagate")]
    return [(place, name, getattr(place, name)) for place, name in places]


def use_token(token: str) -> None:
    """Lets a Ray that this process starts, and this process, know each other by this token.

    Ray's C++ keeps the first that it read, which another Ray of the same process may have had.
    """
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined] # Cython

    os.environ[_TOKEN] = token
    AuthenticationTokenLoader.instance().reset_cache()


def _forget_token() -> None:
    """Has the next Ray of this process read its own; in the order in which Ray's tests do it."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined] # Cython

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def runs_here() -> bool:
    """Whether this process has begun or joined a Ray; asked without importing it."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def stay_on_this_machine() -> None:
    """Lets a Ray that this process starts listen on 127.0.0.1 alone.

    Ray turns a loopback address into that of the machine, and then listens on every interface, unless it runs where it
    has no clusters (macOS and Windows, or $RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, which it reads when it is imported:
    here it may have been).
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # for the processes that Ray starts


def start_no_more_than_needed() -> None:
    """Lets a Ray that this process starts do without three processes of its head: 3.4 of its 6 seconds of CPU.

    They are the autoscaler's monitor, which finds nothing to scale on one machine, the monitor that carries workers'
    output to a driver, which has it off, and the server of Ray's own dashboard, which is not shown.
    """
    from ray._private.node import Node

    def without(_self: Node, **_: Any) -> None:
        """Starts nothing."""

    def no_server(node: Node, **_: Any) -> None:
        node._webui_url = None

    for name, instead in (("start_monitor", without), ("start_log_monitor", without), ("start_api_server", no_server)):
        setattr(Node, name, instead)


def start_workers_directly() -> None:
    """Lets raylets start Tune's workers at once, without a program before each that imports all of Ray as well.

    It sets the variables that Tune asks for: one for PyTorch Lightning.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()


class _Passing(logging.Handler):
    """Passes on to a log what another program says, without its colours."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        told = logging.Formatter().format(record)  # Ray gives the handler a format of its own
        self._log.log(record.levelno, "Ray: %s", _COLOUR.sub("", told))


def tell_the_log(log: logging.Logger) -> None:
    """Has what Ray, Tune and raylets say go to a log of ours, and nothing of it to the terminal."""
    from ray._private import worker

    def tell(data: dict[str, Any], ignore_prefix: bool) -> None:  # noqa: ARG001 - the signature of Ray's
        for line in data["lines"]:
            log.warning("Ray: %s", _COLOUR.sub("", line))

    worker.print_to_stdstream = tell
    logging.getLogger("ray").handlers = [_Passing(log)]


def running_address() -> str | None:
    """HOST:PORT of the Ray that runs on this machine, or that $RAY_ADDRESS names; None where there is none."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        address: str | None = canonicalize_bootstrap_address("auto")
    except ConnectionError:
        return None
    return address


def greet(address: str, seconds: float, environ: Mapping[str, str]) -> tuple[str | None, bool]:
    """Asks the Ray at HOST:PORT, for so long.

    Another process does, as Ray's C++ waits for a minute where it finds none, and then ends its process.

    Returns:
        Why it cannot be joined, or what listens there is none; None where it can. Whether this machine is a node of it.
    """
    ask = [sys.executable, "-P", "-c", _GREETING, address]
    try:
        done = subprocess.run(ask, env=environ, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return no_ray(address, "what listens there does not answer as the control store, GCS, of one"), False
    if done.returncode in (0, _NO_NODE):
        return None, done.returncode == 0
    if _OF_A_TOKEN.search(done.stderr):
        why = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN as it was started with"
        return f"the Ray at {address} does not let this command in: {why}", False
    return no_ray(address, "what listens there is none"), False


def no_ray(address: str, reason: str) -> str:
    """That there is none, and what to do."""
    return f"no Ray answers at {address} ({reason}): start one with 'ray start --head', or leave out --ray-address"


def finds_packages_in(folder: Path) -> Any:
    """The configuration of a job whose workers look for modules in a folder first of all.

    Ray itself has them look first in the driver's current folder, in which a user may have modules of the same names.
    """
    from ray.job_config import JobConfig

    config = JobConfig(_py_driver_sys_path=[str(folder)])
    config._runtime_env_has_working_dir = lambda: True  # type: ignore[method-assign] # then Ray adds no folder itself
    return config


def forgive(trial: Any, deaths: int) -> None:
    """Lets Tune start a trial so many times more after its worker died, whatever it has counted."""
    trial.max_failures = trial.num_failures + deaths


def waits_for_worker(trial: Any) -> bool:
    """Whether a trial of Tune's has no worker yet."""
    return bool(trial.status == trial.PENDING)


def worker_of(trial: Any) -> Any:
    """Ray's handle of the worker that a trial of Tune's has."""
    return trial.temporary_state.ray_actor


def place_of_actor(actor: Any) -> tuple[str, int]:
    """Id of the node, and number of the process, of an actor that has started."""
    from ray._private import state

    found = state.actors(actor._actor_id.hex())
    return found["Address"]["NodeID"], found["Pid"]


def free_by_node() -> dict[str, dict[str, float]]:
    """What nobody has taken of each live node, by its id and by Ray's names."""
    from ray._private import state

    free: dict[str, dict[str, float]] = state.available_resources_per_node()  # type: ignore[no-untyped-call]
    return free


def left_by_dead_drivers() -> dict[str, dict[str, float]]:
    """Placement groups that no living driver has asked for: id -> what they hold together, by Ray's names.

    Ray removes those of a driver as it dies. But one whose node was declared dead may live, and ask for more.
    """
    from ray._private import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Group  # type: ignore[attr-defined]

    dead = {job["JobID"] for job in state.jobs() if job["IsDead"]}  # type: ignore[no-untyped-call]
    tables = map(Group.FromString, state.state._connect_and_get_accessor().get_placement_group_table())
    return {
        table.placement_group_id.hex(): dict(sum((Counter(one.unit_resources) for one in table.bundles), Counter()))
        for table in tables
        if table.creator_job_id.hex() in dead
        and not table.is_detached  # meant to outlive its driver
        and set(table.creator_actor_id) <= {255}  # none of an actor, which may be meant to
        and table.state != Group.REMOVED
    }


def what_ended(trial: Any) -> str:
    """What Ray says of the death of a trial's last worker; "" where it says nothing."""
    try:
        told = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
        return told.rpartition("Failure # ")[2]  # of those before it is told there as well
    except (OSError, TypeError):  # there is no such file
        return ""
