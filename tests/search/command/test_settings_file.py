"""A run as a file: what a launch writes is what --config takes; whatever else stands there is refused in one line."""

import os
import shlex
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from search.command.settings import (
    LaunchSettings,
    parse_clean,
    parse_finalize,
    parse_launch,
    parse_report,
    parse_status,
)
from search.command.settings_file import write_settings
from studies.errors import NotWrittenError
from studies.secrets import bare

EVERYTHING = (
    *("--model", "vgg16,cnn", "--data", "synthetic:600", "--study", "s1", "--storage", "postgresql://u@h/d"),
    *("--log-level", "debug", "--workers", "3", "--cpus-per-worker", "0.5", "--gpus-per-worker", "0.25"),
    *("--device", "cuda", "--ray-address", "head:6379", "--trials", "7", "--epochs", "3", "--timeout", "1.5"),
    *("--trial-timeout", "60", "--seed", "4", "--split", "60/20/20", "--split-seed", "5", "--sampler", "gp"),
    *("--pruner", "median", "--objective", "average_precision", "--precision", "bf16", "--feature-cache-gb", "0"),
    *("--vgg16-weights", "none", "--warm-start", "s0", "--preprocess", "macenko", "--exclude", "blurred,near_white"),
    *("--storage-timeout", "1e-3"),
)


def written(folder: Path, *argv: str, typed: str = "python -m search.launch") -> Path:
    """The file of a launch."""
    path = folder / "launch.toml"
    write_settings(path, parse_launch([*argv], {}), typed)
    return path


def read(path: Path, *argv: str, environ: dict[str, str] | None = None) -> LaunchSettings:
    """What a launch takes from the file, without the file's own name."""
    settings = parse_launch(["--config", str(path), *argv], environ or {})
    assert settings.common.config == path
    return replace(settings, common=replace(settings.common, config=None))


def file_of(folder: Path, content: str) -> Path:
    path = folder / "own.toml"
    path.write_text(content, encoding="utf-8")
    return path


def refusal(capsys: pytest.CaptureFixture[str], *argv: str, parse: object = parse_launch) -> str:
    """The one line with which arguments are refused."""
    assert callable(parse)
    with pytest.raises(SystemExit) as stop:
        parse(list(argv), {})
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    return err.strip()


def test_what_a_launch_writes_is_what_it_was_asked_for(tmp_path: Path) -> None:
    asked = parse_launch([*EVERYTHING, "--runs", str(tmp_path)], {})
    assert read(written(tmp_path, *EVERYTHING, "--runs", str(tmp_path))) == asked
    assert read(written(tmp_path, "--model", "cnn")) == parse_launch(["--model", "cnn"], {})


def test_published_lists_are_written_without_the_draw_that_they_replace(tmp_path: Path) -> None:
    lists = ("--model", "cnn", "--split-file", str(tmp_path), "--unlisted", "train")
    path = written(tmp_path, *lists)
    assert not {"split", "split-seed"} & tomllib.loads(path.read_text(encoding="utf-8")).keys()
    assert read(path) == parse_launch([*lists], {})


def test_the_file_says_what_it_is_and_how_to_use_it(tmp_path: Path) -> None:
    text = written(tmp_path, "--model", "cnn", typed="python -m search.launch --data 'a\nb = 1'").read_text()
    comment = [line for line in text.splitlines() if line.startswith("#")]
    assert "The settings of the last search.launch" in comment[0]
    assert comment[1] == "# Typed was: python -m search.launch --data 'a b = 1'"
    assert f"python -m search.launch --config {tmp_path}/launch.toml --study NEW" in comment[2]
    assert text.index("# search") < text.index("trials = 50") < text.index("# workers")
    assert 'split = "70/15/15"' in text


def test_flags_go_before_the_file_and_the_file_before_variables_and_defaults(tmp_path: Path) -> None:
    path = file_of(
        tmp_path, 'model = ["cnn"]\ntrials = 9\nepochs = 4\nstorage = "sqlite:///f.db"\nsplit = [60, 20, 20]'
    )
    settings = read(path, "--trials", "3", environ={"HISTOTUNE_STORAGE": "sqlite:///v.db"})
    assert (settings.models, settings.trials, settings.epochs) == (("cnn",), 3, 4)
    assert (settings.common.storage, settings.split, settings.seed) == ("sqlite:///f.db", (60, 20, 20), 0)
    assert read(path, "--storage", "sqlite:///t.db").common.storage == "sqlite:///t.db"


def test_what_does_not_go_with_a_typed_flag_leaves_with_the_file(tmp_path: Path) -> None:
    drawn = file_of(tmp_path, 'model = "cnn"\nsplit = "60/20/20"\nsplit-seed = 3\ndevice = "cuda"\ngpus-per-worker = 2')
    settings = read(drawn, "--split-file", str(tmp_path), "--device", "cpu")
    assert (settings.split_file, settings.split_seed) == (str(tmp_path), 0)
    assert (settings.worker.device, settings.worker.gpus_per_worker) == ("cpu", None)
    listed = file_of(tmp_path, f'model = "cnn"\nsplit-file = "{tmp_path}"\nunlisted = "train"')
    assert read(listed, "--split-seed", "3").split_file is None


def test_none_takes_back_what_the_file_has(tmp_path: Path) -> None:
    listed = file_of(tmp_path, "[]").rename(tmp_path / "first.json")
    asked = (*EVERYTHING, "--enqueue", str(listed), "--set", "cnn.width=16")
    path = written(tmp_path, *asked)
    flags = ("--timeout", "--trial-timeout", "--warm-start", "--enqueue", "--cpus-per-worker", "--ray-address")
    none = [word for flag in (*flags, "--set", "--exclude") for word in (flag, "none")]
    settings, kept = read(path, *none), parse_launch([*asked], {})
    assert (settings.timeout, settings.trial_timeout, settings.warm_start, settings.enqueue) == (None,) * 4
    assert (settings.worker.cpus_per_worker, settings.worker.ray_address) == (None, None)
    assert (settings.space, settings.exclude) == ((), ())
    assert (settings.trials, settings.seed, settings.worker.workers) == (kept.trials, kept.seed, kept.worker.workers)
    own = file_of(tmp_path, 'model = "cnn"\nray-temp-dir = "x"\ntimeout = "none"')
    assert read(own, "--ray-temp-dir", "none").worker.ray_temp_dir is None
    assert read(own).timeout is None


def test_what_is_taken_back_takes_nothing_else_with_it(tmp_path: Path) -> None:
    joined = file_of(tmp_path, 'model = "cnn"\nray-address = "head:6379"')
    assert read(joined, "--ray-temp-dir", "none").worker.ray_address == "head:6379"


def test_the_command_to_repeat_it_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "two words; $HOME"
    folder.mkdir()
    (line,) = (line for line in written(folder, "--model", "cnn").read_text().splitlines() if "To repeat it" in line)
    assert shlex.split(line.partition("name: ")[2])[3:] == ["--config", f"{folder}/launch.toml", "--study", "NEW"]


def test_a_switch_that_a_run_is_repeated_with_is_kept(tmp_path: Path) -> None:
    assert read(written(tmp_path, "--model", "cnn", "--stop-when-flat")).stop_when_flat
    usual = written(tmp_path, "--model", "cnn")
    assert "stop-when-flat = false" in usual.read_text()
    assert not read(usual).stop_when_flat
    assert read(usual, "--stop-when-flat").stop_when_flat


def test_one_file_serves_all_commands(tmp_path: Path) -> None:
    path = str(written(tmp_path, *EVERYTHING))
    for parse in (parse_finalize, parse_report, parse_status, parse_clean):
        settings = parse(["--config", path], {})
        assert (settings.common.study, settings.common.storage) == ("s1", "postgresql://u@h/d")
    assert parse_finalize(["--config", path], {}).worker.workers == 3


SECRET = "postgresql://user:s3cr/et@host:5432/name?sslpassword=s3cret2&application_name=x&password=s3cret3"


def test_no_password_is_written_and_the_variable_has_it_again(tmp_path: Path) -> None:
    path = written(tmp_path, "--model", "cnn", "--storage", SECRET)
    assert "s3c" not in path.read_text()
    assert 'storage = "postgresql://user@host:5432/name?application_name=x"' in path.read_text()
    assert read(path, environ={"HISTOTUNE_STORAGE": SECRET}).common.storage == SECRET
    other = "postgresql://user:pw@other/name"
    assert read(path, environ={"HISTOTUNE_STORAGE": other}).common.storage == bare(SECRET)


@pytest.mark.parametrize(
    "url", ["sqlite:///runs/studies.db", "postgresql://host/name?a=b&c=d", "postgresql://user@host/name"]
)
def test_a_url_without_password_is_written_as_it_is(url: str) -> None:
    assert bare(url) == url


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("trails = 5", "trails is no setting, did you mean trials?"),
        ("trial_timeout = 5", "trial_timeout is no setting, did you mean trial-timeout?"),
        ("zzz = 5", "zzz is no setting; a key is an option of --help without its --"),
        ("[search]\ntrials = 5", "search is no setting"),
        ("trials = 0", "trials: 0 is out of range; give a whole number from 1"),
        ("trials = 5.0", "trials: '5.0' is not a whole number"),
        ('trials = "5"', "trials: '5' is text where a number is expected; write it without quotes"),
        ("trials = true", "trials: True is neither text nor a number nor a list of them"),
        ("trials = [5]", "trials: [5] is a list where a single value is expected; write it without brackets"),
        ("trials = [[5]]", "trials: [[5]] is neither text nor a number"),
        ("trials = {a = 1}", "trials: {'a': 1} is neither text nor a number"),
        ("trials = 2020-01-01", "neither text nor a number"),
        ("study = 5", "study: 5 is a number where text is expected; write it in quotes"),
        ("timeout = nan", "timeout: nan is not finite"),
        ("timeout = inf", "timeout: inf is not finite"),
        ("timeout = -inf", "timeout: -inf is not finite"),
        ("timeout = 1e300", "timeout: 1e+300 is too large"),
        ('sampler = "tpe2"', "sampler: 'tpe2' is not known, did you mean tpe?"),
        ('model = ["cnn", "vgg"]', "model: 'vgg' is not known, did you mean vgg16?"),
        ("model = []", "model: [] is neither text nor a number nor a list of them"),
        ("split = [70, 20, 20]", "split: '70/20/20' is not a split"),
        ('finalists = "many"', "finalists: 'many' is not a whole number"),
        ('storage = "postgres://u:secret@h/d"', "storage: 'postgres' is no database"),
        ("storage = {url = 'postgresql://u:secret@h/d'}", "storage: {'url': 'postgresql://u:***@h/d'} is neither text"),
        ('stop-when-flat = "yes"', "stop-when-flat: 'yes' is neither true nor false"),
        ("dry-run = true", "dry-run: is said on the command line alone; give --dry-run there"),
        ('reopen = "again"', "reopen: is said on the command line alone"),
        ('config = "x"', "config: is said on the command line alone"),
        ("trials 5", "is no TOML (Expected '=' after a key"),
        ("trials = 5\ntrials = 6", "is no TOML (Cannot overwrite a value"),
        ("trials = " + "9" * 5000, "is no TOML (Exceeds the limit"),
        ("a = " + "[" * 20_000, "is no TOML ("),
        ("#" * (2**16 + 1), "is larger than 65536 bytes"),
        ('study = "a\\u0000"', "study: 'a\\x00' is not a study name"),
    ],
)
def test_what_cannot_be_right_is_one_line_that_names_file_and_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, message: str
) -> None:
    path = file_of(tmp_path, content)
    line = refusal(capsys, "--model", "cnn", "--config", str(path))
    assert line.startswith(f"python -m search.launch: {path}")
    assert message in line
    assert "secret" not in line


def test_what_is_no_text_and_no_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"study = '\xff'")
    assert "is no TOML ('utf-8' codec" in refusal(capsys, "--config", str(path))
    assert "is not a file; check the path" in refusal(capsys, "--config", str(tmp_path))
    assert "is not a file" in refusal(capsys, "--config", str(tmp_path / "nowhere.toml"))
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refusal(capsys, "--config", str(tmp_path / "pipe"))


def test_a_contradiction_within_the_file_names_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = file_of(tmp_path, f'model = "cnn"\nsplit-seed = 1\nsplit-file = "{tmp_path}"')
    line = refusal(capsys, "--config", str(path))
    assert f"{path}: --split-file: the lists divide the patients" in line
    path = file_of(tmp_path, 'model = "cnn"\ndevice = "cpu"')
    line = refusal(capsys, "--config", str(path), "--gpus-per-worker", "1")
    assert "search.launch: --gpus-per-worker: no GPU is used with --device cpu" in line
    assert "--model is needed" in refusal(capsys, "--config", str(file_of(tmp_path, "trials = 5")))


def test_a_name_that_toml_cannot_hold_is_left_to_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, "--model", "cnn", "--study", "s", "--data", "\udcff.npy")
    assert "# data is no text that TOML could hold" in path.read_text(encoding="utf-8")
    assert read(path).common.data is None


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    with pytest.raises(NotWrittenError):
        write_settings(written(tmp_path, "--model", "cnn") / "x.toml", parse_launch(["--model", "cnn"], {}), "")
    assert list(tmp_path.iterdir()) == [tmp_path / "launch.toml"]


def test_what_no_setting_says_stands_there_for_who_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "launch.toml"
    settings = parse_launch(["--model", "cnn,vgg16"], {})
    write_settings(path, settings, "python -m search.launch", ("epochs: 24 of cnn, 12 of vgg16",))
    assert path.read_text("utf-8").endswith("\n# epochs: 24 of cnn, 12 of vgg16\n")
    assert read(path) == settings
