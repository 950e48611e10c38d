"""What a search would take: its space, time, memory and disk."""

from collections.abc import Mapping
from datetime import timedelta

from optuna.distributions import json_to_distribution
from rich.console import Console
from rich.table import Table

from data_utils.colour.augment import VIEWS
from data_utils.split.prepare import DevelopmentSet, Prepared, load_development
from models._registry import no_prefix
from models._spec import Model
from search.command.settings import LaunchSettings
from search.command.terminal import say
from search.comparison import space_of
from search.training.device import peak_memory
from search.training.jobs import WorkerContext
from search.trials.pace import measured
from search.trials.power import can_show
from search.trials.space import in_words, moved_defaults, searched_models
from search.trials.worth import worth
from search.workers.cluster import Crew

_BYTES_OF_A_WEIGHT = 4
_BYTES_OF_A_PARAMETER = 16  # the weight, its average and two moments of its optimizer, as a checkpoint holds them
_LONG_SECONDS = 3600.0
_CANDIDATES = 5  # whose members search.finalize trains by default at most: of the four best and the default one


def describe_launch(
    settings: LaunchSettings,
    prepared: Prepared,
    context: WorkerContext,
    crew: Crew,
    epochs: Mapping[str, int],
    console: Console,
) -> None:
    """Prints it; of each model so many epochs. Times come from a short epoch of each default configuration."""
    counts = {part: patches for part, _, patches, _ in prepared.parts}
    parts = ", ".join(f"{patches} {part}" for part, patches in counts.items())
    left_out = "".join(f"; left out: {count} {reason}" for reason, count in prepared.exclusions)
    say(console, f"{settings.common.study}: {prepared.source}, {parts}{left_out}; {crew}, {context.precision}")
    for note in filter(None, (*prepared.notes, prepared.few_folds)):
        say(console, note)
    development = load_development(prepared.development)
    models = searched_models(settings.models, settings.space)
    for model in models:
        console.print(_space_table(model))
        if moved := moved_defaults(model, settings.space):
            say(console, moved)
        say(console, cost(settings.trials, epochs[model.name], development, prepared.folds, context, crew, model))
    test_patients, test_patches = next(
        (patients, patches) for part, patients, patches, _ in prepared.parts if part == "test"
    )
    say(console, can_show(development, test_patients, test_patches))
    if not prepared.synthetic:
        patients = 0 if development.patients is None else len(set(development.patients))
        idc = sum(each for part, _, _, each in prepared.parts if part != "test")
        say(console, worth(patients, len(development), len(models), idc))
    twice = (
        0 if context.preprocessed is None else counts["train"] + counts["validation"]
    )  # raw, and as networks see them
    megabytes = (sum(counts.values()) + twice) * 3 * prepared.lock.side**2 / 2**20
    say(console, f"prepared patches under {settings.common.runs / settings.common.study}: {megabytes:.0f} MB")
    if context.features is not None and any(map(_keeps_features, models)):
        gigabytes = context.features.limit / 2**30
        say(
            console,
            f"outputs of frozen layers under {settings.common.runs / 'features'}: up to {gigabytes:g} GB "
            "(--feature-cache-gb), or half of the free disk",
        )
    say(console, "nothing was written; leave out --dry-run to begin, or to go on")


def _keeps_features(model: Model) -> bool:
    """Whether some of its configurations name a frozen prefix, whose outputs are kept."""
    return model.prefix_name is not no_prefix


def _space_table(model: Model) -> Table:
    table = Table(title=f"space of {model.name}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("parameter", "range", "default"):
        table.add_column(heading)
    for name, text in space_of(model).items():
        table.add_row(name, in_words(json_to_distribution(text)), str(model.default[name]))
    return table


def cost(
    trials: int,
    epochs: int,
    development: DevelopmentSet,
    folds: int,
    context: WorkerContext,
    crew: Crew,
    model: Model,
) -> str:
    """What so many trials of a model take, in lines: seconds, memory, disk."""
    pace = measured(development, context, model)
    learn = int((development.part == "train").sum())
    epoch, once = pace.epoch * learn, pace.once * VIEWS * len(development)
    whole = (once + epoch * epochs * trials) / (crew.workers or 1)
    parameters = pace.parameters
    behind = f" behind frozen layers, which take about {once:.0f} s once for all trials" if once else ""
    checkpoints = parameters * _BYTES_OF_A_PARAMETER * (crew.workers or 1) / 2**20
    members = parameters * _BYTES_OF_A_WEIGHT * folds * _CANDIDATES / 2**20
    return (
        f"{model.name}, default configuration: {parameters:,} parameters, about {epoch:.1f} s an epoch{behind}; "
        f"{trials} trials of {epochs} epochs: at most about {timedelta(seconds=round(whole))} "
        f"(pruning saves, larger configurations cost)\n"
        f"memory: about {peak_memory(context.device) / 2**30:.1f} GB a worker\n"
        f"disk: checkpoints about {checkpoints:.0f} MB, members of search.finalize about {members:.0f} MB"
        f"{cheaper(model, context.device, whole)}"
    )


def cheaper(model: Model, device: str, seconds: float) -> str:
    """A line on how a search of so many seconds takes less; "" where it is short, or nothing is known."""
    learns = model.pretrained and model.prefix_name(model.configuration(model.default)) is None
    if device != "cpu" or not learns or not _keeps_features(model) or seconds < _LONG_SECONDS:
        return ""
    way = "where its pretrained layers stay as they are: docs/runs.md"
    return f"\nwithout a GPU, {model.name} is searched in a fraction of that {way}"
