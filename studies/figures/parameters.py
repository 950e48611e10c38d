"""Figures of one search's parameters: what was tried, what mattered, and the objective along each of them."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from studies.figures._trials import Drawn, key_of, objective_of, with_value
from studies.figures.style import (
    COLOURS,
    STATES,
    Figure,
    Table,
    canvas,
    faded,
    plain,
    rows_axis,
    whole_numbers,
    words,
)
from studies.records import ParamValue, StudySummary, TrialResult
from studies.storage.results import ZERO_IS_NONE, counted

TRUSTED_TRIALS = 50
"""Complete trials that PED-ANOVA wants before its importances mean much."""
SLICES = 8
"""Parameters whose slices are shown: the most important ones."""


def parameter_figures(study: StudySummary) -> list[Figure]:
    """Parallel coordinates, importance where it is known, slices."""
    importance = [_importance(study)] if study.importance else []
    return [_parallel(study), *importance, _slices(study)]


def _ordered(study: StudySummary) -> list[str]:
    """Parameters that were searched, most important first."""
    ranks = study.importance or {}
    return sorted(set(study.space) - set(_held(study)), key=lambda name: (-ranks.get(name, 0.0), name))


def _held(study: StudySummary) -> list[str]:
    """Parameters that kept one value."""
    return sorted(name for name, space in study.space.items() if _is_held(space))


def _is_held(space: dict[str, Any]) -> bool:
    return len(space["choices"]) == 1 if "choices" in space else bool(space["low"] == space["high"])


def place_in_range(value: ParamValue, space: dict[str, Any]) -> float:
    """Where a value lies between the ends of its range, in [0, 1]; logarithmic where the range is."""
    if "choices" in space:
        choices = list(space["choices"])
        return choices.index(value) / max(1, len(choices) - 1) if value in choices else 0.0
    low, high, at = float(space["low"]), float(space["high"]), float(value)
    if space.get("log"):
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low) if high > low else 0.5


def _ends(space: dict[str, Any]) -> tuple[str, str]:
    if "choices" in space:
        return plain(space["choices"][0], 10), plain(space["choices"][-1], 10)
    return "none" if space.get(ZERO_IS_NONE) else f"{space['low']:g}", f"{space['high']:g}"


def _parallel(study: StudySummary) -> Figure:
    names = _ordered(study)
    figure = canvas(70 + 40 * len(names))
    for state, alpha in (("PRUNED", 0.35), ("COMPLETE", 0.5)):
        x: Drawn = []
        y: Drawn = []
        for trial in with_value(study, state):
            x += [*_places(trial, names, study), None]
            y += [*(float(k) for k in range(len(names))), None]
        line = {"color": faded(STATES[state][0], alpha), "width": 1.2}
        figure.add_scatter(x=x, y=y, mode="lines", name=state.lower(), line=line, hoverinfo="skip")
    for trial in with_value(study):
        if trial.number == study.best:
            figure.add_scatter(
                x=_places(trial, names, study),
                y=list(range(len(names))),
                mode="lines+markers",
                name="best",
                line={"color": COLOURS[1], "width": 3},
                text=[plain(counted(trial, study.space).get(name)) for name in names],
                hovertemplate="%{text}<extra></extra>",
            )
    _parallel_axes(figure, study, names)
    return Figure(
        key=key_of(study, "parallel"),
        title="Configurations that were tried",
        alt="Parallel coordinates: a line for each trial through its value of every parameter; the best one is thick.",
        note=(
            "A row is a parameter, its range from left to right; rows are ordered by importance where it is known."
            f"{_told(study)}"
        ),
        plots=(figure,),
        table=_range_table(study, [*names, *_held(study)]),
    )


def _told(study: StudySummary) -> str:
    """What was held, in words."""
    held = [f"{words(name)} at {_ends(study.space[name])[0]}" for name in _held(study)]
    return f" Held: {', '.join(held)}." if held else ""


def _places(trial: TrialResult, names: Sequence[str], study: StudySummary) -> Drawn:
    told = counted(trial, study.space)
    return [place_in_range(told[name], study.space[name]) if name in told else None for name in names]


def _parallel_axes(figure: go.Figure, study: StudySummary, names: Sequence[str]) -> None:
    figure.update_layout(meta={"rows": True})
    figure.update_xaxes(showticklabels=False, range=[-0.04, 1.04], showgrid=False)
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[words(name) for name in names],
        range=[len(names) - 0.3, -0.5],
        gridcolor="rgba(128,128,128,0.45)",
    )
    for k, name in enumerate(names):
        for end, text in zip((0, 1), _ends(study.space[name]), strict=True):
            figure.add_annotation(
                x=end, y=k, text=text, showarrow=False, yshift=-10, font={"size": 10}, xanchor=("left", "right")[end]
            )


def _range_table(study: StudySummary, names: Sequence[str]) -> Table:
    best = next((counted(trial, study.space) for trial in study.trials if trial.number == study.best), {})
    default = next((counted(trial, study.space) for trial in study.trials if trial.number == study.default), {})
    rows = []
    for name in names:
        space = study.space[name]
        rows.append((name, _extent(space), best.get(name), default.get(name)))
    return Table(("Parameter", "Range", "Best", "Default"), tuple(rows))


def _extent(space: dict[str, Any]) -> str:
    if "choices" in space:
        return ", ".join(map(str, space["choices"]))
    none = "none, or " if space.get(ZERO_IS_NONE) else ""
    return f"{none}{space['low']:g} to {space['high']:g}{' (logarithmic)' if space.get('log') else ''}"


def _importance(study: StudySummary) -> Figure:
    ranks = sorted((study.importance or {}).items(), key=lambda pair: -pair[1])
    figure = canvas(50 + 26 * len(ranks), x="Share of the variation of the objective", legend=False)
    rows, values = list(range(len(ranks))), [value for _, value in ranks]
    figure.add_bar(x=values, y=rows, orientation="h", marker={"color": COLOURS[0]}, width=0.5)
    rows_axis(figure, [name.replace("_", " ") for name, _ in ranks])
    complete = len(with_value(study, "COMPLETE"))
    trust = (
        "" if complete >= TRUSTED_TRIALS else f"Too few trials to trust: {complete} complete, {TRUSTED_TRIALS} wanted. "
    )
    return Figure(
        key=key_of(study, "importance"),
        title="Importance of parameters",
        alt=f"Bars of the importance of each parameter; the longest is {words(ranks[0][0])}." if ranks else "",
        note=f"{trust}PED-ANOVA over complete trials: what sets the best trials apart.",
        plots=(figure,),
        table=Table(("Parameter", "Importance"), tuple(ranks)),
    )


def _slices(study: StudySummary) -> Figure:
    told = {name for trial in with_value(study) for name in counted(trial, study.space)}
    # One without effect in any trial has no point.
    names = [name for name in _ordered(study) if name in told or not told][:SLICES]
    rows = tuple(
        (name, trial.number, counted(trial, study.space)[name], trial.value, trial.state)
        for name in names
        for trial in with_value(study)
        if name in counted(trial, study.space)
    )
    return Figure(
        key=key_of(study, "slices"),
        title="The objective along each parameter",
        alt="Small scatter plots of the objective against each of the foremost parameters.",
        note=(
            f"{len(names)} of {len(_ordered(study))} parameters, foremost first. Height: the objective. "
            "Circles: complete trials; crosses: pruned ones."
        ),
        plots=tuple(_slice(study, name) for name in names),
        table=Table(("Parameter", "Trial", "Value", objective_of(study), "State"), rows),
    )


def _slice(study: StudySummary, name: str) -> go.Figure:
    figure = canvas(210, x=words(name), legend=False)
    space = study.space[name]
    for state in ("PRUNED", "COMPLETE"):
        own = [trial for trial in with_value(study, state) if name in counted(trial, study.space)]
        colour, symbol = STATES[state]
        marker = {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.8}
        values = [counted(trial, study.space)[name] for trial in own]
        x = [plain(value) for value in values] if "choices" in space else values
        figure.add_scatter(x=x, y=[trial.value for trial in own], mode="markers", marker=marker)
    if "choices" in space:
        order = [plain(choice) for choice in space["choices"]]
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    elif space.get("log"):
        figure.update_xaxes(type="log", dtick=1, tickformat="~g")
    elif space["kind"] == "integer":
        whole_numbers(figure, space["high"] - space["low"])
    figure.update_yaxes(nticks=5)
    return figure
