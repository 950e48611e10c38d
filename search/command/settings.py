"""What a command was asked to do: arguments, a file and environment in, frozen dataclasses out.

A new flag is one annotated field here; see ``search.command._flags``. Nothing heavy is imported, so that ``--help``
and a refused argument answer at once.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from data_utils.quality.rules import RULE_NAMES
from models._registry import model_names
from search.command import _arguments as kinds
from search.command._arguments import positive, study_name_of, whole
from search.command._flags import Asked, Flag, Group, Settings, Study, choice, command_of, options, purpose_of, switch
from search.command._ray import settle_ray
from search.command._shared import Data, Device, LogLevel, Patience, Positive, Storage, Weights
from search.command._split import DRAW, LISTS, check_split
from search.command.applying import ExportSettings, HeatmapSettings, PredictSettings
from search.command.extents import Extent, assignments, settle_space
from search.command.settings_file import read_settings
from studies.secrets import with_password

MODELS = model_names()
PREPROCESSINGS = ("none", "standardise", "reinhard", "macenko")  # those of data_utils.colour.preprocessing
SPLIT, SPLIT_SEED, SEED = (70, 15, 15), 0, whole(0, 2**32 - 1)
BY_DATA, ALL = Study("default: the stem of the data path"), Study("default: all in the database")
_NONE = (kinds.NONE,)


@dataclass(frozen=True)
class CommonSettings:
    """Which comparison, and where it lives; ``study`` is "" where a command may pick the only one that there is."""

    data: Annotated[Data, Group("data and storage")] = None
    study: Annotated[str, Flag(
        "NAME", kinds.study_name, "name of the comparison", "default: the only one in the database"
    )] = ""  # fmt: skip
    storage: Storage = field(default="", repr=False)
    runs: Annotated[Path, Flag("DIR", kinds.folder, "folder of results", "default: runs/")] = Path("runs")
    log_level: LogLevel = "info"
    config: Annotated[Path | None, Flag(
        "FILE", kinds.existing_file, "settings as runs/NAME/launch.toml has them; flags go before them", kept=False,
        once=True,
    )] = None  # fmt: skip


@dataclass(frozen=True)
class WorkerSettings:
    """Where training runs."""

    workers: Annotated[int | None, Group("workers"), Flag(
        "N", kinds.worker_count, "networks trained at the same time", "default: auto"
    )] = None  # fmt: skip
    cpus_per_worker: Annotated[float | None, Flag(
        "F", kinds.or_none(kinds.core_count), "CPU cores of each worker", "default: none, which is an equal share",
        choices=_NONE,
    )] = None  # fmt: skip
    gpus_per_worker: Annotated[float | str | None, Flag(
        "F", kinds.gpu_share, "share of a GPU for each worker, whole GPUs, or auto: as the memory of the first trials "
        "tells", "default: 1",
    )] = None  # fmt: skip
    device: Device = "auto"
    feature_cache_gb: Annotated[float, Flag(
        "GB", kinds.not_negative,
        "disk for outputs of frozen layers, kept in RUNS/features and shared by all trials; 0: none"
    )] = 20.0  # fmt: skip
    ray_address: Annotated[str | None, Flag(
        "ADDRESS", kinds.or_none(kinds.ray_address),
        "running Ray to join: auto or HOST:PORT", "default: none, which is one of its own on this machine",
        choices=("auto", *_NONE), instead_of=("ray_temp_dir",),
    )] = None  # fmt: skip
    ray_temp_dir: Annotated[Path | None, Flag(
        "DIR", kinds.or_none(kinds.folder), "folder for sockets and logs of a Ray of its own; a short name",
        "default: none, which is $TMPDIR, then /tmp, or what serves there", choices=_NONE, instead_of=("ray_address",),
    )] = None  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LaunchSettings:
    """Search for the best configuration of each model: many trials in parallel workers, weak ones pruned early."""

    models: Annotated[tuple[str, ...], Group("search"), Flag(
        "NAME", kinds.model_names(*MODELS), f"{', '.join(MODELS)}; or package.module:MODEL of a package of yours; "
        "several with commas; or all, side by side in the same workers", name="--model", choices=(*MODELS, kinds.ALL),
    )]  # fmt: skip
    trials: Annotated[int, Flag("N", whole(1, 1_000_000), "finished trials that each study holds in the end")] = 50
    epochs: Annotated[int | None, Flag(
        "N", whole(1, 10_000), "the most a trial trains", "default: 24 of cnn, 12 of other models"
    )] = None  # fmt: skip
    space: Annotated[tuple[Extent, ...], Flag(
        "MODEL.PARAMETER=VALUE", assignments(MODELS),
        "what parameters may be: one value, a range or a choice, as cnn.width=16,cnn.dropout=0.1..0.4,cnn.kernel=3/5; "
        "MODEL. may go where one is searched", "default: the whole space", name="--set", once=True,
    )] = ()  # fmt: skip
    space_file: Annotated[Path | None, Flag(
        "FILE.toml", kinds.or_none(kinds.existing_file), "the same in TOML, a table for each model; --set goes first",
        "default: none", name="--space", choices=_NONE, instead_of=("space",),
    )] = None  # fmt: skip
    objective: Annotated[str, choice(
        "score on the validation patients to maximise", "auc", "average_precision", "balanced_accuracy"
    )] = "auc"  # fmt: skip
    sampler: Annotated[str, choice(
        "how configurations are chosen; prior is tpe that at first keeps near the default configuration", "tpe",
        "random", "gp", "prior",
    )] = "tpe"  # fmt: skip
    pruner: Annotated[str, choice(
        "how weak trials are stopped, for all of a study; in each bracket of hyperband (3 for 9 to 26 epochs), tpe, gp "
        "and prior begin with 10 trials that learn of none", "sha", "hyperband", "median", "none",
    )] = "sha"  # fmt: skip
    precision: Annotated[str, choice(
        "numbers of training; auto is bf16 where the hardware has it", "auto", "bf16", "fp32"
    )] = "auto"  # fmt: skip
    preprocess: Annotated[str | None, choice(
        "what is done to pixels before a network sees them", *PREPROCESSINGS,
        note="default: that of the comparison, at first none",
    )] = None  # fmt: skip
    seed: Annotated[int, Flag("N", SEED, "seed of the search")] = 0
    timeout: Annotated[float | None, Flag(
        "SECONDS", kinds.or_none(positive), "end the search in order so long after the command began", "default: none",
        choices=_NONE,
    )] = None  # fmt: skip
    trial_timeout: Annotated[float | None, Flag(
        "SECONDS", kinds.or_none(positive), "end a trial after the epoch in which so much training is over; it keeps "
        "its value", "default: none", choices=_NONE,
    )] = None  # fmt: skip
    max_parameters: Annotated[int | None, Flag(
        "N", kinds.or_none(whole(1, 1_000_000_000)), "leave larger networks untrained; the sampler learns of them, and "
        "each counts as a trial", "default: none", choices=_NONE,
    )] = None  # fmt: skip
    max_ms_per_patch: Annotated[float | None, Flag(
        "MS", kinds.or_none(positive), "likewise networks that take longer for a patch, in one view on a worker",
        "default: none", choices=_NONE,
    )] = None  # fmt: skip
    stop_when_flat: Annotated[bool, switch("end a study with less to gain than its patients tell", kept=True)] = False
    metrics_port: Annotated[int | None, Flag(
        "N", whole(1, 65535), "show numbers of the search to Prometheus, on 127.0.0.1 alone", "default: none are shown",
        kept=False,
    )] = None  # fmt: skip
    dry_run: Annotated[bool, switch("show the space and what it would take, write nothing")] = False
    split: Annotated[tuple[int, int, int], Group("data and split, locked when a study begins"), Flag(
        "A/B/C", kinds.parts, "percent of patients for train, validation and test", between="/", instead_of=LISTS
    )] = SPLIT  # fmt: skip
    split_seed: Annotated[int, Flag("N", SEED, "seed of the draw of patients", instead_of=LISTS)] = SPLIT_SEED
    split_file: Annotated[str | None, Flag(
        "PATH", kinds.split_source, "published lists of patient ids instead: JSON, or a folder with cases_train.txt, "
        "cases_val.txt, cases_test.txt; or folders, where patches lie in train/, validation/ and test/",
        choices=("folders",), instead_of=DRAW,
    )] = None  # fmt: skip
    unlisted: Annotated[Literal["error", "train", "exclude"], choice(
        "patients that no list of --split-file names", "error", "train", "exclude"
    )] = "error"  # fmt: skip
    positive: Positive = None
    exclude: Annotated[tuple[str, ...], Flag(
        "RULES", kinds.several(*RULE_NAMES), f"rules that leave patches out, with commas: {', '.join(RULE_NAMES)}",
        "default: none", choices=RULE_NAMES, once=True,
    )] = ()  # fmt: skip
    enqueue: Annotated[Path | None, Group("where the search begins"), Flag(
        "FILE.json", kinds.or_none(kinds.existing_file), "JSON list of configurations to try first", "default: none",
        choices=_NONE,
    )] = None  # fmt: skip
    warm_start: Annotated[str | None, Flag(
        "STUDY", kinds.or_none(kinds.study_name), "try the best configurations of this comparison first, and learn "
        "from its trials", "default: none", choices=_NONE,
    )] = None  # fmt: skip
    vgg16_weights: Weights = None
    common: Annotated[CommonSettings, BY_DATA]
    worker: WorkerSettings
    storage_timeout: Patience = 600.0


@dataclass(frozen=True, kw_only=True)
class FinalizeSettings:
    """Retrain each best configuration, freeze the plan, open the test split once, write the report."""

    finalists: Annotated[int | None, Group("final models"), Flag(
        "N", whole(1, 100), "best configurations to retrain; several race", "default: 4, or as many as were planned"
    )] = None  # fmt: skip
    max_ms_per_patch: Annotated[float | None, Flag(
        "MS", kinds.or_none(positive), "have what is final take no longer for a patch, in all members and views, here",
        "default: none", choices=_NONE,
    )] = None  # fmt: skip
    control: Annotated[bool, switch("train the ensemble's control: default configurations alone", kept=True)] = False
    reopen: Annotated[str | None, Flag(
        "REASON", kinds.some_text,
        "open the test split once more (under another plan, or as its predictions were lost), and say why", kept=False,
    )] = None  # fmt: skip
    draws: Annotated[int, Flag("N", whole(100, 100_000), "draws of patients, for the bands of curves")] = 2000
    margin: Annotated[float | None, Flag(
        "AUC", kinds.margin, "difference of AUC that is of no consequence, planned before the opening: the report may "
        "then call models equivalent within it, or one not worse by more", "default: none",
    )] = None  # fmt: skip
    vgg16_weights: Weights = None
    common: CommonSettings
    worker: WorkerSettings
    storage_timeout: Patience = 600.0


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Write the report again from what is stored; no patch is touched."""

    common: CommonSettings


@dataclass(frozen=True, kw_only=True)
class StatusSettings:
    """Show studies, trials by state, the best so far, and what is running now."""

    json: Annotated[bool, Group("form", exclusive=True), switch("print JSON, for programs")] = False
    watch: Annotated[float | None, Flag(
        "SECONDS", positive, "look again every so often", "default: 2", alone=2.0, kept=False
    )] = None  # fmt: skip
    check: Annotated[bool, switch(
        "look for broken invariants and edited records instead; exit code 1 where there are any"
    )] = False  # fmt: skip
    common: Annotated[CommonSettings, ALL]


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """Train stored trials and a member again, and say whether they come out the same."""

    repeat: Annotated[int, Group("repetition"), Flag("N", whole(1, 10_000), "trials of each study to train again")] = 3
    vgg16_weights: Weights = None
    device: Device = "auto"
    common: CommonSettings


@dataclass(frozen=True, kw_only=True)
class CleanSettings:
    """Remove checkpoints, caches and scratch that no study needs, after showing them."""

    yes: Annotated[bool, Group("answer", exclusive=True), switch("remove without a question, for scripts")] = False
    dry_run: Annotated[bool, switch("show what would be removed, and remove nothing")] = False
    common: Annotated[CommonSettings, ALL]


@dataclass(frozen=True, kw_only=True)
class MoveSettings:
    """Move a whole database, with studies, seals and records, between SQLite and PostgreSQL."""

    source: Annotated[str, Group("databases"), Flag(
        "URL", kinds.storage_url, "database of the studies, which is only read; where $HISTOTUNE_STORAGE is the same "
        "URL with a password, that is taken", name="--from", kept=False,
    )] = field(repr=False)  # fmt: skip
    target: Annotated[str, Flag(
        "URL", kinds.storage_url, "one that holds no studies; a password comes from there as well", name="--to",
        kept=False,
    )] = field(repr=False)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExploreSettings:
    """Look at the patches before any training: one page, with what was found and what to do."""

    all: Annotated[bool, Group("exploration"), switch(
        "show all patches, also those that are or would be sealed for a test; it is recorded, and the report says so"
    )] = False  # fmt: skip
    sample: Annotated[int, Flag(
        "N", whole(100, 10_000_000), "patches that simple models are given; of more a sample is drawn"
    )] = 20_000  # fmt: skip
    seed: Annotated[int, Flag("N", SEED, "seed of samples, folds and the map")] = 0
    positive: Positive = None
    vgg16_weights: Weights = None
    device: Device = "auto"
    common: Annotated[CommonSettings, BY_DATA]


@dataclass(frozen=True, kw_only=True)
class DashboardSettings:
    """Serve optuna-dashboard on the database of the studies."""

    host: Annotated[str, Group("server"), Flag("ADDRESS", kinds.host_name, "address to listen on")] = "127.0.0.1"
    port: Annotated[int, Flag("N", whole(1, 65535), "port to listen on")] = 8080
    common: Annotated[CommonSettings, Study("not needed here: all studies are shown")]


@dataclass(frozen=True, kw_only=True)
class CompletionSettings:
    """Print a script that completes commands, flags and values in a shell."""

    shell: Annotated[str, Group("shell"), Flag(
        "", kinds.one_of("bash", "zsh", "fish"), "bash, zsh or fish", name="SHELL", choices=("bash", "zsh", "fish")
    )]  # fmt: skip


COMMANDS: dict[str, type[Any]] = {command_of(kind): kind for kind in (
    ExploreSettings, LaunchSettings, FinalizeSettings, ReportSettings, StatusSettings, PredictSettings,
    HeatmapSettings, ExportSettings, CheckSettings, DashboardSettings, CleanSettings, MoveSettings, CompletionSettings,
)}  # fmt: skip
PURPOSES = {name: purpose_of(kind) for name, kind in COMMANDS.items()}


def parse_launch(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> LaunchSettings:
    """Settings of ``search.launch``; a refused argument ends the process with one line and exit code 2."""
    asked = _asked(LaunchSettings, argv, environ)
    check_split(asked)
    settle_space(asked, MODELS)
    study = _name(asked.values, environ)
    if asked.values["warm_start"] == study:
        other = "name another, or give a new --study"
        asked.refuse(f"--warm-start: {study} is the study of this search; {other}", "warm_start", "study")
    return asked.settings()


def parse_explore(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> ExploreSettings:
    """Settings of ``search.explore``."""
    asked = _asked(ExploreSettings, argv, environ)
    _name(asked.values, environ)
    return asked.settings()


def parse_move(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> MoveSettings:
    """Settings of ``search.move``."""
    asked = _asked(MoveSettings, argv, environ)
    for side in ("source", "target"):
        asked.values[side] = with_password(asked.values[side], environ)
    return asked.settings()


def parse(kind: type[Settings], argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings of a command that settles nothing beside."""
    return _asked(kind, argv, environ).settings()


parse_finalize = partial(parse, FinalizeSettings)
parse_report = partial(parse, ReportSettings)
parse_status = partial(parse, StatusSettings)
parse_check = partial(parse, CheckSettings)
parse_clean = partial(parse, CleanSettings)
parse_predict = partial(parse, PredictSettings)
parse_heatmap = partial(parse, HeatmapSettings)
parse_export = partial(parse, ExportSettings)
parse_dashboard = partial(parse, DashboardSettings)
parse_completion = partial(parse, CompletionSettings)


def _asked(kind: type[Settings], argv: Sequence[str] | None, environ: Mapping[str, str]) -> Asked[Settings]:
    """What was asked for, with what depends on other fields settled as all commands do."""
    asked = Asked(kind, argv)
    if "config" in asked.given:
        known = [option for other in (kind, LaunchSettings, *COMMANDS.values()) for option in options(other)]
        asked.add_file(str(asked.given["config"]), read_settings(asked.given["config"], known, asked.refuse))
    values = asked.complete(environ)
    if "storage" in values:
        _settle_storage(values, environ)
    if "study" in values and not values["study"] and values["data"]:
        values["study"] = study_name_of(values["data"])
    if values.get("device") == "cpu" and values.get("gpus_per_worker"):
        one = "no GPU is used with --device cpu; leave one of the two out"
        asked.refuse(f"--gpus-per-worker: {one}", "device", "gpus_per_worker")
    if "ray_address" in values:
        settle_ray(asked, environ)
    return asked


def _settle_storage(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """The database: by default that of the folder of results."""
    usual = f"sqlite:///{values['runs']}/studies.db" if "runs" in values else ""
    values["storage"] = with_password(values["storage"], environ) if values["storage"] else usual


def _name(values: dict[str, Any], environ: Mapping[str, str]) -> str:
    """The study, named by the stem of the data path where it has no name yet."""
    values["study"] = values["study"] or study_name_of(environ.get("HISTOTUNE_DATA") or "data")
    return str(values["study"])
