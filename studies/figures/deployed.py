"""The figure of cost beside accuracy."""

import plotly.graph_objects as go

from studies.figures.style import COLOURS, NEUTRAL, SYMBOLS, Figure, Table, canvas, plain
from studies.findings.deployed import Deployed
from studies.findings.findings import Findings
from studies.records import ReportData


def deployed_figures(data: ReportData, findings: Findings) -> list[Figure]:
    """AUC out of fold against milliseconds a patch; nothing where these were not measured."""
    speeds, rows = data.speeds, findings.deployed
    if speeds is None or not any(one.cost.milliseconds is not None and one.auc is not None for one in rows):
        return []
    figure = canvas(360, x="milliseconds a patch, all members and views", y="AUC out of fold")
    for place, model in enumerate(findings.models):
        _add(figure, model, [one for one in rows if one.model == model], COLOURS[place % 4], SYMBOLS[place % 4])
    _add(figure, "ensemble", [one for one in rows if not one.model], NEUTRAL, "star")
    figure.update_xaxes(type="log")
    return [
        Figure(
            key="cost",
            title="What a prediction costs, and how good it is",
            alt="For each retrained configuration and the ensemble, its time for a patch and its AUC out of fold.",
            note=(
                f"Measured by search.finalize on {speeds.where} ({speeds.precision}, {speeds.batch} patches a batch), "
                "the fastest of a few batches; elsewhere other times hold. The ensemble's AUC is that of the better "
                "single model and its nested gain. Filled points are final models; up and to the left is better."
            ),
            plots=(figure,),
            table=Table(
                (
                    *("Configuration", "Final", "AUC out of fold", "Networks", "Parameters", "Multiply-adds a patch"),
                    *("Milliseconds a patch", "Memory of training, bytes"),
                ),
                tuple(
                    (
                        *(one.name, one.final, one.auc, one.cost.networks, one.cost.parameters),
                        *(one.cost.multiply_adds, one.cost.milliseconds, one.memory),
                    )
                    for one in rows
                ),
            ),
        )
    ]


def _add(figure: go.Figure, name: str, rows: list[Deployed], colour: str, symbol: str) -> None:
    shown = [one for one in rows if one.auc is not None and one.cost.milliseconds is not None]
    figure.add_scatter(
        x=[one.cost.milliseconds for one in shown],
        y=[one.auc for one in shown],
        text=[plain(one.name) for one in shown],
        mode="markers",
        name=plain(name),
        marker={"color": colour, "size": 11, "symbol": [symbol if one.final else f"{symbol}-open" for one in shown]},
    )
