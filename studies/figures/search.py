"""Figures of one search: what was tried, how it went, what it cost."""

from collections.abc import Sequence
from datetime import datetime

import plotly.graph_objects as go

from studies.figures._trials import Drawn, key_of, objective_of, with_value
from studies.figures.parameters import parameter_figures
from studies.figures.style import (
    COLOURS,
    NEUTRAL,
    STATES,
    Cell,
    Figure,
    Table,
    canvas,
    faded,
    plain,
    whole_numbers,
)
from studies.measure import measure_of
from studies.records import StudySummary, TrialResult
from studies.storage.results import CUT_SHORT, counted


def search_figures(study: StudySummary) -> list[Figure]:
    """All figures of a study that has any trial with a value."""
    if not any(trial.value is not None for trial in study.trials):
        return []
    figures = [_history(study), _learning_curves(study), *parameter_figures(study)]
    if any(trial.started and trial.finished for trial in study.trials):
        figures.append(_timeline(study))
    return [*figures, _cost(study)]


# --- history --------------------------------------------------------------------------------------------------------


def _history(study: StudySummary) -> Figure:
    figure = canvas(340, x="Trial", y=objective_of(study))
    for state, (colour, symbol) in STATES.items():
        own = with_value(study, state)
        if own:
            figure.add_scatter(
                x=[trial.number for trial in own],
                y=[trial.value for trial in own],
                mode="markers",
                name=state.lower(),
                marker={"color": colour, "symbol": symbol, "size": 8},
            )
    x, best = _best_so_far([trial for trial in with_value(study, "COMPLETE") if not trial.by_hand])
    figure.add_scatter(
        x=x, y=best, mode="lines", name="best so far", line={"color": COLOURS[1], "width": 2, "shape": "hv"}
    )
    _mark_default(figure, study)
    whole_numbers(figure, len(study.trials))
    return Figure(
        key=key_of(study, "history"),
        title="Every trial in order",
        alt=f"Objective of {len(study.trials)} trials in the order they were asked for, with the best so far.",
        note=(
            f"A trial's value is of its {measure_of(study.definition)}. "
            f"Pruned trials ended early, so theirs are lower bounds.{_of_taken_over(study)}"
        ),
        plots=(figure,),
        table=_trial_table(study),
    )


def _of_taken_over(study: StudySummary) -> str:
    if not study.taken_over:
        return ""
    return f" {study.taken_over} trials of an older study, of which the sampler learned, are not shown nor counted."


def _best_so_far(trials: Sequence[TrialResult]) -> tuple[list[int], list[float]]:
    x: list[int] = []
    best: list[float] = []
    for trial in trials:
        if trial.value is not None:
            x.append(trial.number)
            best.append(max([trial.value, *best[-1:]]))
    return x, best


def _mark_default(figure: go.Figure, study: StudySummary) -> None:
    own = [trial for trial in with_value(study) if trial.number == study.default]
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
                str(about.get("failure") or about.get(CUT_SHORT) or ""),
                *(counted(trial, study.space).get(name) for name in names),
            )
        )
    return Table(("Trial", "State", objective_of(study), "Epochs", "Seconds", "Failure", *names), tuple(rows))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


# --- learning curves ------------------------------------------------------------------------------------------------


def _learning_curves(study: StudySummary) -> Figure:
    figure = canvas(360, x="Epoch", y=objective_of(study))
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
            line = {"color": colour, "width": 3, "dash": dash}
            figure.add_scatter(x=x, y=y, mode="lines+markers", name=name, line=line, marker={"size": 5})
    rows = tuple((trial.number, trial.state, epoch, value) for trial in study.trials for epoch, value in trial.curve)
    whole_numbers(figure, max((row[2] for row in rows), default=1))
    return Figure(
        key=key_of(study, "learning-curves"),
        title="Learning curves of all trials",
        alt="Objective after each epoch, a line for each trial; pruned and failed trials end in a marker.",
        note="A marker stands where a trial was pruned or failed.",
        plots=(figure,),
        table=Table(("Trial", "State", "Epoch", objective_of(study)), rows),
    )


def _add_curves(figure: go.Figure, trials: Sequence[TrialResult], state: str) -> None:
    colour, symbol = STATES[state]
    x: Drawn = []
    y: Drawn = []
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
        key=key_of(study, "timeline"),
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
        if trial.state == "COMPLETE" and trial.value is not None and not trial.by_hand:
            best = trial.value if best is None else max(best, trial.value)
        rows.append((trial.number, trial.state, spent / 60, best))
    figure = canvas(300, x="Minutes of computing, all workers together", y=objective_of(study), legend=False)
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
        key=key_of(study, "cost"),
        title="What the best value cost",
        alt=f"Best objective so far against computing time; {spent / 60:.1f} minutes in all.",
        note="Pruned and failed trials cost time as well; each point is the end of a trial.",
        plots=(figure,),
        table=Table(("Trial", "State", "Minutes spent", "Best so far"), tuple(rows)),
    )
