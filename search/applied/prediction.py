"""Scores other patches by a final model, exactly as its test patches were scored."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from data_utils.readers.patches import PatchSet
from search.applied.abstaining import Abstaining
from search.applied.pace import Pace
from search.applied.scorer import Scorer
from search.applied.seen import check_side, looks, named, notices, pieces, read, stored_in
from search.applied.surrounded import check_placed, surrounded, told
from search.applied.table import Columns, table_at
from search.command.settings import PredictSettings
from search.command.terminal import say
from search.command.writable import why_not_writable
from search.errors import UsageError
from search.final.neighbours import load_neighbours
from search.training.device import choose_device
from search.trials.launches import scratch
from studies.files import whole
from studies.final_models import Neighbours


def predict(settings: PredictSettings) -> int:
    """Reads the patches, scores them and writes the table; the exit code."""
    stored = stored_in(settings.model)
    if problem := why_not_writable(settings.out.parent):
        raise UsageError(f"--out {settings.out}: {problem}; name another file, or have it made writable")
    device = choose_device(settings.device)
    console = Console(stderr=True)
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
        with whole(settings.out) as draft, table_at(draft, settings.out.name) as add, pace.shown():
            for columns in _scored(sets, scorer, pace, neighbours):
                add(columns)
        said = [*scorer.told(), *([] if neighbours is None else [told(sets, neighbours)])]
    for line in said:
        say(console, line)
    by = f"{named(stored)}{' with neighbours' if settings.neighbours else ''}"
    say(console, f"{pace.done} predictions by {by}, {pace.rate()}: {settings.out}")
    return 0


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
