"""The learning curve of one trial as an SVG picture, for the dashboard."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from studies.figures._trials import objective_of
from studies.figures.style import STATES
from studies.records import StudySummary, TrialResult

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 464, 56, 256  # of the curve in its picture, in pixels

Points = list[tuple[float, float]]


def curve_picture(study: StudySummary, trial: TrialResult) -> str:
    """SVG of the objective after each epoch of the trial, beside that of the study's best trial."""
    best = next((one for one in study.trials if one.number == study.best and one.number != trial.number), None)
    curves = [trial.curve] if best is None else [trial.curve, best.curve]
    last = max(2, *(epoch for curve in curves for epoch, _ in curve))
    values = [value for curve in curves for _, value in curve]
    low, high = min(values), max(max(values), min(values) + 1e-3)

    def placed(curve: Sequence[tuple[int, float]]) -> Points:
        return [(_across((epoch - 1) / (last - 1)), _up((value - low) / (high - low))) for epoch, value in curve]

    picture: str = _template().render(
        trial=trial.number,
        state=trial.state,
        objective=objective_of(study),
        colour=STATES[trial.state][0],
        epochs=last,
        best_trial=None if best is None else best.number,
        best=[] if best is None else placed(best.curve),
        own=placed(trial.curve),
        ticks=[(_up(share), f"{low + share * (high - low):.3f}") for share in (0.0, 0.5, 1.0)],
    )
    return picture


@cache
def _template() -> Template:
    page = Environment(
        loader=PackageLoader("studies.figures"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return page.get_template("curve.svg.j2")


def _across(share: float) -> float:
    return round(_LEFT + share * (_RIGHT - _LEFT), 1)


def _up(share: float) -> float:
    return round(_BOTTOM - share * (_BOTTOM - _TOP), 1)
