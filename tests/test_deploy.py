"""What starts it on clusters without an engine for compose: held against schemas and helps, and run with stand-ins."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tree import wait_until

ROOT = Path(__file__).resolve().parent.parent
SBATCH = ROOT / "deploy" / "slurm.sbatch"
KUBERAY = ROOT / "deploy" / "kuberay.yaml"
KUBERNETES = "1.37"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
STAND_INS = {
    "scontrol": '#!/bin/sh\necho "scontrol $*" >> "$SEEN"\nprintf "%s\\n" one two three\n',
    # runs the step here: what remains behind its own flags
    "srun": '#!/bin/bash\nwhile [[ $1 == --* ]]; do [[ $1 == --nodelist=* ]] && export ON="${1#*=}"; '
    '[[ $1 == --cpus-per-task=* ]] && export CORES="${1#*=}"; shift; done\n'
    'exec "$@"\n',
    "hostname": '#!/bin/sh\necho "${ADDRESS:-10.0.0.1} 10.9.9.9"\n',
    "ray": '#!/bin/sh\necho "ray on $ON: $* storage=${HISTOTUNE_STORAGE-none} password=${PGPASSWORD-none} '
    '$RAY_AUTH_MODE ${#RAY_AUTH_TOKEN} cores=${CORES-1}" >> "$SEEN"\nexec sleep 60\n',
    "sleep": '#!/bin/sh\n[ "$1" = 2 ] || exec /bin/sleep "$@"\n',
    # tells a token, then how many nodes have joined, then searches until it is told to end
    "python": "#!/bin/bash\ncase $2 in\n*token*) echo 0123456789abcdef ;;\n"
    '*nodes*) joined=$(grep -c "^ray on" "$SEEN"); echo $((joined < ${MOST:-9} ? joined : ${MOST:-9})) ;;\n'
    '*) echo "python $* storage=$HISTOTUNE_STORAGE" >> "$SEEN"\n'
    "trap 'echo ended in order >> \"$SEEN\"; exit 143' TERM\n"
    'for ((i = 0; i < ${TENTHS:-1}; i++)); do /bin/sleep 0.1; done; exit "${CODE:-0}" ;;\nesac\n',
}
"""Name -> a script in place of a program of SLURM, of the node, or of ours; each writes in $SEEN what it was asked."""


# --- SLURM ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on three nodes, in which stand-ins come first on the path."""
    programs = tmp_path / "bin"
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    programs.mkdir()
    for name, text in STAND_INS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "seen").touch()
    slurm = {"SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_CPUS_PER_TASK": "8"}
    ours = {"HISTOTUNE_STORAGE": "postgresql://user@host/histotune", "PGPASSWORD": "hush"}
    return {"PATH": os.environ["PATH"], "SEEN": str(tmp_path / "seen"), **slurm, **ours}


def run(job: dict[str, str], *typed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SBATCH, *typed],
        cwd=Path(job["SEEN"]).parent,
        env=job,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def seen(job: dict[str, str]) -> list[str]:
    return Path(job["SEEN"]).read_text().splitlines()


def test_a_ray_over_all_nodes_is_searched_on(job: dict[str, str]) -> None:
    done = run(job, "--model", "all", "--data", "a b")
    assert (done.returncode, done.stderr) == (0, "")
    asked, head, second, third, search = seen(job)
    assert asked == "scontrol show hostnames n[1-3]"
    one = "--block --num-cpus=8 --num-gpus=0"
    hidden = "storage=none password=none token 16 cores=8"
    assert head == (
        f"ray on one: start {one} --head --node-ip-address=10.0.0.1 --port=23456 --include-dashboard=false "
        f"--temp-dir=/tmp/ray-123456 {hidden}"
    )
    assert {second, third} == {
        f"ray on {node}: start {one} --address=10.0.0.1:23456 {hidden}" for node in ("two", "three")
    }
    assert search == (
        "python -m search.launch --ray-address 10.0.0.1:23456 --workers 6 --cpus-per-worker 4 --model all --data a b "
        "storage=postgresql://user@host/histotune"
    )


def test_each_gpu_gets_a_worker(job: dict[str, str]) -> None:
    assert run(job | {"SLURM_GPUS_ON_NODE": "4"}).returncode == 0
    assert all("--num-gpus=4" in line for line in seen(job) if line.startswith("ray"))
    assert "--workers 12 --cpus-per-worker 2" in seen(job)[-1]


def test_a_node_with_less_cores_than_gpus_has_a_worker_on_each_core(job: dict[str, str]) -> None:
    assert run(job | {"SLURM_GPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "2"}).returncode == 0
    assert "--workers 6 --cpus-per-worker 1" in seen(job)[-1]


def test_the_search_decides_how_the_job_ends(job: dict[str, str]) -> None:
    assert run(job | {"CODE": "2"}).returncode == 2


def test_a_job_whose_time_runs_out_ends_its_search_in_order(job: dict[str, str]) -> None:
    folder = Path(job["SEEN"]).parent
    process = subprocess.Popen(["bash", SBATCH], cwd=folder, env=job | {"TENTHS": "300"}, start_new_session=True)
    wait_until(lambda: any(line.startswith("python") for line in seen(job)), 30, "the search")
    time.sleep(0.3)  # until it has set its trap
    process.send_signal(signal.SIGTERM)  # as SLURM does to the script alone: --signal=B:TERM@300
    assert process.wait(30) == 143
    assert seen(job)[-1] == "ended in order"
    wait_until(lambda: not alive(process.pid), 30, "the end of Ray")


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"HISTOTUNE_STORAGE": ""}, 2, "$HISTOTUNE_STORAGE names no database; export it"),
        ({"ADDRESS": "127.0.1.1"}, 2, "one names itself by 127.0.1.1, which no other node reaches"),
        ({"MOST": "0"}, 1, "no Ray answers at 10.0.0.1:23456 after two minutes"),
        ({"MOST": "2"}, 1, "not all of one two three have joined Ray after two minutes"),
    ],
)
def test_what_is_wrong_is_said_before_a_search(
    job: dict[str, str], change: dict[str, str], code: int, said: str
) -> None:
    done = run(job | change)
    assert done.returncode == code
    assert said in done.stderr
    assert not any(line.startswith("python") for line in seen(job))


def test_shellcheck_finds_nothing() -> None:
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("no shellcheck: make install brings it")
    done = subprocess.run([program, SBATCH, ROOT / "deploy" / "in_ray.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert SBATCH.stat().st_mode & stat.S_IXUSR


# --- Kubernetes -----------------------------------------------------------------------------------------------------


def items() -> dict[str, dict[str, Any]]:
    """Kind and name -> what is made."""
    listed = yaml.safe_load(KUBERAY.read_text())["items"]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in listed}


def pods() -> dict[str, dict[str, Any]]:
    """Name -> template of each kind of pod."""
    made = items()
    ray = made["RayCluster/histotune"]["spec"]
    (workers,) = ray["workerGroupSpecs"]
    jobs = {name: made[f"Job/histotune-{name}"]["spec"]["template"] for name in ("launch", "finalize")}
    return {"head": ray["headGroupSpec"]["template"], "worker": workers["template"], **jobs}


def container(pod: str) -> dict[str, Any]:
    (one,) = pods()[pod]["spec"]["containers"]
    return dict(one)


def typed(pod: str) -> list[str]:
    one = container(pod)
    return [*one["command"], *one.get("args", [])]


def manifests() -> Iterator[dict[str, Any]]:
    """All that Kubernetes itself knows the schema of."""
    yield from (one for one in items().values() if one["kind"] != "RayCluster")
    for name in ("head", "worker"):
        template = pods()[name]
        yield {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name}, "template": template}


def test_kubernetes_takes_every_pod_job_and_volume() -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="no schemas of Kubernetes: make install brings them")
    found = list(manifests())
    assert len(found) == 5
    for one in found:
        schemas.validate(one, KUBERNETES, strict=True)
    found[0]["spec"]["accesModes"] = []
    with pytest.raises(schemas.ValidationError):
        schemas.validate(found[0], KUBERNETES, strict=True)


def test_the_ray_cluster_has_the_fields_that_kuberay_documents() -> None:
    cluster = items()["RayCluster/histotune"]
    assert cluster["apiVersion"] == "ray.io/v1"
    spec = cluster["spec"]
    assert set(spec) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert set(spec["headGroupSpec"]) == {"rayStartParams", "template"}
    (workers,) = spec["workerGroupSpecs"]
    assert set(workers) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert all(isinstance(value, str) for value in spec["headGroupSpec"]["rayStartParams"].values())


def test_versions_are_those_of_the_project() -> None:
    pinned = (ROOT / "constraints.txt").read_text()
    assert f"\nray=={items()['RayCluster/histotune']['spec']['rayVersion']}\n" in pinned
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert {container(pod)["image"] for pod in pods()} == {compose["x-service"]["image"]}


@pytest.mark.parametrize("pod", ["head", "worker", "launch", "finalize"])
def test_a_pod_is_nobody_with_no_more_than_it_needs(pod: str) -> None:
    spec, one = pods()[pod]["spec"], container(pod)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert one["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    mounted = {mount["name"] for mount in one["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    requested = {key: value for key, value in one["resources"]["limits"].items() if key != "nvidia.com/gpu"}
    assert one["resources"]["requests"] == requested
    secrets = {entry["name"] for entry in one["env"] if "valueFrom" in entry}
    assert secrets == {"RAY_AUTH_TOKEN"} | ({"HISTOTUNE_STORAGE"} if pod in ("launch", "finalize") else set())


def test_a_person_opens_the_test_split() -> None:
    made = items()
    assert made["Job/histotune-finalize"]["spec"]["suspend"] is True
    assert made["Job/histotune-finalize"]["spec"]["backoffLimit"] == 0
    assert "suspend" not in made["Job/histotune-launch"]["spec"]


def test_workers_fit_on_the_nodes_that_are_started() -> None:
    (group,) = items()["RayCluster/histotune"]["spec"]["workerGroupSpecs"]
    limits = container("worker")["resources"]["limits"]
    assert f"--num-cpus={limits['cpu']}" in typed("worker")
    assert f"--num-gpus={limits['nvidia.com/gpu']}" in typed("worker")
    for pod in ("launch", "finalize"):
        line = " ".join(typed(pod))
        assert f"--workers {group['replicas'] * int(limits['nvidia.com/gpu'])} " in line
        assert f"--cpus-per-worker {limits['cpu']}" in line


def test_every_flag_of_both_files_is_known() -> None:
    script = re.sub(r"(^\s*#|\s# ).*$", "", SBATCH.read_text(), flags=re.MULTILINE)
    by_ray = " ".join(line for pod in ("head", "worker") for line in typed(pod))
    by_launch, by_finalize = (" ".join(typed(pod)).partition("python -m")[2] for pod in ("launch", "finalize"))
    started = "".join(re.findall(r"ray start[^&]*", script))
    searched = script.partition("python -m search.launch")[2].partition("&")[0]
    assert flags(by_ray + started + script.partition('ray_on "${nodes[0]}"')[2].partition("for ")[0]) <= help_of(
        "ray", "start"
    )
    assert flags(by_launch + searched) <= help_of(sys.executable, "-m", "search.launch")
    assert flags(by_finalize) <= help_of(sys.executable, "-m", "search.finalize")
    assert all(
        {"--ray-address", "--workers", "--cpus-per-worker"} <= flags(one) for one in (searched, by_launch, by_finalize)
    )


def flags(text: str) -> set[str]:
    return set(FLAG.findall(text))


def help_of(program: str, *words: str) -> set[str]:
    found = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None
    told = subprocess.run([found, *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return flags(told.stdout)
