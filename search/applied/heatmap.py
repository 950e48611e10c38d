"""What a final model says of whole slides: their patches scored, put together, and written as a page and pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from data_utils.command import did_you_mean
from data_utils.files import shown
from data_utils.readers.patches import PatchSet
from data_utils.readers.patchset import Ints, Strings, chunks
from search.applied.held_out import HeldOut, development_of
from search.applied.pace import Pace
from search.applied.scorer import Scorer
from search.applied.seen import (
    AT_ONCE,
    UNKNOWN,
    check_side,
    ledger_of,
    looks,
    named,
    notices,
    parts_of,
    pieces,
    read,
    stored_in,
)
from search.command.applying import HeatmapSettings
from search.command.terminal import say, screen
from search.command.writable import why_not_writable
from search.comparison import OUT_OF_FOLD
from search.errors import UsageError
from search.final.stored_ensemble import Final, home_of
from search.final.tissue import Tissue, pixels_of_a_place
from search.training.device import choose_device
from search.trials.launches import scratch
from studies.findings.slides import WIDEST, Slide
from studies.records import Floats
from studies.report.heatmap import write_heatmaps
from studies.statistics.grid import Grid, are_placed, by_slide, step_of

IN_PAGE = 24_000_000
"""Pixels of all slides of a page together: 10 MB of JPEG."""
_NAMED = 5  # patients that a refusal names


def heatmap(settings: HeatmapSettings) -> Path:
    """Reads the patches, scores them and writes the page and a picture a slide; the path of the page."""
    stored = stored_in(settings.model)
    if problem := why_not_writable(settings.out):
        raise UsageError(f"--out {settings.out}: {problem}; name another folder, or have it made writable")
    console = screen(stderr=True)
    with scratch() as folder:
        scorer, sets = _asked(settings, stored, Path(folder), console)
        for patches in sets:
            check_side(patches, stored, settings.model)
        left_out = [*notices(sets), *_without_place(sets)]
        sets = _chosen(sets, settings.patient, Path(folder))
        mapped = _Mapped.of(sets, stored, _parts(sets, settings, stored))  # what it refuses is never looked at
        for line in (*left_out, *looks(sets, settings, stored, "search.heatmap")):
            say(console, line)
        pace = Pace(console, sum(map(len, sets)))
        with pace.shown():
            for rows, piece in zip(mapped.pieces(), pieces(sets), strict=True):
                mapped.add(rows, piece, scorer)
                pace.advance(len(piece))
    slides = mapped.slides()
    said = list(scorer.told())
    page = write_heatmaps(
        slides,
        {name: tissue.picture for name, tissue in mapped.tissue.items()},
        settings.out,
        of=named(stored),
        threshold=stored.threshold,
        remarks=[*mapped.remarks(), *said],
        jpeg={name: tissue.jpeg for name, tissue in mapped.tissue.items()},
    )
    for line in (*mapped.remarks(), *said):
        say(console, line)
    count = "1 slide" if len(slides) == 1 else f"{len(slides)} slides"
    say(console, f"{count} of {pace.done} patches by {named(stored)}, {pace.rate()}: {page}")
    return page


def _asked(
    settings: HeatmapSettings, stored: Final, folder: Path, console: Console
) -> tuple[Scorer | HeldOut, list[PatchSet]]:
    """What says something of each patch, and the patches."""
    if not settings.out_of_fold:
        scorer = Scorer(stored, settings.model, choose_device(settings.device))
        return scorer, read(settings.data, folder, console)
    if settings.data:
        raise UsageError("--out-of-fold shows the development patients of the comparison; leave it or --data out")
    development = development_of(stored, settings.model, "of which there are scores out of fold")
    return HeldOut(stored, settings.model, development), [development]


def _parts(sets: Sequence[PatchSet], settings: HeatmapSettings, stored: Final) -> Strings:
    """(N,) in which part of the model's comparison a patch is, or that its score is of networks that do not know it."""
    if settings.out_of_fold:
        return np.full(sum(map(len, sets)), OUT_OF_FOLD)
    ledger = ledger_of(settings.storage, home_of(settings.model, stored))
    return np.concatenate([parts_of(one, stored, ledger) for one in sets])


def _slides_of(patches: PatchSet) -> Strings:
    """(N,) on which slide a patch lies: that of its patient, or of its source where patients are unknown."""
    of_source = Path(patches.source).stem or "slide"
    if patches.patients is None:
        return np.full(len(patches), of_source)
    return np.where(patches.patients == "", of_source, patches.patients)


def _without_place(sets: Sequence[PatchSet]) -> Iterator[str]:
    count = sum(int((~are_placed(_slides_of(patches), patches.x, patches.y)).sum()) for patches in sets)
    if count:
        yield f"left out: {count} whose place on the slide is unknown"


def _chosen(sets: Sequence[PatchSet], patients: Sequence[str], folder: Path) -> list[PatchSet]:
    """The patches that have a place, of the patients who were asked for.

    Raises:
        UsageError: there are none.
    """
    placed = [are_placed(_slides_of(patches), patches.x, patches.y) for patches in sets]
    known = sorted(
        {str(name) for patches, rows in zip(sets, placed, strict=True) for name in _slides_of(patches)[rows]}
    )
    if not known:
        raise UsageError(
            f"{sets[0].source}: the place of no patch on its slide is known; expected names of pictures as "
            "PATIENT_idx5_x1001_y751_class0.png, or a .csv with x and y"
        )
    for patient in patients:
        if patient not in known:
            more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
            raise UsageError(
                f"--patient {shown(patient)}: no patch with a place is of this patient{did_you_mean(patient, known)}; "
                f"there are {', '.join(map(shown, known[:_NAMED]))}{more}"
            )
    wanted = [
        rows & (np.isin(_slides_of(patches), patients) if patients else True)
        for patches, rows in zip(sets, placed, strict=True)
    ]
    return [
        patches if rows.all() else patches.take(rows, folder / f"placed-{number}.npy")
        for number, (patches, rows) in enumerate(zip(sets, wanted, strict=True))
        if rows.any()
    ]


@dataclass(frozen=True, eq=False)
class _Mapped:
    """All patches in the order of their sets, N, and their slides; scores are filled in piece by piece.

    Attributes:
        names, labels, parts: (N,) as far as they are known.
        rows: slide -> its patches.
        grids: slide -> where they lie.
        tissue: slide -> its picture.
        sizes: patches of each set.
        scores: (N, 3) probability, spread, whether IDC is called.
    """

    names: Strings
    labels: Ints
    parts: Strings
    rows: dict[str, Ints]
    grids: dict[str, Grid]
    tissue: dict[str, Tissue]
    sizes: tuple[int, ...]
    scores: Floats
    study: str

    @classmethod
    def of(cls, sets: Sequence[PatchSet], stored: Final, parts: Strings) -> "_Mapped":
        """Nothing is scored yet.

        Raises:
            UsageError: the patches lie on no grid.
        """
        on, x, y = (
            np.concatenate(arrays) for arrays in zip(*((_slides_of(one), one.x, one.y) for one in sets), strict=True)
        )
        step = step_of(on, x, y) or stored.side
        rows = {str(on[each[0]]): each for each in by_slide(on)}
        grids = {name: Grid.of(x[each], y[each], step) for name, each in rows.items()}
        _check_grids(grids)
        place = pixels_of_a_place(list(grids.values()), stored.side, IN_PAGE)
        return cls(
            names=np.concatenate([one.names for one in sets]),
            labels=np.concatenate([np.full(len(one), -1) if one.labels is None else one.labels for one in sets]),
            parts=parts,
            rows=rows,
            grids=grids,
            tissue={name: Tissue(grid, place, step) for name, grid in grids.items()},
            sizes=tuple(map(len, sets)),
            scores=np.zeros((len(on), 3)),
            study=stored.study,
        )

    def pieces(self) -> Iterator[Ints]:
        """The patches of each piece of the sets."""
        begin = 0
        for size in self.sizes:
            for piece in chunks(size, AT_ONCE):
                yield np.arange(begin + piece.start, begin + piece.stop)
            begin += size

    def add(self, rows: Ints, patches: PatchSet, scorer: Scorer | HeldOut) -> None:
        """Scores some patches and puts them into their places."""
        columns = scorer.columns(patches)
        for number, name in enumerate(("probability", "member_spread", "predicted")):
            self.scores[rows, number] = np.array(columns[name], dtype=np.float64)
        for slide, own in self.rows.items():
            inside = slice(*np.searchsorted(own, (rows[0], rows[-1] + 1)))  # both are in order
            if len(own[inside]):
                grid, pixels = self.grids[slide], patches.pixels[own[inside] - rows[0]]
                self.tissue[slide].add(pixels, grid.rows[inside], grid.columns[inside])

    def slides(self) -> list[Slide]:
        """With all scores, by name."""
        return [
            Slide(
                name=name,
                grid=self.grids[name],
                names=self.names[rows],
                labels=self.labels[rows],
                probabilities=self.scores[rows, 0],
                spreads=self.scores[rows, 1],
                called=self.scores[rows, 2] > 0,
                remark=self._remark(rows),
            )
            for name, rows in self.rows.items()
        ]

    def _remark(self, rows: Ints) -> str:
        if (self.parts[rows] == OUT_OF_FOLD).all():
            return "A development patient, scored by networks that did not learn from it."
        learned = int(np.isin(self.parts[rows], ("train", "validation")).sum())
        if learned:
            return (
                f"{learned:,} of {len(rows):,} are development patches of {self.study}: the model learned from them, "
                "and is right more often here than on a new slide."
            )
        tested = int((self.parts[rows] == "test").sum())
        return f"{tested:,} of {len(rows):,} are test patches of {self.study}." if tested else ""

    def remarks(self) -> Iterator[str]:
        """What is true of all slides, a sentence each."""
        if (self.parts == UNKNOWN).any():
            yield (
                f"whether the model learned from these patches is not known: the database of {self.study} is not at "
                "hand; name it by --storage"
            )
        hidden = sum(len(self.rows[name]) - _places(grid) for name, grid in self.grids.items())
        if hidden:
            yield f"{hidden} patches lie where another one lies; of those in one place the last is shown"


def _places(grid: Grid) -> int:
    return len(np.unique(grid.rows * grid.width + grid.columns))


def _check_grids(grids: dict[str, Grid]) -> None:
    for name, grid in grids.items():
        if grid.height * grid.width > WIDEST:
            raise UsageError(
                f"by their x and y, the {len(grid.rows)} patches of slide {shown(name)} are spread over "
                f"{grid.width} x {grid.height} places: they lie on no grid; expected positions of one grid, such as "
                "every 50 pixels"
            )
