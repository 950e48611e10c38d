"""What a node keeps for itself: on a disk of its own, whichever process of it asks."""

import os
import re
import socket
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import platformdirs

VARIABLE = "HISTOTUNE_NODE_FOLDER"
ROOT = Path("/")
_IN_MEMORY = {"tmpfs", "ramfs"}
_OF_A_NETWORK = {
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2",
    "panfs", "smb3", "smbfs", "virtiofs", "wekafs",
}  # fmt: skip


def node_folder(environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> Path:
    """Where this node keeps copies, made where there is none: as the variable names it, else on the first own disk.

    Temporary folders are looked at first, as a home often lies on a network; memory is never taken for a disk. What is
    in a folder for everyone is the user's alone.
    """
    if named := environ.get(VARIABLE):
        folder = Path(named).expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    own = f"histotune-node-{os.getuid()}"
    for place in (Path(tempfile.gettempdir()), Path("/var/tmp")):
        if is_local(place, root) and kind_of(place, root) not in _IN_MEMORY and _is_ours(place / own):
            return place / own
    folder = Path(platformdirs.user_cache_dir("histotune")) / "node"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def features_folder(shared: Path, environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> Path:
    """Where this node keeps outputs of frozen layers.

    A mapped file that two hosts write over a network shows each what it likes: what lies below the folder of results
    is of one host, and where that folder is not here, or not on a disk, so is what lies in the node's own.

    Args:
        shared: ``features`` in the folder of results, of the driver.
        environ: the environment's variables.
        root: that has ``proc``.
    """
    if shared.parent.is_dir() and is_local(shared.parent, root):
        return shared / socket.gethostname()
    return node_folder(environ, root) / "features"


def boot_of(root: Path = ROOT) -> str:
    """Which start of the machine this is; "" where the system does not tell. After a power cut it is another."""
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        return ""


def is_local(path: Path, root: Path = ROOT) -> bool:
    """Whether a path lies on this machine, as far as the kind of its file system tells."""
    kind = kind_of(path, root)
    return kind not in _OF_A_NETWORK and not kind.startswith("fuse")


def kind_of(path: Path, root: Path = ROOT) -> str:
    """The kind of file system that a path lies on; "" where the system does not tell."""
    resolved = path.resolve()
    try:
        lines = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    found = {}  # where something is mounted over something else, the last one counts
    for line in lines:
        mount, _, system = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda sign: chr(int(sign[1], 8)), mount.split()[4]))
        if resolved.is_relative_to(point):
            found[len(point.parts)] = system.split()[0]
    return found[max(found)] if found else ""


def _is_ours(folder: Path) -> bool:
    """Whether a folder is there, made where there is none, and nobody else may write into it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
