"""Writes a final model as one file with a model card beside it, once the file says what PyTorch says."""

import json
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_utils.colour.augment import VIEWS
from data_utils.files import shown
from data_utils.readers.patchset import Pixels, chunks
from search import __version__
from search.applied.held_out import development_of, entry_of
from search.applied.model_files import form_of
from search.applied.pace import Pace
from search.applied.seen import stored_in
from search.applied.served import Outputs, Predictor
from search.command.applying import ExportSettings
from search.command.terminal import say, screen
from search.command.writable import why_not_writable
from search.errors import SearchFailed, UsageError
from search.final.members import load_member
from search.final.stored_ensemble import Final, StoredEnsemble, each_with, final_logits, home_of, models_in
from studies.errors import RecordError
from studies.files import read_file, whole, write_whole
from studies.findings.ensemble import ENSEMBLE
from studies.records import to_json
from studies.report.card import Exported, card
from studies.report.document import Json
from studies.report.page import REPORT_JSON
from studies.statistics.calibration import sigmoid

MOST_CHECKED = 500
"""Development patches that file and PyTorch are compared on, taken evenly."""
TOLERANCE = 1e-3
"""Of the logit; a probability then differs by 0.00025 at most."""
LICENCE = (
    "HistoTune is under the MIT licence. The weights are not HistoTune's: what may be done with them is for those to "
    "say who own the patches that they were trained on, and the pretrained layers that they began from."
)
_LARGEST_REPORT = 2**28  # bytes; it holds every trial
_BATCH = 16  # patches, in 8 views each, through the file at once


@dataclass(frozen=True)
class Check:
    """How far a file is from PyTorch, on development patches.

    Attributes:
        patches: how many.
        logit, probability: the largest difference of each.
        rounding: of the probability from that of ``search.predict``, which computes in bf16; None where it does not.
    """

    patches: int
    logit: float
    probability: float
    rounding: float | None

    def __str__(self) -> str:
        words = (
            f"on {self.patches} development patches it differs from PyTorch by at most {self.logit:.1e} in the logit "
            f"({TOLERANCE:g} is allowed) and {self.probability:.1e} in the probability"
        )
        if self.rounding is None:
            return words
        return (
            f"{words}; it computes in fp32, search.predict in bf16, and they differ by up to {self.rounding:.1e} in it"
        )


def export(settings: ExportSettings) -> tuple[Path, Check]:
    """Writes, checks, and only then leaves the file and its card; the card, and what the check found.

    Raises:
        UsageError: there is no final model, no development patches or no report of it, or a package is missing.
        SearchFailed: the file does not say what PyTorch says.
    """
    stored, folder = stored_in(settings.model), settings.model
    form, card_file = form_of(settings.format), _card_of(settings.out)
    report, report_sha256 = _report(folder, stored)
    patches = _patches(stored, folder)
    side = patches.shape[1]
    networks = [
        [load_member(model, place, number) for number in range(len(model.members))]
        for model, place in models_in(stored, folder)
    ]
    console = screen(stderr=True)
    with whole(settings.out) as draft:
        form.write(draft, stored, networks, side, about(stored, side))
        say(console, f"written; it is compared with PyTorch on {len(patches)} development patches")
        pace = Pace(console, len(patches))
        predict = _counted(form.open(draft), pace)
        with pace.shown():
            check = compare(stored, folder, patches, predict)
        if not check.logit <= TOLERANCE:
            raise SearchFailed(f"{settings.out} was not kept: {check}; use another --format")
        exported = Exported(
            file=settings.out.name,
            form=settings.format,
            runs_by=form.runs_by,
            sha256=_sha256(draft),
            side=side,
            check=str(check),
            licence=LICENCE,
            about=about(stored, side),
            report_sha256=report_sha256,
        )
        write_whole(card_file, card(report, entry_of(stored), exported))
    say(
        console,
        f"{settings.out}: {sum(map(len, networks))} members, {settings.out.stat().st_size / 1e6:.1f} MB; {check}",
    )
    say(console, f"model card: {card_file}")
    return card_file, check


def about(stored: Final, side: int) -> dict[str, str]:
    """What a file says of itself: what rebuilds the model, and the parts of it that somebody may look for."""
    models = [model for model, _ in models_in(stored, Path())]
    averaged = "members and views" if len(models) == 1 else "configurations, each the mean over members and views"
    return {
        "histotune": __version__,
        "study": stored.study,
        "plan_digest": stored.plan_digest,
        "members_sha256": json.dumps([member for model in models for _, member in model.members]),
        "input": f"uint8 RGB as it is in files, (N, {side}, {side}, 3)",
        "output": f"logit (N,): mean over {averaged}, divided by the temperature; probability (N,): its sigmoid; "
        "called (N,): whether that reaches the threshold",
        "temperature": repr(stored.temperature),
        "threshold": repr(stored.threshold),
        "views": str(VIEWS),
        "side": str(side),
        "preprocessing": models[0].preprocessing.words,
        "pretrained": "; ".join(dict.fromkeys(model.weights for model in models)),
        "licence": LICENCE,
        "use": "research only; no medical device",
        ENSEMBLE if isinstance(stored, StoredEnsemble) else "model": to_json(stored),
    }


def _counted(predict: Predictor, pace: Pace) -> Predictor:
    """The same, which tells how far it has come."""

    def counting(pixels: Pixels) -> Outputs:
        outputs = predict(pixels)
        pace.advance(len(pixels))
        return outputs

    return counting


def compare(stored: Final, folder: Path, pixels: Pixels, predict: Predictor) -> Check:
    """Holds a file against the networks that it was made of.

    Args:
        stored: the model.
        folder: of its members.
        pixels: (N, side, side, 3) uint8 RGB, as they are in files.
        predict: by the file.
    """
    logit, probability, called = _in_batches(predict, pixels)
    expected = _expected(each_with(stored, precision="fp32"), folder, pixels)
    chance = sigmoid(expected, 1.0)
    clear = np.abs(chance - stored.threshold) > TOLERANCE
    if (called[clear] != (chance >= stored.threshold)[clear]).any():
        raise SearchFailed("the file calls patches otherwise than PyTorch does; use another --format")
    exact = all(model.precision == "fp32" for model, _ in models_in(stored, folder))
    tested = None if exact else sigmoid(_expected(stored, folder, pixels), 1.0)
    return Check(
        patches=len(pixels),
        logit=float(np.abs(logit - expected).max()),
        probability=float(np.abs(probability - chance).max()),
        rounding=None if tested is None else float(np.abs(probability - tested).max()),
    )


def _expected(stored: Final, folder: Path, pixels: Pixels) -> npt.NDArray[np.float64]:
    """(N,) logits by PyTorch, as ``search.predict`` has them."""
    logits = final_logits(stored, folder, pixels, "cpu", lambda *_: None).mean(axis=1)
    return np.asarray(logits / stored.temperature)


def _in_batches(predict: Predictor, pixels: Pixels) -> Outputs:
    parts = [predict(np.ascontiguousarray(pixels[piece])) for piece in chunks(len(pixels), _BATCH)]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _patches(stored: Final, folder: Path) -> Pixels:
    """(n, side, side, 3) development patches, as they are in files."""
    pixels = development_of(stored, folder, "on which the file is compared with PyTorch").pixels
    rows = np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_CHECKED)).astype(np.int64))
    return np.asarray(pixels[rows])


def _report(folder: Path, stored: Final) -> tuple[Json, str]:
    """The report that the model was published with, and its sha256.

    Raises:
        UsageError: it is missing, cannot be read, or is of another plan than the model.
    """
    path = home_of(folder, stored).parent / REPORT_JSON
    way_out = f"have it written by python -m search.report --study {stored.study}"
    try:
        content = read_file(path, _LARGEST_REPORT)
        report = json.loads(content)
        plan = report["plan_digest"]
    except (RecordError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no report, of which the model card is made ({shown(error)}); {way_out}") from error
    if plan != stored.plan_digest:
        raise UsageError(
            f"{path} is of the plan {plan[:12]}, the model of {stored.plan_digest[:12]}: the model card would be of "
            f"another model; {way_out}"
        )
    return report, sha256(content).hexdigest()


def _card_of(out: Path) -> Path:
    """Where the model card goes: the same name, ``.md``.

    Raises:
        UsageError: that is where the model is to go, or nothing can be written there.
    """
    place = out.with_suffix(".md")
    if place == out:
        raise UsageError(f"--out {out}: the model card takes that name; give the model another ending, such as .onnx")
    if place.is_dir():
        raise UsageError(f"--out {out}: the model card goes to {place}, which is a folder; name another file")
    if problem := why_not_writable(out.parent):
        raise UsageError(f"--out {out}: {problem}; name another file, or have it made writable")
    return place


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
