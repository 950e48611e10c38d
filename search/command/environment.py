"""On what a run was made: versions, hardware, commit; for the report."""

import os
import platform
import subprocess
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from data_utils.machine import cores

COMMIT = "HISTOTUNE_COMMIT"
"""Variable: that of the sources where git does not tell, as in a container."""
_SOURCES = ("data_utils", "models", "search", "studies")
_PACKAGES = ("histotune", "optuna", "torch", "torchvision", "ray", "numpy", "scikit-learn", "sqlalchemy", "plotly")


@cache
def environment() -> dict[str, str]:
    """Name -> version, hardware or commit, as text."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(cores()),
        "commit": _commit(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    """As git tells it, or the one that built a container; else a digest of the sources, which are the same or not."""
    here = Path(__file__).parent
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get(COMMIT) or f"no git here; sources {_sources()[:12]}"
    return result.stdout.strip()


def _sources() -> str:
    """The sha256 of all our source files, with their names."""
    top, digest = Path(__file__).parents[2], sha256()
    for path in sorted(path for package in _SOURCES for path in (top / package).rglob("*.py")):
        digest.update(f"{path.relative_to(top)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
