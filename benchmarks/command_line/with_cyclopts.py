"""``search.launch`` on cyclopts 5.5, a third of its flags: see README.md for how it is run."""

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.help import PlainFormatter

from data_utils._command import BAD_INPUT, one_line, one_of
from models._registry import model_names
from search._arguments import gpu_share, positive, selection, storage_url, whole

SEARCH = Group.create_ordered("search")
STORAGE = Group.create_ordered("data and storage")
WORKERS = Group.create_ordered("workers")


def flag(group: Group, text: str, kind: Callable[[str], Any] | None = None, **more: Any) -> Parameter:
    """One flag; ``kind`` is a reader of ``search._arguments``: no validator of cyclopts words its refusals as we do."""

    def convert(_: Any, tokens: Any) -> Any:
        assert kind is not None
        try:
            return kind(tokens[0].value)
        except ArgumentTypeError as error:  # else a traceback
            raise ValueError(str(error)) from None

    given = more if kind is None else {"converter": convert, "n_tokens": 1, **more}
    return Parameter(group=group, help=text, show_default=False, allow_leading_hyphen=True, negative="", **given)


app = App(
    name="python -m search.launch",
    help="Search for the best configuration of each model: many trials in parallel workers, weak ones pruned early.",
    help_formatter=PlainFormatter(),
    result_action="return_value",
)


@app.default
def launch(
    *,
    model: Annotated[tuple[str, ...] | None, flag(SEARCH, "cnn, vgg16 (needed)", selection(model_names()))] = None,
    trials: Annotated[int, flag(SEARCH, "finished trials of each study (default: 50)", whole(1, 1_000_000))] = 50,
    epochs: Annotated[int, flag(SEARCH, "the most a trial trains (default: 12)", whole(1, 10_000))] = 12,
    sampler: Annotated[
        str, flag(SEARCH, "how configurations are chosen: tpe, random", one_of("tpe", "random"))
    ] = "tpe",
    timeout: Annotated[float | None, flag(SEARCH, "end the search in order after this time", positive)] = None,
    trial_timeout: Annotated[float | None, flag(SEARCH, "fail a trial after this time", positive)] = None,
    dry_run: Annotated[bool, flag(SEARCH, "show the space and what it would take, write nothing")] = False,
    storage: Annotated[str | None, flag(STORAGE, "database", storage_url, env_var="HISTOTUNE_STORAGE")] = None,
    runs: Annotated[Path, flag(STORAGE, "folder of results (default: runs/)")] = Path("runs"),
    gpus_per_worker: Annotated[float | str | None, flag(WORKERS, "share of a GPU for each worker", gpu_share)] = None,
) -> dict[str, Any]:
    """What was typed."""
    return locals()


def main() -> int:
    """Parses once; the exit code."""
    try:
        sys.stdout.write(f"{app(sys.argv[1:], exit_on_error=False, print_error=False)}\n")
    except CycloptsError as error:
        sys.stderr.write(f"python -m search.launch: {one_line(str(error))}\n")
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
