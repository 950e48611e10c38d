"""What a command was asked to do: arguments and environment in, frozen dataclasses out.

A new flag is a line in ``search.command._flags``, or here where one command alone has it, and a field of the same name
in the dataclass. Nothing heavy is imported, so that ``--help`` and a refused argument answer at once.
"""

import os
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from search.command._arguments import (
    Fixed,
    Parser,
    host_name,
    new_file,
    positive,
    some_text,
    storage_url,
    study_name_of,
    whole,
)
from search.command._flags import (
    SEED,
    UNLISTED,
    add_common,
    add_data,
    add_device,
    add_log_level,
    add_patience,
    add_search,
    add_split,
    add_start,
    add_weights,
    add_workers,
    check_fixed,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from data_utils.split.split_file import Unlisted

LOCALHOST = "127.0.0.1"


Settings = TypeVar("Settings", bound="DataclassInstance")


@dataclass(frozen=True)
class CommonSettings:
    """Which comparison, and where it lives.

    Attributes:
        data: as typed after --data; None leaves it to $HISTOTUNE_DATA, then ``data/``.
        study: name of the comparison; "" where a command may pick the only one that there is.
        storage: database URL; may hold a password, so it is left out of the repr.
        runs: folder of logs, members and reports.
        log_level: "debug", "info", "warning" or "error".
    """

    data: str | None
    study: str
    storage: str = field(repr=False)
    runs: Path
    log_level: str


@dataclass(frozen=True)
class WorkerSettings:
    """Where training runs.

    Attributes:
        workers: networks trained at the same time; None for as many as the hardware holds.
        cpus_per_worker: CPU cores of each, above 0; None for an equal share.
        gpus_per_worker: share of a GPU, 0 to 1, or whole GPUs; "auto" for what the measured memory of trials allows;
            None for a whole one.
        device: "auto", "cpu" or "cuda".
        ray_address: "auto" or HOST:PORT of a running Ray; None for one of its own on this machine.
        feature_cache_gb: disk for kept outputs of frozen layers; 0 for none.
    """

    workers: int | None
    cpus_per_worker: float | None
    gpus_per_worker: float | str | None
    device: str
    ray_address: str | None
    feature_cache_gb: float


@dataclass(frozen=True)
class LaunchSettings:
    """A search: how many trials of which models, how they are chosen, judged and stopped.

    Attributes:
        trials: finished trials that each study holds in the end.
        epochs: the most that a trial trains.
        timeout, trial_timeout: seconds for the whole search and for one trial; None for no limit.
        split: percent of patients for train, validation and test.
        split_seed: of the draw of patients.
        split_file: lists of patient ids in place of the draw; None draws.
        unlisted: what becomes of patients that no list names: "error", "train" or "exclude".
        exclude: names of rules that leave patches out besides those that always do.
        preprocess: "none", "standardise", "reinhard" or "macenko"; None for that of the comparison, at first none.
        vgg16_weights: path, "torchvision" or "none"; None leaves it to $HISTOTUNE_VGG16_WEIGHTS, then the registry.
        fix: parameters that keep one value; they are not searched.
        enqueue: JSON file of configurations to try first.
        warm_start: name of the comparison whose best configurations are tried first.
        dry_run: say what it would take, and write nothing.
        storage_timeout: seconds that a database is waited for which went away.
    """

    common: CommonSettings
    worker: WorkerSettings
    models: tuple[str, ...]
    trials: int
    epochs: int
    timeout: float | None
    trial_timeout: float | None
    seed: int
    split: tuple[int, int, int]
    split_seed: int
    split_file: str | None
    unlisted: "Unlisted"
    exclude: tuple[str, ...]
    sampler: str
    pruner: str
    objective: str
    precision: str
    preprocess: str | None
    vgg16_weights: str | None
    fix: tuple[Fixed, ...]
    enqueue: Path | None
    warm_start: str | None
    dry_run: bool
    storage_timeout: float


@dataclass(frozen=True)
class FinalizeSettings:
    """The retraining and the one opening of the test split.

    Attributes:
        finalists: best configurations of each model that are retrained beside its default one.
        reopen: why sealed rows are opened again under another plan; None refuses that.
        draws: bootstrap draws of the intervals.
        vgg16_weights, storage_timeout: as in LaunchSettings.
    """

    common: CommonSettings
    worker: WorkerSettings
    finalists: int
    reopen: str | None
    draws: int
    vgg16_weights: str | None
    storage_timeout: float


@dataclass(frozen=True)
class ReportSettings:
    """A report, written again from what is stored."""

    common: CommonSettings


@dataclass(frozen=True)
class StatusSettings:
    """A look at the studies; ``watch`` is seconds between two looks, None for a single one.

    ``check`` asks instead whether database and files are as they must be.
    """

    common: CommonSettings
    json: bool
    watch: float | None
    check: bool


@dataclass(frozen=True)
class CleanSettings:
    """The removal of what no study needs; ``yes`` does not ask, ``dry_run`` only shows."""

    common: CommonSettings
    yes: bool
    dry_run: bool


@dataclass(frozen=True)
class PredictSettings:
    """Final models on other patches; ``model`` is a folder like runs/NAME/vgg16, ``out`` a CSV file."""

    model: Path
    data: str | None
    out: Path
    device: str
    log_level: str


@dataclass(frozen=True)
class ExploreSettings:
    """A look at the patches before any training.

    Attributes:
        sample: the most patches that are modelled; larger sets are sampled.
        seed: of samples, folds and the map.
        vgg16_weights: as in LaunchSettings, but nothing is fetched.
    """

    common: CommonSettings
    sample: int
    seed: int
    device: str
    vgg16_weights: str | None


@dataclass(frozen=True)
class DashboardSettings:
    """Optuna's dashboard on the database of the studies."""

    common: CommonSettings
    host: str
    port: int


def parse_launch(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> LaunchSettings:
    """Settings of ``search.launch``; a refused argument ends the process with one line and exit code 2."""
    parser = Parser(
        "launch",
        "Search for the best configuration of each model: many trials in parallel workers, weak ones pruned early.",
        usage="--model NAME [options]",
    )
    add_search(parser)
    add_split(parser)
    add_start(parser)
    add_common(parser, study="default: the stem of the data path")
    add_workers(parser)
    add_patience(parser)
    typed = parser.parse(argv, needed=["--model"])
    common = _common(parser, typed, environ)
    if not common.study:
        common = replace(common, study=study_name_of(common.data or environ.get("HISTOTUNE_DATA") or "data"))
    _settle_split(parser, typed)
    check_fixed(parser, typed)
    if typed.warm_start == common.study:
        parser.error(f"--warm-start: {common.study} is the study of this search; name another, or give a new --study")
    return _filled(LaunchSettings, typed, common=common, worker=_worker(parser, typed))


def parse_finalize(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> FinalizeSettings:
    """Settings of ``search.finalize``."""
    parser = Parser(
        "finalize", "Retrain each best configuration, freeze the plan, open the test split once, write the report."
    )
    final = parser.add_argument_group("final models")
    final.add_argument(
        "--finalists", metavar="N", type=whole(1, 100), default=1, help="best configurations to retrain (default: 1)"
    )
    final.add_argument(
        "--reopen",
        metavar="REASON",
        type=some_text,
        help="open the test split once more (under another plan, or as its predictions were lost), and say why",
    )
    final.add_argument(
        "--draws", metavar="N", type=whole(100, 100_000), default=2000, help="bootstrap draws (default: %(default)s)"
    )
    add_weights(final)
    add_common(parser)
    add_workers(parser)
    add_patience(parser)
    typed = parser.parse(argv)
    return _filled(FinalizeSettings, typed, common=_common(parser, typed, environ), worker=_worker(parser, typed))


def parse_report(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> ReportSettings:
    """Settings of ``search.report``."""
    parser = Parser("report", "Write the report again from what is stored; no patch is touched.")
    add_common(parser)
    return ReportSettings(_common(parser, parser.parse(argv), environ))


def parse_status(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> StatusSettings:
    """Settings of ``search.status``."""
    parser = Parser("status", "Show studies, trials by state, the best so far, and what is running now.")
    form = parser.add_argument_group("form").add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, for programs")
    form.add_argument(
        "--watch", metavar="SECONDS", nargs="?", type=positive, const=2.0, help="look again every so often (default: 2)"
    )
    check = "look for broken invariants and edited records instead; exit code 1 where there are any"
    form.add_argument("--check", action="store_true", help=check)
    add_common(parser, study="default: all in the database")
    typed = parser.parse(argv)
    return _filled(StatusSettings, typed, common=_common(parser, typed, environ))


def parse_clean(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> CleanSettings:
    """Settings of ``search.clean``."""
    parser = Parser("clean", "Remove checkpoints, caches and scratch that no study needs, after showing them.")
    answer = parser.add_argument_group("answer").add_mutually_exclusive_group()
    answer.add_argument("--yes", action="store_true", help="remove without a question, for scripts")
    answer.add_argument("--dry-run", action="store_true", help="show what would be removed, and remove nothing")
    add_common(parser, study="default: all in the database")
    typed = parser.parse(argv)
    return _filled(CleanSettings, typed, common=_common(parser, typed, environ))


def parse_predict(argv: Sequence[str] | None = None) -> PredictSettings:
    """Settings of ``search.predict``."""
    parser = Parser(
        "predict",
        "Apply the final model of a comparison to other patches, with or without labels.",
        usage="--model DIR --out FILE [options]",
    )
    group = parser.add_argument_group("prediction")
    group.add_argument("--model", metavar="DIR", type=Path, help="final model, like runs/NAME/vgg16 (needed)")
    group.add_argument("--out", metavar="FILE", type=new_file, help="CSV file to write (needed)")
    add_data(group)
    add_device(group)
    add_log_level(group)
    typed = parser.parse(argv, needed=["--model", "--out"])
    return _filled(PredictSettings, typed)


def parse_explore(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> ExploreSettings:
    """Settings of ``search.explore``."""
    parser = Parser("explore", "Look at the patches before any training: one page, with what was found and what to do.")
    group = parser.add_argument_group("exploration")
    most = "patches that simple models are given; of more a sample is drawn (default: %(default)s)"
    group.add_argument("--sample", metavar="N", type=whole(100, 10_000_000), default=20_000, help=most)
    of = "seed of samples, folds and the map (default: %(default)s)"
    group.add_argument("--seed", metavar="N", type=SEED, default=0, help=of)
    add_weights(group)
    add_device(group)
    add_common(parser, study="default: the stem of the data path")
    typed = parser.parse(argv)
    return _filled(ExploreSettings, typed, common=_named(_common(parser, typed, environ), environ))


def parse_dashboard(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> DashboardSettings:
    """Settings of ``search.dashboard``."""
    parser = Parser("dashboard", "Serve optuna-dashboard on the database of the studies.")
    server = parser.add_argument_group("server")
    listen = "address to listen on (default: %(default)s)"
    server.add_argument("--host", metavar="ADDRESS", type=host_name, default=LOCALHOST, help=listen)
    server.add_argument(
        "--port", metavar="N", type=whole(1, 65535), default=8080, help="port to listen on (default: %(default)s)"
    )
    add_common(parser, study="not needed here: all studies are shown")
    typed = parser.parse(argv)
    return _filled(DashboardSettings, typed, common=_common(parser, typed, environ))


def _common(parser: Parser, typed: Namespace, environ: Mapping[str, str]) -> CommonSettings:
    storage = typed.storage or _storage_of(parser, environ) or f"sqlite:///{typed.runs}/studies.db"
    study = typed.study or (study_name_of(typed.data) if typed.data else "")
    return _filled(CommonSettings, typed, storage=storage, study=study)


def _settle_split(parser: Parser, typed: Namespace) -> None:
    """A split is drawn or published: flags of the other kind are refused, not forgotten."""
    if typed.split_file is None:
        if typed.unlisted != UNLISTED[0]:
            parser.error(f"--unlisted {typed.unlisted}: no lists are given; name them by --split-file, or leave it out")
    elif typed.split is not None or typed.split_seed is not None:
        parser.error("--split-file: the lists divide the patients; leave --split and --split-seed out")
    typed.split = typed.split or (70, 15, 15)
    typed.split_seed = typed.split_seed or 0


def _named(common: CommonSettings, environ: Mapping[str, str]) -> CommonSettings:
    """With the stem of the data path for a name, where there is none yet."""
    data = common.data or environ.get("HISTOTUNE_DATA") or "data"
    return common if common.study else replace(common, study=study_name_of(data))


def _storage_of(parser: Parser, environ: Mapping[str, str]) -> str | None:
    url = environ.get("HISTOTUNE_STORAGE")
    try:
        return storage_url(url) if url else None
    except ArgumentTypeError as error:
        parser.error(f"$HISTOTUNE_STORAGE: {error}")


def _worker(parser: Parser, typed: Namespace) -> WorkerSettings:
    if typed.device == "cpu" and typed.gpus_per_worker:
        parser.error("--gpus-per-worker: no GPU is used with --device cpu; leave one of the two out")
    return _filled(WorkerSettings, typed)


def _filled(kind: type[Settings], typed: Namespace, **known: Any) -> Settings:
    """A dataclass whose fields are ``known``, or else what was typed under the same name."""
    rest = {part.name: getattr(typed, part.name) for part in fields(kind) if part.name not in known}
    return kind(**known, **rest)
