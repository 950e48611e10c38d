"""Every private part of Ray that is used here, as found in Ray 2.60.0; a test holds that no other file names one.

pip refuses a Ray that was not tried, and ``search.command.versions`` tells of one that is there all the same.
"""

import os
from pathlib import Path
from typing import Any

SYNC_WARNING = "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"
"""Variable: Tune warns where it stores its state twice within so many seconds. The others set here are documented."""
GCS_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Variable: seconds without an answer of its control store (GCS), after which Ray ends the driver."""
NICENESS = "RAY_worker_niceness"
"""Variable: by how much Ray's workers give way to other processes; for tests and benchmarks on busy machines."""


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


def forgive(trial: Any, deaths: int) -> None:
    """Lets Tune start a trial so many times more after its worker died, whatever it has counted."""
    trial.max_failures = trial.num_failures + deaths


def waits_for_worker(trial: Any) -> bool:
    """Whether a trial of Tune's has no worker yet."""
    return bool(trial.status == trial.PENDING)


def what_ended(trial: Any) -> str:
    """What Ray says of the death of a trial's last worker; "" where it says nothing."""
    try:
        told = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
        return told.rpartition("Failure # ")[2]  # of those before it is told there as well
    except (OSError, TypeError):  # there is no such file
        return ""
