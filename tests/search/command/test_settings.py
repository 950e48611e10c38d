"""What commands are asked to do, and how they refuse."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.command._flags import options
from search.command.settings import (
    COMMANDS,
    parse_completion,
    parse_dashboard,
    parse_export,
    parse_finalize,
    parse_heatmap,
    parse_launch,
    parse_predict,
    parse_report,
    parse_status,
)


def launch(*argv, environ=None):
    return parse_launch(["--model", "cnn", *argv], environ or {})


def refusal(capsys, parse, *argv):
    """The one line with which ``parse`` refuses, after checking exit code and stream."""
    with pytest.raises(SystemExit) as stop:
        parse(list(argv))
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    return err.strip()


def test_a_launch_without_options_takes_the_documented_defaults():
    settings = launch()
    assert (settings.trials, settings.epochs, settings.split, settings.seed, settings.split_seed) == (
        50,
        None,
        (70, 15, 15),
        0,
        0,
    )
    assert (settings.sampler, settings.pruner, settings.objective, settings.precision) == ("tpe", "sha", "auc", "auto")
    assert settings.common.storage == "sqlite:///runs/studies.db"
    assert settings.common.study == "data"
    assert settings.common.data is None
    assert settings.preprocess is None
    assert settings.worker.workers is None
    assert settings.worker.device == "auto"
    assert not settings.dry_run


def test_every_option_of_launch_arrives(tmp_path):
    listed = tmp_path / "first.json"
    listed.write_text("[]")
    settings = launch(
        *("--data", "synthetic:600", "--study", "s1", "--storage", "postgresql://u:p@h/d", "--runs", "r"),
        *("--log-level", "debug", "--workers", "3", "--cpus-per-worker", "0.5", "--gpus-per-worker", "0.25"),
        *("--device", "cuda", "--ray-address", "head:6379", "--trials", "7", "--epochs", "3", "--timeout", "1.5"),
        *("--trial-timeout", "60", "--seed", "4", "--split", "60/20/20", "--split-seed", "5", "--sampler", "gp"),
        *("--pruner", "median", "--objective", "average_precision", "--precision", "bf16", "--enqueue", str(listed)),
        *("--vgg16-weights", "none", "--warm-start", "s0", "--dry-run", "--preprocess", "macenko"),
    )
    assert settings.common.study == "s1"
    assert settings.common.storage == "postgresql://u:p@h/d"
    assert settings.common.runs == Path("r")
    assert (settings.worker.workers, settings.worker.cpus_per_worker, settings.worker.gpus_per_worker) == (3, 0.5, 0.25)
    assert (settings.worker.device, settings.worker.ray_address) == ("cuda", "head:6379")
    assert (settings.timeout, settings.trial_timeout, settings.split) == (1.5, 60.0, (60, 20, 20))
    assert (settings.sampler, settings.pruner, settings.precision) == ("gp", "median", "bf16")
    assert (settings.enqueue, settings.warm_start, settings.vgg16_weights) == (listed, "s0", "none")
    assert settings.preprocess == "macenko"
    assert settings.dry_run


def test_what_is_left_out_and_a_published_split_arrive(tmp_path):
    settings = launch()
    assert (settings.exclude, settings.split_file, settings.unlisted) == ((), None, "error")
    lists = ("--split-file", str(tmp_path), "--unlisted", "exclude")
    settings = launch("--exclude", "blurred, no_patient,blurred", *lists)
    assert settings.exclude == ("no_patient", "blurred")
    assert (settings.split_file, settings.unlisted) == (str(tmp_path), "exclude")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--exclude", "near-white"), "'near-white' is not known, did you mean near_white?"),
        (("--split-file", "nowhere.json"), "'nowhere.json' does not exist; check the path, or say folders"),
        (("--split-file", ".", "--split", "70/15/15"), "the lists divide the patients; leave --split and --split-seed"),
        (("--split-file", ".", "--split-seed", "0"), "the lists divide the patients"),
        (("--unlisted", "train"), "no lists are given; name them by --split-file"),
        (("--unlisted", "trian", "--split-file", "."), "did you mean train?"),
    ],
)
def test_flags_of_data_that_contradict_each_other_are_refused(capsys, argv, message):
    assert message in refusal(capsys, parse_launch, "--model", "cnn", *argv)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("synthetic:600", "synthetic-600"),
        ("synthetic", "synthetic"),
        ("/some/where/idc_patches.ZIP", "idc_patches"),
        ("/some/where/breast v2.1/", "breast-v2.1"),
        ("../..data..", "data"),
        ("/", "data"),
        ("studies.db", "data"),
    ],
)
def test_a_study_is_named_after_its_data(data, name):
    assert launch("--data", data).common.study == name
    assert launch(environ={"HISTOTUNE_DATA": data}).common.study == name


def test_the_study_of_a_later_command_is_left_open_without_data_or_name():
    assert parse_finalize([], {}).common.study == ""
    assert parse_report([], {"HISTOTUNE_DATA": "x"}).common.study == ""
    assert parse_status(["--data", "synthetic:9"], {}).common.study == "synthetic-9"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home of the user, with a file and a folder in it; the current folder is another, and empty."""
    (tmp_path / "home" / "folder").mkdir(parents=True)
    (tmp_path / "home" / "file").write_text("[]")
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


PATHS = {
    (command, option.name): option
    for command, kind in COMMANDS.items()
    for option in options(kind)
    if option.flag.metavar in ("PATH", "FILE", "FILE.json", "DIR")
}


@pytest.mark.parametrize("where", PATHS, ids=" ".join)
def test_every_flag_that_takes_a_path_knows_the_home_of_the_user(home, where):
    def read(text):
        try:
            return str(PATHS[where].flag.kind(text))
        except argparse.ArgumentTypeError as error:
            return str(error)

    assert {str(home / "file"), str(home / "folder")} & {read("~/file"), read("~/folder")}
    assert read("~nobody-here/x").startswith("'~nobody-here/x' is in nobody's home here; give the path itself")


def test_a_folder_named_tilde_is_never_made(home):
    settings = launch("--runs=~/runs", "--storage=sqlite:///~/db/x.db", "--data", "synthetic:60", "--study", "s")
    assert (settings.common.runs, settings.common.storage) == (home / "runs", f"sqlite:///{home}/db/x.db")
    assert launch(environ={"HISTOTUNE_STORAGE": "sqlite:///~/x.db"}).common.storage == f"sqlite:///{home}/x.db"
    assert launch("--runs", "~/runs").common.storage == f"sqlite:///{home}/runs/studies.db"
    file = home / "launch.toml"
    file.write_text('model = "cnn"\nruns = "~/from-file"\nvgg16-weights = "~/file"\n')
    kept = parse_launch(["--config", "~/launch.toml"], {})
    assert (kept.common.runs, kept.vgg16_weights) == (home / "from-file", str(home / "file"))
    from search.comparison import Comparison

    Comparison.open(settings.common, begin=True).storage.engine.dispose()
    assert (home / "db" / "x.db").is_file()
    assert list(Path.cwd().iterdir()) == []


def test_a_job_of_a_ray_joins_that_ray_unless_it_asks_for_another():
    job = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "RAY_ADDRESS": "10.0.0.1:6379"}
    assert launch(environ=job).worker.ray_address == "10.0.0.1:6379"
    assert parse_finalize([], job).worker.ray_address == "10.0.0.1:6379"
    assert launch("--ray-address", "head:1", environ=job).worker.ray_address == "head:1"
    assert launch("--ray-address", "none", environ=job).worker.ray_address is None
    assert launch("--ray-temp-dir", "/tmp", environ=job).worker.ray_address is None
    assert launch(environ={"RAY_ADDRESS": "10.0.0.1:6379"}).worker.ray_address is None


def test_storage_comes_from_the_option_then_the_environment_then_the_runs_folder():
    environ = {"HISTOTUNE_STORAGE": "postgresql://h/d"}
    assert launch("--storage", "sqlite:///x.db", environ=environ).common.storage == "sqlite:///x.db"
    assert launch(environ=environ).common.storage == "postgresql://h/d"
    assert launch("--runs", "/tmp/r").common.storage == "sqlite:////tmp/r/studies.db"
    assert launch(environ={"HISTOTUNE_STORAGE": ""}).common.storage == "sqlite:///runs/studies.db"


@pytest.mark.parametrize("parse", [parse_launch, parse_report, parse_predict], ids=["launch", "report", "predict"])
def test_every_command_takes_the_password_of_the_variable_for_a_url_without_it(parse):
    needed = {parse_launch: ["--model", "cnn"], parse_predict: ["--model", "runs/x/cnn", "--out", "p.csv"]}
    whole = {"HISTOTUNE_STORAGE": "postgresql://u:secret@h/d"}
    for typed, expected in (("u@h/d", "u:secret@h/d"), ("u@h/other", "u@h/other"), ("u:own@h/d", "u:own@h/d")):
        settings = parse([*needed.get(parse, []), "--storage", f"postgresql://{typed}"], whole)
        assert getattr(settings, "common", settings).storage == f"postgresql://{expected}"
    bare = parse([*needed.get(parse, [])], {})
    assert getattr(bare, "common", bare).storage == ("" if parse is parse_predict else "sqlite:///runs/studies.db")


def test_no_password_is_in_the_repr_of_settings():
    assert "secret" not in repr(launch("--storage", "postgresql://u:secret@h/d"))


def test_all_models_are_those_of_the_folder_and_a_list_keeps_its_order():
    names = parse_launch(["--model", "all"], {}).models
    assert parse_launch(["--model", "all,cnn"], {}).models == parse_launch(["--model", "cnn,all"], {}).models == names
    assert "cnn" in names
    assert parse_launch(["--model", f"{names[-1]},{names[0]},{names[-1]}"], {}).models == tuple(
        dict.fromkeys([names[-1], names[0]])
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--trails", "5"], "--trails is not an option, did you mean --trials?"),
        (["--trial-timeuot=5"], "did you mean --trial-timeout?"),
        (["--zzz"], "--zzz is not an option; --help lists all"),
        (["--trial", "5"], "--trial is not an option, did you mean --trials?"),
        (["vgg16"], "'vgg16' was not expected here"),
        (["--sampler", "TPE2"], "--sampler: 'TPE2' is not known, did you mean tpe?"),
        (["--pruner", "hyperbant"], "did you mean hyperband?"),
        (["--objective", "acuracy"], "one of auc, average_precision, balanced_accuracy"),
        (["--model", "cn"], "--model: 'cn' is not known, did you mean cnn?"),
        (["--model", "cnn,"], "--model: '' is not known"),
        (["--trials", "-5"], "--trials: -5 is out of range; give a whole number from 1"),
        (["--trials", "5.0"], "--trials: '5.0' is not a whole number"),
        (["--set", "cnn.width=16", "--set", "cnn.kernel=3"], "--set is given twice; give it once, with commas"),
        (["--exclude", "blurred", "--exclude", "near_white"], "--exclude is given twice"),
        (["--trials"], "--trials: expected one argument"),
        (["--epochs", "0"], "--epochs: 0 is out of range"),
        (["--seed", "-1"], "--seed: -1 is out of range"),
        (["--timeout", "0"], "--timeout: 0 is too small"),
        (["--timeout", "1h"], "--timeout: '1h' is not a number"),
        (["--trial-timeout", "inf"], "--trial-timeout: inf is not finite"),
        (["--split", "70/20/20"], "add up to 100, like 70/15/15"),
        (["--split", "80/20"], "--split: '80/20' is not a split"),
        (["--split", "50/50/0"], "--split: '50/50/0' is not a split"),
        (["--study", "../up"], "--study: '../up' is not a study name"),
        (["--study", "a/b"], "is not a study name"),
        (["--study", ".hidden"], "is not a study name"),
        (["--study", "line\nbreak"], "'line\\nbreak' is not a study name"),
        (["--study", "x" * 81], "up to 80"),
        (["--study", "studies.db"], "not studies.db"),
        (["--storage", "runs/studies.db"], "--storage: not a database URL"),
        (["--storage", "postgres://u:secret@h/d"], "'postgres' is no database that is known here, did you mean postg"),
        (["--workers", "0"], "--workers: 0 is out of range"),
        (["--gpus-per-worker", "1.5"], "--gpus-per-worker: 1.5 is no share of GPUs"),
        (["--gpus-per-worker", "1", "--device", "cpu"], "no GPU is used with --device cpu"),
        (["--ray-address", "nowhere"], "--ray-address: 'nowhere' is no address of a Ray; give auto or HOST:PORT"),
        (["--ray-address", "ray://head:10001"], "give auto or HOST:PORT, on a machine of that Ray and without ray://"),
        (["--ray-address", "head:6379", "--ray-temp-dir", "/tmp"], "--ray-temp-dir: a running Ray has a folder of its"),
        (["--device", "gpu"], "--device: 'gpu' is not known, did you mean cuda?"),
        (["--gpu"], "--gpu is not an option, did you mean --device?"),
        (["--name", "s"], "did you mean --study?"),
        (["--db", "x"], "did you mean --storage?"),
        (["--output", "x"], "did you mean --runs?"),
        (["--n_trials=5"], "--n_trials is not an option, did you mean --trials?"),
        (["--iterations", "5"], "did you mean --trials?"),
        (["--batch-size", "32"], "did you mean --set?"),
        (["--n-jobs", "2"], "did you mean --workers?"),
        (["--random-state", "2"], "did you mean --seed?"),
        (["--sampler", "bayesian"], "did you mean tpe?"),
        (["--precision", "fp16"], "did you mean bf16?"),
        (["--objective", "accuracy"], "did you mean balanced_accuracy?"),
        (["--vgg16-weights", "torchvison"], "neither a file nor one of torchvision, none, did you mean torchvision?"),
        (["--enqueue", "nowhere.json"], "--enqueue: 'nowhere.json' is not a file"),
        (["--study", "a", "--warm-start", "a"], "--warm-start: a is the study of this search"),
        (["--data", " "], "--data: is empty"),
    ],
)
def test_a_refused_argument_is_one_line_that_says_what_to_give(capsys, argv, message):
    line = refusal(capsys, lambda given: parse_launch(given, {}), "--model", "cnn", *argv)
    assert line.startswith("python -m search.launch: ")
    assert message in line
    assert "secret" not in line


def test_the_variable_is_named_when_its_storage_is_refused(capsys):
    line = refusal(capsys, lambda argv: parse_status(argv, {"HISTOTUNE_STORAGE": "mysql://u:secret@h/d"}))
    assert "$HISTOTUNE_STORAGE: 'mysql' is no database" in line
    assert "secret" not in line


def test_needed_options_are_asked_for_after_misspelt_ones(capsys):
    assert "did you mean --model?" in refusal(capsys, parse_launch, "--modle", "cnn")
    assert "--model is needed" in refusal(capsys, parse_launch)
    assert "--out is needed" in refusal(capsys, parse_predict, "--model", "runs/x/cnn")


def test_a_reason_for_reopening_cannot_be_empty(capsys):
    assert parse_finalize(["--reopen", "a fold was lost"], {}).reopen == "a fold was lost"
    assert "--reopen: is empty" in refusal(capsys, parse_finalize, "--reopen", " ")


def test_status_looks_once_or_again_and_again_but_not_both_ways(capsys):
    assert parse_status([], {}).watch is None
    assert parse_status(["--watch"], {}).watch == 2.0
    assert parse_status(["--watch", "0.5"], {}).watch == 0.5
    assert parse_status(["--json"], {}).json
    assert "not allowed with" in refusal(capsys, parse_status, "--json", "--watch")


def test_the_dashboard_keeps_to_this_machine_unless_told_otherwise():
    settings = parse_dashboard([], {})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)


def test_prediction_takes_a_folder_patches_and_a_file_to_write():
    settings = parse_predict(["--model", "runs/x/cnn", "--data", "d", "--out", "p.csv"])
    assert (settings.model, settings.data, settings.out) == (Path("runs/x/cnn"), ("d",), Path("p.csv"))
    several = parse_predict(["--data", "a", "*.png", "--model", "m", "--data", "b", "--out", "p.csv"])
    assert several.data == ("a", "*.png", "b")
    assert parse_predict(["--model", "m", "--out", "p.csv"]).data == ()


def test_heat_maps_take_a_folder_to_write_and_some_patients(capsys, tmp_path):
    settings = parse_heatmap(["--model", "runs/x", "--data", "a.zip", "--out", "maps", "--patient", "1", "2"])
    assert (settings.out, settings.data, settings.patient) == (Path("maps"), ("a.zip",), ("1", "2"))
    (tmp_path / "file").write_text("")
    assert "--out: " in refusal(capsys, parse_heatmap, "--model", "m", "--out", str(tmp_path / "file"))


def test_an_export_takes_a_model_a_form_and_a_file_to_write(capsys):
    settings = parse_export(["--model", "runs/x/cnn", "--out", "cnn.onnx"])
    assert (settings.model, settings.format, settings.out) == (Path("runs/x/cnn"), "onnx", Path("cnn.onnx"))
    assert "did you mean torchscript?" in refusal(
        capsys, parse_export, "--model", "m", "--out", "o", "--format", "torch"
    )


def test_a_prediction_is_written_over_nothing_but_a_file(capsys, tmp_path):
    """It takes the place of what is there: of /dev/null, where root asks for it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for place in ("/dev/null", str(tmp_path / "pipe"), str(tmp_path / "link"), str(tmp_path)):
        told = refusal(capsys, parse_predict, "--model", "runs/x/cnn", "--data", "d", "--out", place)
        assert f"--out: '{place}' cannot be written as a file" in told
    (tmp_path / "old.csv").write_text("x")
    (tmp_path / "to old").symlink_to(tmp_path / "old.csv")
    for place in ("old.csv", "to old"):
        assert parse_predict(["--model", "m", "--out", str(tmp_path / place)]).out == tmp_path / "old.csv"


@pytest.mark.parametrize(
    "parse", [parse_launch, parse_finalize, parse_report, parse_status, parse_predict, parse_dashboard]
)
def test_help_and_version_end_well(capsys, parse):
    for flag, expected in (("--help", "usage: python -m search."), ("--version", "HistoTune ")):
        with pytest.raises(SystemExit) as stop:
            parse([flag])
        assert stop.value.code == 0
        assert capsys.readouterr().out.startswith(expected)


def test_reading_arguments_imports_nothing_heavy():
    code = (
        "import sys, search.command.settings, search.command.outcome\n"
        "heavy = {'torch', 'ray', 'optuna', 'sklearn', 'numpy', 'sqlalchemy', 'plotly', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"settings and commands imported in {time.monotonic() - begun:.2f} s")
    assert done.stdout.strip() == "[]"


def test_a_shell_is_asked_for_by_name(capsys):
    assert parse_completion(["zsh"]).shell == "zsh"
    assert "SHELL: 'zhs' is not known, did you mean zsh?" in refusal(capsys, parse_completion, "zhs")
    assert "required: SHELL" in refusal(capsys, parse_completion)
    assert "'x' was not expected here" in refusal(capsys, parse_completion, "bash", "x")


def test_a_margin_is_a_difference_of_auc(capsys):
    assert parse_finalize([], {}).margin is None
    assert parse_finalize(["--margin", "0.02"], {}).margin == 0.02
    for text in ("0", "-0.02", "0.5", "2"):
        said = refusal(capsys, lambda argv: parse_finalize(argv, {}), "--margin", text)
        assert "give a number above 0 and below 0.5, such as 0.02" in said or "too small" in said
