"""Completion in real shells; zsh and fish where the machine has them."""

import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models._registry import load_model, model_names, parameter_names
from search.command.settings import COMMANDS
from search.command.shells import script

ROOT = Path(__file__).resolve().parents[2]
NEEDS_ZSH = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
NEEDS_FISH = pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")


def in_bash(*words: str) -> list[str]:
    """What bash offers at the end of a line; "=" is a word of its own there."""
    line = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _histotune"
    code = f"{script('bash')}\n{asked}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(
        ["bash", "--norc", "-c", code], capture_output=True, text=True, check=True, timeout=60, env={"PATH": os.defpath}
    )
    assert done.stderr == ""
    return done.stdout.split()


def in_fish(line: str, home: Path) -> list[str]:
    """What fish offers at the end of a line, without the descriptions."""
    code = f'{script("fish")}\ncomplete -C "{line}"'
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(["fish", "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environ)
    assert done.stderr == ""
    return [offered.partition("\t")[0] for offered in done.stdout.splitlines()]


def in_zsh(line: str, home: Path) -> str:
    """A line as it stands in an interactive zsh after Tab was pressed, with what was listed below it."""
    (home / "complete").write_text(script("zsh"), encoding="utf-8")
    setup = (
        "autoload -Uz compinit; compinit -u -D; source complete; setopt auto_list no_always_last_prompt; PROMPT='> '"
    )
    (home / ".zshrc").write_text(f"{setup}\n", encoding="utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "ZDOTDIR": str(home), "TERM": "dumb", "COLUMNS": "200"}
    ours, its = pty.openpty()
    with subprocess.Popen(
        ["zsh", "-i", "-o", "no_global_rcs"],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=home,
        env=environ,
        start_new_session=True,
    ) as shell:
        os.close(its)
        told = read_until(ours, "> ")
        os.write(ours, line.encode() + b"\t\t")
        time.sleep(0.1)
        os.write(ours, b"\x05 # end\n")  # after Ctrl-E the line goes on, so that what stands there is shown again
        told = read_until(ours, "# end")
        os.write(ours, b"\x15exit\n")
        shell.kill()
    os.close(ours)
    return told


def read_until(terminal: int, wanted: str) -> str:
    told, until = "", time.monotonic() + 60
    while wanted not in told:
        assert time.monotonic() < until, told
        told += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(terminal, 4096).decode(errors="replace"))
    return told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_well_formed_and_printed_without_torch(shell: str, tmp_path: Path) -> None:
    code = f"import sys; from search.completion import main; main(['{shell}']); sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == script(shell)
    assert re.findall("@[A-Z]+@", done.stdout) == []  # all places are filled
    if shutil.which(shell):
        (tmp_path / "script").write_text(done.stdout, encoding="utf-8")
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=60)


@pytest.mark.parametrize("start", [("python", "-m"), ("/usr/bin/python3", "-X", "importtime", "-m"), ("histotune",)])
def test_bash_completes_commands_flags_and_values(start: tuple[str, ...]) -> None:
    before = "" if start == ("histotune",) else "search."
    of_data = [f"{before and 'data_utils.'}{command}" for command in ("match", "fetch")]
    assert in_bash(*start, "") == [*(f"{before}{command}" for command in COMMANDS), *of_data]
    assert in_bash(*start, f"{before}la") == [f"{before}launch"]
    launch = (*start, f"{before}launch")
    assert in_bash(*launch, "--spl") == ["--split", "--split-seed", "--split-file"]
    assert in_bash(*launch, "--sampler", "") == ["tpe", "random", "gp", "prior"]
    assert in_bash(*launch, "--sampler", "=") == ["tpe", "random", "gp", "prior"]
    assert in_bash(*launch, "--sampler", "=", "r") == ["random"]
    assert in_bash(*launch, "--model", "") == [*model_names(), "all"]
    assert in_bash(*launch, "--model", "cnn,v") == ["cnn,vgg16"]
    assert in_bash(*launch, "--exclude", "near_w") == ["near_white"]
    assert in_bash(*launch, "--dry-run", "--dev") == ["--device"]
    assert in_bash(*launch, "--trials", "") == []
    assert in_bash(*launch, "--vgg16-weights", "no") == ["none"]
    assert in_bash(*start, f"{before}finalize", "--tri") == []
    assert in_bash(*start, f"{before}completion", "") == ["bash", "zsh", "fish"]
    assert in_bash(*start, of_data[0], "--") == ["--patches", "--full", "--out", "--help"]
    assert in_bash(*start, of_data[1], "--set", "") == ["small", "full", "both"]


def test_bash_completes_parameters_and_leaves_their_values_alone() -> None:
    launch = ("histotune", "launch")
    assert in_bash(*launch, "--set", "cnn.ba") == ["cnn.batch_size="]
    assert in_bash(*launch, "--set", "=", "vgg16.fro") == ["vgg16.frozen_blocks="]
    assert in_bash(*launch, "--set", "cnn.width", "=") == []
    assert in_bash(*launch, "--set", "cnn.width", "=", "1") == []
    assert in_bash(*launch, "--set", "=", "cnn.width", "=") == []
    assert in_bash(*launch, "--set", "cnn.width", "=", "16,cnn.de") == ["16,cnn.depth="]
    assert in_bash(*launch, "--set", "=", "cnn.width", "=", "16,cnn.de") == ["16,cnn.depth="]
    assert in_bash(*launch, "--set", "cnn.width", "=", "16", "--samp") == ["--sampler"]


@pytest.mark.parametrize("model", model_names())
def test_parameters_are_told_without_importing_their_model(model: str) -> None:
    assert parameter_names(model) == tuple(load_model(model).default)


def test_bash_leaves_every_other_python_alone() -> None:
    assert in_bash("python", "") == []
    assert in_bash("python", "scr") == []
    assert in_bash("python", "-m", "json.tool", "--in") == []
    assert in_bash("python", "-m", "searching.launch", "--mod") == []


@NEEDS_FISH
def test_fish_completes_commands_flags_and_values(tmp_path: Path) -> None:
    assert in_fish("histotune ", tmp_path) == sorted([*COMMANDS, "match", "fetch"])
    assert in_fish("python -m data_utils.", tmp_path) == ["data_utils.fetch", "data_utils.match"]
    assert in_fish("python -m data_utils.fetch --set ", tmp_path) == ["both", "full", "small"]
    assert in_fish("histotune launch --set cnn.wi", tmp_path) == ["cnn.width="]
    assert in_fish("histotune launch --set cnn.width=16,cnn.de", tmp_path) == ["cnn.width=16,cnn.depth="]
    assert in_fish("python -m search.la", tmp_path) == ["search.launch"]
    for start in ("histotune launch", "python -m search.launch", "python3 -X importtime -m search.launch"):
        assert in_fish(f"{start} --spl", tmp_path) == ["--split", "--split-file", "--split-seed"]
        assert in_fish(f"{start} --sampler ", tmp_path) == ["gp", "prior", "random", "tpe"]
        assert in_fish(f"{start} --sampler=r", tmp_path) == ["--sampler=random"]
        assert in_fish(f"{start} --model ", tmp_path) == sorted([*model_names(), "all"])
        assert in_fish(f"{start} --model cnn,v", tmp_path) == ["cnn,vgg16"]
    assert in_fish("histotune finalize --tri", tmp_path) == []
    assert in_fish("histotune completion ", tmp_path) == ["bash", "fish", "zsh"]
    assert in_fish("python -m json.tool --in", tmp_path) == []


@NEEDS_ZSH
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("python -m search.fin", "python -m search.finalize"),
        ("histotune fin", "histotune finalize"),
        ("histotune launch --samp", "histotune launch --sampler="),
        ("python -m search.launch --sampler r", "--sampler random"),
        ("python -m search.launch --sampler=r", "--sampler=random"),
        ("python -X importtime -m search.launch --model vg", "--model vgg16"),
        ("histotune launch --model cnn,vg", "--model cnn,vgg16"),
        ("histotune launch --dry-run --prec", "--dry-run --precision="),
        ("histotune completion ba", "completion bash"),
        ("histotune match --pat", "match --patches="),
        ("python -m data_utils.fe", "python -m data_utils.fetch"),
        ("python -m data_utils.fetch --set sm", "--set small"),
        ("histotune launch --set cnn.wi", "--set cnn.width="),
        ("histotune launch --set cnn.width=16,cnn.de", "--set cnn.width=16,cnn.depth="),
    ],
)
def test_zsh_completes_commands_flags_and_values(line: str, shown: str, tmp_path: Path) -> None:
    assert shown in in_zsh(line, tmp_path).replace("\r\n", "")
