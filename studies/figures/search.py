"""Figures of one search: what was tried, how it went, what it cost."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import plotly.graph_objects as go

from studies.figures._style import (
    COLOURS,
    NEUTRAL,
    STATES,
    Cell,
    Figure,
    Table,
    canvas,
    faded,
    plain,
    rows_axis,
    slug,
    words,
)
from studies.records import ParamValue, StudySummary, TrialResult

TRUSTED_TRIALS = 50
"""Complete trials that PED-ANOVA wants before its importances mean much."""
SLICES = 8
"""Parameters whose slices are shown: the most important ones."""

_Drawn = list[float | None]


def search_figures(study: StudySummary) -> list[Figure]:
    """All figures of a study that has any trial with a value."""
    if not any(trial.value is not None for trial in study.trials):
        return []
    figures = [_history(study), _learning_curves(study), _parallel(study)]
    if study.importance:
        figures.append(_importance(study))
    figures.append(_slices(study))
    if any(trial.started and trial.finished for trial in study.trials):
        figures.append(_timeline(study))
    return [*figures, _cost(study)]


def _key(study: StudySummary, what: str) -> str:
    return f"{what}-{slug(study.model)}"


def _objective(study: StudySummary) -> str:
    name = str(study.definition.get("objective", "auc"))
    return "Validation AUC" if name == "auc" else f"Validation {name.replace('_', ' ')}"


def _valued(study: StudySummary, state: str | None = None) -> list[TrialResult]:
    return [trial for trial in study.trials if trial.value is not None and state in (None, trial.state)]


# --- history --------------------------------------------------------------------------------------------------------


def _history(study: StudySummary) -> Figure:
    figure = canvas(340, x="Trial", y=_objective(study))
    for state, (colour, symbol) in STATES.items():
        own = _valued(study, state)
        if own:
            figure.add_scatter(
                x=[trial.number for trial in own],
                y=[trial.value for trial in own],
                mode="markers",
                name=state.lower(),
                marker={"color": colour, "symbol": symbol, "size": 8},
            )
    x, best = _best_so_far(_valued(study, "COMPLETE"))
    figure.add_scatter(
        x=x, y=best, mode="lines", name="best so far", line={"color": COLOURS[1], "width": 2, "shape": "hv"}
    )
    _mark_default(figure, study)
    return Figure(
        key=_key(study, "history"),
        title="Every trial in order",
        alt=f"Objective of {len(study.trials)} trials in the order they were asked for, with the best so far.",
        note="A trial's value is that of its best epoch. Pruned trials ended early, so theirs are lower bounds.",
        plots=(figure,),
        table=_trial_table(study),
    )


def _best_so_far(trials: Sequence[TrialResult]) -> tuple[list[int], list[float]]:
    x: list[int] = []
    best: list[float] = []
    for trial in trials:
        if trial.value is not None:
            x.append(trial.number)
            best.append(max([trial.value, *best[-1:]]))
    return x, best


def _mark_default(figure: go.Figure, study: StudySummary) -> None:
    own = [trial for trial in _valued(study) if trial.number == study.default]
    if own:
        ring = {"color": NEUTRAL, "symbol": "circle-open", "size": 16, "line": {"width": 2}}
        figure.add_scatter(x=[own[0].number], y=[own[0].value], mode="markers", name="default", marker=ring)


def _trial_table(study: StudySummary) -> Table:
    names = sorted(study.space)
    rows: list[tuple[Cell, ...]] = []
    for trial in study.trials:
        about = trial.attributes
        rows.append(
            (
                trial.number,
                trial.state,
                trial.value,
                len(trial.curve),
                _number(about.get("seconds")),
                str(about.get("failure") or ""),
                *(trial.params.get(name) for name in names),
            )
        )
    return Table(("Trial", "State", _objective(study), "Epochs", "Seconds", "Failure", *names), tuple(rows))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


# --- learning curves ------------------------------------------------------------------------------------------------


def _learning_curves(study: StudySummary) -> Figure:
    figure = canvas(360, x="Epoch", y=_objective(study))
    for state in ("FAIL", "PRUNED", "COMPLETE"):
        own = [trial for trial in study.trials if trial.state == state and trial.curve]
        if own:
            _add_curves(figure, own, state)
    for number, name, colour, dash in (
        (study.default, "default", NEUTRAL, "dash"),
        (study.best, "best", COLOURS[1], "solid"),
    ):
        chosen = [trial for trial in study.trials if trial.number == number and trial.curve]
        if chosen:
            x, y = zip(*chosen[0].curve, strict=True)
            figure.add_scatter(x=x, y=y, mode="lines", name=name, line={"color": colour, "width": 3, "dash": dash})
    rows = tuple((trial.number, trial.state, epoch, value) for trial in study.trials for epoch, value in trial.curve)
    return Figure(
        key=_key(study, "learning-curves"),
        title="Learning curves of all trials",
        alt="Objective after each epoch, a line for each trial; pruned and failed trials end in a marker.",
        note="A marker stands where a trial was pruned or failed.",
        plots=(figure,),
        table=Table(("Trial", "State", "Epoch", _objective(study)), rows),
    )


def _add_curves(figure: go.Figure, trials: Sequence[TrialResult], state: str) -> None:
    colour, symbol = STATES[state]
    x: _Drawn = []
    y: _Drawn = []
    for trial in trials:
        x += [*(float(epoch) for epoch, _ in trial.curve), None]
        y += [*(value for _, value in trial.curve), None]
    line = {"color": faded(colour, 0.45), "width": 1.2}
    figure.add_scatter(
        x=x, y=y, mode="lines", name=state.lower(), line=line, hoverinfo="skip", showlegend=state == "COMPLETE"
    )
    if state != "COMPLETE":
        ends = [trial.curve[-1] for trial in trials]
        figure.add_scatter(
            x=[epoch for epoch, _ in ends],
            y=[value for _, value in ends],
            mode="markers",
            name=state.lower(),
            marker={"color": colour, "symbol": symbol, "size": 8},
        )


# --- parameters -----------------------------------------------------------------------------------------------------


def _ordered(study: StudySummary) -> list[str]:
    """Parameters, most important first."""
    ranks = study.importance or {}
    return sorted(study.space, key=lambda name: (-ranks.get(name, 0.0), name))


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
    return f"{space['low']:g}", f"{space['high']:g}"


def _parallel(study: StudySummary) -> Figure:
    names = _ordered(study)
    figure = canvas(70 + 40 * len(names))
    for state, alpha in (("PRUNED", 0.35), ("COMPLETE", 0.5)):
        x: _Drawn = []
        y: _Drawn = []
        for trial in _valued(study, state):
            x += [*_places(trial, names, study), None]
            y += [*(float(k) for k in range(len(names))), None]
        line = {"color": faded(STATES[state][0], alpha), "width": 1.2}
        figure.add_scatter(x=x, y=y, mode="lines", name=state.lower(), line=line, hoverinfo="skip")
    for trial in _valued(study):
        if trial.number == study.best:
            figure.add_scatter(
                x=_places(trial, names, study),
                y=list(range(len(names))),
                mode="lines+markers",
                name="best",
                line={"color": COLOURS[1], "width": 3},
                text=[plain(trial.params.get(name)) for name in names],
                hovertemplate="%{text}<extra></extra>",
            )
    _parallel_axes(figure, study, names)
    return Figure(
        key=_key(study, "parallel"),
        title="Configurations that were tried",
        alt="Parallel coordinates: a line for each trial through its value of every parameter; the best one is thick.",
        note="A row is a parameter, its range from left to right; rows are ordered by importance where it is known.",
        plots=(figure,),
        table=_range_table(study, names),
    )


def _places(trial: TrialResult, names: Sequence[str], study: StudySummary) -> _Drawn:
    return [place_in_range(trial.params[name], study.space[name]) if name in trial.params else None for name in names]


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
    best = next((trial.params for trial in study.trials if trial.number == study.best), {})
    default = next((trial.params for trial in study.trials if trial.number == study.default), {})
    rows = []
    for name in names:
        space = study.space[name]
        extent = (
            ", ".join(map(str, space["choices"])) if "choices" in space else f"{space['low']:g} to {space['high']:g}"
        )
        log = " (logarithmic)" if space.get("log") else ""
        rows.append((name, extent + log, best.get(name), default.get(name)))
    return Table(("Parameter", "Range", "Best", "Default"), tuple(rows))


def _importance(study: StudySummary) -> Figure:
    ranks = sorted((study.importance or {}).items(), key=lambda pair: -pair[1])
    figure = canvas(50 + 26 * len(ranks), x="Share of the variation of the objective", legend=False)
    rows, values = list(range(len(ranks))), [value for _, value in ranks]
    figure.add_bar(x=values, y=rows, orientation="h", marker={"color": COLOURS[0]}, width=0.5)
    rows_axis(figure, [name.replace("_", " ") for name, _ in ranks])
    complete = len(_valued(study, "COMPLETE"))
    trust = (
        "" if complete >= TRUSTED_TRIALS else f"Too few trials to trust: {complete} complete, {TRUSTED_TRIALS} wanted. "
    )
    return Figure(
        key=_key(study, "importance"),
        title="Importance of parameters",
        alt=f"Bars of the importance of each parameter; the longest is {words(ranks[0][0])}." if ranks else "",
        note=f"{trust}PED-ANOVA over complete trials: what sets the best trials apart.",
        plots=(figure,),
        table=Table(("Parameter", "Importance"), tuple(ranks)),
    )


def _slices(study: StudySummary) -> Figure:
    names = _ordered(study)[:SLICES]
    rows = tuple(
        (name, trial.number, trial.params.get(name), trial.value, trial.state)
        for name in names
        for trial in _valued(study)
    )
    return Figure(
        key=_key(study, "slices"),
        title="The objective along each parameter",
        alt="Small scatter plots of the objective against each of the foremost parameters.",
        note=(
            f"{len(names)} of {len(study.space)} parameters, foremost first. Height: the objective. "
            "Circles: complete trials; crosses: pruned ones."
        ),
        plots=tuple(_slice(study, name) for name in names),
        table=Table(("Parameter", "Trial", "Value", _objective(study), "State"), rows),
    )


def _slice(study: StudySummary, name: str) -> go.Figure:
    figure = canvas(210, x=words(name), legend=False)
    space = study.space[name]
    for state in ("PRUNED", "COMPLETE"):
        own = [trial for trial in _valued(study, state) if name in trial.params]
        colour, symbol = STATES[state]
        marker = {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.8}
        values = [trial.params[name] for trial in own]
        x = [plain(value) for value in values] if "choices" in space else values
        figure.add_scatter(x=x, y=[trial.value for trial in own], mode="markers", marker=marker)
    if "choices" in space:
        order = [plain(choice) for choice in space["choices"]]
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    elif space.get("log"):
        figure.update_xaxes(type="log", dtick=1, exponentformat="power", minor={"showgrid": False})
    elif space["kind"] == "int" and space["high"] - space["low"] <= 10:
        figure.update_xaxes(dtick=1)
    figure.update_yaxes(nticks=5)
    return figure


# --- time -----------------------------------------------------------------------------------------------------------


def _timeline(study: StudySummary) -> Figure:
    known = [trial for trial in study.trials if trial.started and trial.finished]
    begun = min(trial.started for trial in known if trial.started)
    workers = sorted({_worker(trial) for trial in known})
    figure = canvas(90 + 34 * len(workers), x="Minutes since the first trial")
    rows: list[tuple[Cell, ...]] = []
    for state, (colour, _) in STATES.items():
        own = [trial for trial in known if trial.state == state]
        spans = [_span(trial, begun) for trial in own]
        rows += [(t.number, _worker(t), state, *span) for t, span in zip(own, spans, strict=True)]
        if own:
            figure.add_bar(
                y=[plain(_worker(trial)) for trial in own],
                base=[first for first, _ in spans],
                x=[last - first for first, last in spans],
                orientation="h",
                name=state.lower(),
                width=0.6,
                marker={"color": colour, "line": {"color": "rgba(255,255,255,0.7)", "width": 1}},
                text=[str(trial.number) for trial in own],
                hovertemplate="trial %{text}<extra></extra>",
                textposition="none",
            )
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(
        showgrid=False, type="category", categoryorder="array", categoryarray=[plain(w) for w in workers[::-1]]
    )
    return Figure(
        key=_key(study, "timeline"),
        title="What each worker did",
        alt=f"Bars over time for {len(workers)} workers, one bar a trial, coloured by its end.",
        note="Gaps are time spent on other studies, on starting, or with nothing to do.",
        plots=(figure,),
        table=Table(("Trial", "Worker", "State", "Begun, minutes", "Ended, minutes"), tuple(sorted(rows))),
    )


def _span(trial: TrialResult, begun: datetime) -> tuple[float, float]:
    """Begin and end in minutes since ``begun``."""
    first, last = ((at - begun).total_seconds() / 60 if at else 0.0 for at in (trial.started, trial.finished))
    return first, last


def _worker(trial: TrialResult) -> str:
    return str(trial.attributes.get("worker") or "unknown")


def _end(trial: TrialResult) -> tuple[bool, float, int]:
    """Order by end; trials without a known one come last, by number."""
    return trial.finished is None, trial.finished.timestamp() if trial.finished else 0.0, trial.number


def _cost(study: StudySummary) -> Figure:
    spent, rows, best = 0.0, [], None
    ended = [trial for trial in study.trials if trial.state in ("COMPLETE", "PRUNED", "FAIL")]
    for trial in sorted(ended, key=_end):
        spent += _number(trial.attributes.get("seconds")) or 0.0
        if trial.state == "COMPLETE" and trial.value is not None:
            best = trial.value if best is None else max(best, trial.value)
        rows.append((trial.number, trial.state, spent / 60, best))
    figure = canvas(300, x="Minutes of computing, all workers together", y=_objective(study), legend=False)
    figure.add_scatter(
        x=[row[2] for row in rows],
        y=[row[3] for row in rows],
        mode="lines+markers",
        line={"color": COLOURS[0], "width": 2.2, "shape": "hv"},
        marker={"size": 5},
    )
    figure.update_xaxes(rangemode="tozero")
    reached = [row[3] for row in rows if row[3] is not None]
    if reached:
        figure.update_yaxes(range=[min(reached) - 0.01, max(reached) + 0.005])
    return Figure(
        key=_key(study, "cost"),
        title="What the best value cost",
        alt=f"Best objective so far against computing time; {spent / 60:.1f} minutes in all.",
        note="Pruned and failed trials cost time as well; each point is the end of a trial.",
        plots=(figure,),
        table=Table(("Trial", "State", "Minutes spent", "Best so far"), tuple(rows)),
    )
