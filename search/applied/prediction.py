"""Scores other patches by a final model, exactly as its test patches were scored."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from data_utils.readers.patches import PatchSet
from search.applied.abstaining import Abstaining
from search.applied.pace import Pace
from search.applied.scorer import Scorer
from search.applied.seen import check_side, looks, named, notices, pieces, read, stored_in
from search.applied.surrounded import check_placed, surrounded, told
from search.applied.table import Columns, table_at
from search.command.applying import PredictSettings
from search.command.terminal import say, screen
from search.command.writable import why_not_writable
from search.errors import UsageError
from search.final.neighbours import load_neighbours
from search.training.device import choose_device
from search.trials.launches import scratch
from studies.files import whole
from studies.final_models import Neighbours


def predict(settings: PredictSettings, keep: Callable[[Columns], object] = lambda _: None) -> None:
    """Scores patches and writes the table, of which ``keep`` is given each piece, too."""
    if problem := why_not_writable(settings.out.parent):
        raise UsageError(f"--out {settings.out}: {problem}; name another file, or have it made writable")
    line = score(settings, _table(settings.out, keep))
    say(screen(stderr=True), f"{line}: {settings.out}")


@contextmanager
def _table(out: Path, keep: Callable[[Columns], object]) -> Iterator[Callable[[Columns], None]]:
    with whole(out) as draft, table_at(draft, out.name) as write:

        def add(columns: Columns) -> None:
            write(columns)
            keep(columns)

        yield add


def score(settings: PredictSettings, table: AbstractContextManager[Callable[[Columns], object]]) -> str:
    """Reads the patches and scores them.

    Args:
        settings: what is scored, and by which model; ``out`` is not looked at.
        table: entered for what takes the rows, piece by piece.

    Returns:
        How many there are, by which model, and how fast it went, in a line.
    """
    stored = stored_in(settings.model)
    device = choose_device(settings.device)
    console = screen(stderr=True)
    neighbours = load_neighbours(settings.model, stored.plan_digest) if settings.neighbours else None
    if neighbours is not None and settings.abstain is not None:
        raise UsageError("--abstain: its promise is of patches that are scored alone; leave it or --neighbours out")
    scorer = Scorer(
        stored,
        settings.model,
        device,
        None if settings.abstain is None else Abstaining.at(settings.abstain, stored, settings.model),
    )
    with scratch() as folder:
        sets = read(settings.data, Path(folder), console)
        for patches in sets:
            check_side(patches, stored, settings.model)
        if neighbours is not None:
            check_placed(sets)
        for line in (*notices(sets), *looks(sets, settings, stored, "search.predict")):
            say(console, line)
        pace = Pace(console, sum(map(len, sets)))
        with table as add, pace.shown():
            for columns in _scored(sets, scorer, pace, neighbours):
                add(columns)
        said = [*scorer.told(), *([] if neighbours is None else [told(sets, neighbours)])]
    for line in said:
        say(console, line)
    by = f"{named(stored)}{' with neighbours' if settings.neighbours else ''}"
    many = "1 prediction" if pace.done == 1 else f"{pace.done} predictions"
    return f"{many} by {by}, {pace.rate()}"


def _scored(sets: Sequence[PatchSet], scorer: Scorer, pace: Pace, neighbours: Neighbours | None) -> Iterator[Columns]:
    """What the table says, piece by piece; with neighbours all is held to the last, which may lie beside the first."""
    alone = _alone(sets, scorer, pace)
    if neighbours is None:
        return alone
    held = list(alone)
    return surrounded(held, sets, scorer.logits, neighbours)


def _alone(sets: Sequence[PatchSet], scorer: Scorer, pace: Pace) -> Iterator[Columns]:
    for piece in pieces(sets):
        yield scorer.columns(piece)
        pace.advance(len(piece))
