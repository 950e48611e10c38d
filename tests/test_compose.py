"""docker-compose.yml, read the way that podman-compose reads it; no engine is needed for that."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from sqlalchemy.engine import make_url

from search.command.settings import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
SECRETS = {"POSTGRES_PASSWORD": "s3cret", "RAY_AUTH_TOKEN": "t0ken"}
RAY_NODES = ("ray-head", "ray-worker")
DRIVERS = ("launch", "finalize")
SERVICES = {"postgres", "ray-head", "ray-worker", "dashboard"}
BY_PEOPLE = set(COMMANDS) - {"dashboard", "completion"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A PATH with podman on it.

    podman-compose asks for the engine's version before it reads a file, and for nothing else of it here; where no
    podman is installed a script answers that one question.
    """
    if shutil.which("podman"):
        return os.environ["PATH"]
    folder = tmp_path_factory.mktemp("bin")
    (folder / "podman").write_text('#!/bin/sh\n[ "$1" = --version ] && echo "podman version 5.0.0"\n')
    (folder / "podman").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def config(engine, **variables):
    """Runs ``podman-compose config`` with nothing set but ``variables``."""
    command = [sys.executable, "-m", "podman_compose", "--file", str(ROOT / "docker-compose.yml")]
    return subprocess.run(
        [*command, "--env-file", os.devnull, "--profile", "run", "config"],
        env={"PATH": engine, "HOME": os.environ.get("HOME", "/"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def services(engine):
    done = config(engine, **SECRETS)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


def test_it_is_accepted_with_every_service_that_was_promised(services):
    assert set(services) == SERVICES | BY_PEOPLE


def test_each_command_is_run_by_its_name_as_hints_say(services):
    for name in BY_PEOPLE:
        service = services[name]
        assert service["environment"]["HISTOTUNE_RUN_BY"] == "docker compose run --rm"
        assert f"search.{name}" in service["entrypoint"], name
        assert service["profiles"] == ["run"], name


def test_a_database_of_any_version_is_kept_in_its_volume(services):
    """Images before 18 have a volume of their own at /var/lib/postgresql/data, which goes with its container."""
    (mount,) = (volume.partition(":")[2] for volume in services["postgres"]["volumes"])
    kept = Path(services["postgres"]["environment"]["PGDATA"])
    assert kept.is_relative_to(mount)
    assert not kept.is_relative_to(f"{mount}/data")


def test_the_password_is_in_no_url(engine):
    odd = {**SECRETS, "POSTGRES_PASSWORD": "p@ss/w:rd%41"}
    services = yaml.safe_load(config(engine, **odd).stdout)["services"]
    knows = {name for name, service in services.items() if "PGPASSWORD" in service["environment"]}
    assert knows == {"dashboard"} | BY_PEOPLE
    for name in knows:
        url = make_url(services[name]["environment"]["HISTOTUNE_STORAGE"])
        assert (url.username, url.password, url.host) == ("histotune", None, "postgres")
        assert services[name]["environment"]["PGPASSWORD"] == odd["POSTGRES_PASSWORD"]


def test_a_machine_without_the_registry_names_its_own_weights(engine):
    offline = yaml.safe_load(config(engine, **SECRETS, VGG16_WEIGHTS="/data/vgg16.safetensors").stdout)["services"]
    for name in BY_PEOPLE:
        assert offline[name]["environment"]["HISTOTUNE_VGG16_WEIGHTS"] == "/data/vgg16.safetensors"


def test_pytorch_comes_from_the_registry_unless_an_index_is_named(engine):
    def index(**variables):
        arguments = yaml.safe_load(config(engine, **SECRETS, **variables).stdout)["services"]["launch"]["build"]["args"]
        return next(each for each in arguments if each.startswith("TORCH_INDEX="))

    assert index() == "TORCH_INDEX="
    assert index(TORCH_INDEX="https://index.example/cpu") == "TORCH_INDEX=https://index.example/cpu"


def test_the_dashboard_listens_where_it_is_published(engine):
    dashboard = yaml.safe_load(config(engine, **SECRETS, DASHBOARD_PORT="9000").stdout)["services"]["dashboard"]
    assert dashboard["ports"] == ["127.0.0.1:9000:9000"]
    assert dashboard["command"][-2:] == ["--port", "9000"]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_has_a_default(engine, secret):
    done = config(engine, **{name: value for name, value in SECRETS.items() if name != secret})
    assert done.returncode != 0
    assert f"{secret} is missing a value" in done.stderr
    assert re.search(rf"^{secret}=$", EXAMPLE, re.MULTILINE)


def test_every_variable_is_in_the_example_and_has_the_same_default_there():
    used = dict(re.findall(r"(?<!\$)\$\{(\w+)(?::?-([^}]*))?", COMPOSE))
    example = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert len(used) >= 5
    assert used == example


def test_ports_are_published_on_this_machine_alone(services):
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_workers_see_neither_the_database_nor_its_password_nor_the_patches(services):
    for name in RAY_NODES:
        assert services[name]["networks"] == ["cluster"]
        assert "s3cret" not in str(services[name])
        assert not any("/data" in volume for volume in services[name]["volumes"])
    assert services["postgres"]["networks"] == ["database"]


def test_patches_are_mounted_read_only(services):
    for name in BY_PEOPLE:
        assert [volume for volume in services[name]["volumes"] if ":/data" in volume] == ["./data:/data:ro"]


def test_every_process_that_speaks_to_ray_has_to_show_the_token(services):
    for name in (*RAY_NODES, *DRIVERS):
        environment = services[name]["environment"]
        assert (environment["RAY_AUTH_MODE"], environment["RAY_AUTH_TOKEN"]) == ("token", "t0ken")


def test_every_image_has_a_version_and_every_service_its_limits(services):
    for name, service in services.items():
        assert re.search(r":\d+\.\d+", service["image"]), name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name


def test_what_we_build_runs_as_a_user_without_rights_and_gains_none(services):
    built = [service for name, service in services.items() if name != "postgres"]
    assert len(built) == 3 + len(BY_PEOPLE)
    for service in built:
        assert service["user"] == "histotune"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_image_takes_the_version_of_the_package(services):
    from search import __version__

    assert services["launch"]["image"] == f"histotune:{__version__}"


def test_the_image_runs_as_a_user_without_rights_and_takes_every_package():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)", dockerfile, re.MULTILINE)
    for package in ("search", "models", "data_utils", "studies"):
        assert f"COPY {package} {package}\n" in dockerfile
        assert f"!{package}\n" in (ROOT / ".dockerignore").read_text()


def test_all_that_the_image_copies_is_sent_to_its_builder():
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    lines = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = [path for line in lines for path in line.split()]
    assert len(copied) > len(sent)
    assert [path for path in copied if not any(Path(path).is_relative_to(top) for top in sent)] == []
    assert all((ROOT / path).exists() for path in copied)


def test_neither_the_code_nor_the_readme_has_pytorch_installed_again():
    before = (ROOT / "Dockerfile").read_text().split("pip install")[0]
    names = [name for line in re.findall(r"^COPY (.+) \S+$", before, re.MULTILINE) for name in line.split()]
    assert {name for name in names if not name.endswith("__init__.py")} == {
        "deploy/certificates",
        "pyproject.toml",
        "constraints.txt",
    }


def test_the_image_installs_when_every_package_of_the_project_is_there():
    """The layer that installs is given no code but one file a package; without it setuptools refuses to build."""
    before = (ROOT / "Dockerfile").read_text().split("pip install")[0]
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    folders = [pattern.removesuffix("*") for pattern in packages["include"]]
    assert folders
    assert [name for name in folders if f"\nCOPY {name}/__init__.py {name}/\n" not in before] == []
