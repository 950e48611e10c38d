"""Figures of the test split: ranking, calibration, thresholds, patients and parts, and where two models part ways."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from studies.figures.style import (
    COLOURS,
    NEUTRAL,
    SYMBOLS,
    Cell,
    Figure,
    Table,
    above_and_below,
    add_curve,
    add_estimates,
    canvas,
    curve_table,
    estimate_cells,
    interval_columns,
    plain,
    rows_axis,
    slug,
    spread,
    with_intervals,
)
from studies.findings.findings import CalibrationFindings, Findings, ModelFindings
from studies.records import ReportData
from studies.statistics import curves
from studies.statistics.binned import BINS
from studies.statistics.calibration import ReliabilityBin
from studies.statistics.metrics import METRICS

MOST_POINTS = 2000
"""Patches drawn in the scatter of two models; more would slow the page down and show no more."""
SHOWN = (
    "auc",
    "average_precision",
    "balanced_accuracy",
    "f1",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "sensitivity_at_90_specificity",
    "sensitivity_at_95_specificity",
)


def test_split_figures(data: ReportData, findings: Findings) -> list[Figure]:
    """All figures of the test split."""
    figures = [
        _metrics(findings),
        _roc(findings),
        _precision_recall(findings),
        _reliability(findings),
        *(_sweep(name, model) for name, model in findings.models.items()),
        _net_benefit(data, findings),
    ]
    if findings.patients:
        figures.append(_patients(findings))
    figures.append(_subgroups(findings))
    return [*figures, *(_scatter(data, pair.first, pair.second, k) for k, pair in enumerate(findings.comparisons))]


def _metrics(findings: Findings) -> Figure:
    shown = [model.test[metric] for model in findings.models.values() for metric in SHOWN]
    figure = canvas(80 + 36 * len(SHOWN), x=with_intervals("Value", shown))
    count = len(findings.models)
    for place, (name, model) in enumerate(findings.models.items()):
        rows = [(k + spread(count, place), model.test[metric]) for k, metric in enumerate(SHOWN)]
        add_estimates(figure, rows, name, place)
    rows_axis(figure, [METRICS[metric] for metric in SHOWN])
    cells = tuple(
        (METRICS[metric], *(cell for model in findings.models.values() for cell in estimate_cells(model.test[metric])))
        for metric in METRICS
    )
    return Figure(
        key="metrics",
        title="The models side by side",
        alt="Dots, with intervals where there are any: each metric of each model on the test split.",
        note="Intervals that overlap may still hide a difference: the paired comparison above is the test of it.",
        plots=(figure,),
        table=Table(("Metric", *interval_columns(list(findings.models))), cells),
    )


_BANDS = "Bands are the middle 95 % of the draws at each point. "


def _bands(findings: Findings) -> str:
    return ", with 95 % bands" if findings.test_split.band_draws else ""


def _roc(findings: Findings) -> Figure:
    figure = canvas(440, x="False-positive rate (1 − specificity)", y="Sensitivity")
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": NEUTRAL, "width": 1, "dash": "dot"},
        showlegend=False,
        hoverinfo="skip",
    )
    for place, (name, model) in enumerate(findings.models.items()):
        add_curve(figure, model.curves.roc, name, place)
        if model.curves.operating_point:
            x, y = model.curves.operating_point
            marker = {
                "color": COLOURS[place % 4],
                "symbol": SYMBOLS[place % 4],
                "size": 11,
                "line": {"width": 2, "color": "#fff"},
            }
            figure.add_scatter(x=[x], y=[y], mode="markers", name=plain(f"{name} at its threshold"), marker=marker)
    figure.update_xaxes(range=[-0.01, 1.01], tickformat=".1f")
    figure.update_yaxes(range=[0, 1.02], tickformat=".1f")
    return Figure(
        key="roc",
        title="ROC curves",
        alt=f"Sensitivity against the false-positive rate for each model{_bands(findings)}.",
        note=f"{_BANDS if findings.test_split.band_draws else ''}The marker is the frozen threshold.",
        plots=(figure,),
        table=curve_table("False-positive rate", {name: model.curves.roc for name, model in findings.models.items()}),
        statistic=METRICS["auc"],
    )


def _precision_recall(findings: Findings) -> Figure:
    figure = canvas(440, x="Recall (sensitivity)", y="Precision (positive predictive value)")
    prevalence = findings.test_split.prevalence
    figure.add_hline(y=prevalence, line={"color": NEUTRAL, "width": 1, "dash": "dot"})
    for place, (name, model) in enumerate(findings.models.items()):
        add_curve(figure, model.curves.precision_recall, name, place)
    figure.update_xaxes(range=[0, 1.01], tickformat=".1f")
    figure.update_yaxes(range=[0, 1.02], tickformat=".1f")
    found = {name: model.curves.precision_recall for name, model in findings.models.items()}
    return Figure(
        key="precision-recall",
        title="Precision-recall curves",
        alt=f"Precision against recall for each model{_bands(findings)}.",
        note="The dotted line is the share of IDC in the test split, the precision of a random score.",
        plots=(figure,),
        table=curve_table("Recall", found),
        statistic=METRICS["average_precision"],
    )


_BEFORE, _AFTER = "before temperature", "after temperature"


def _reliability(findings: Findings) -> Figure:
    models = findings.models.items()
    rows: list[tuple[Cell, ...]] = [
        (name, when, b.patches, b.predicted, *estimate_cells(b.observed))
        for name, model in models
        for when, found in ((_BEFORE, model.calibration_before), (_AFTER, model.calibration_after))
        for b in found.bins
    ]
    return Figure(
        key="reliability",
        title="Reliability: what was promised, what happened",
        alt="Observed share of IDC against predicted probability in bins of equal mass, one plot a model.",
        note=f"At most {BINS} bins, with equally many patches; equal scores share one. On the dotted line, 30 % means "
        "30 in 100. Bars are of the final score, after temperature.",
        plots=tuple(_reliability_of(name, model, place) for place, (name, model) in enumerate(models)),
        table=Table(
            ("Model", "Temperature", "Patches", "Predicted", "Observed", "Observed, low", "Observed, high"), tuple(rows)
        ),
        statistic="Calibration before and after temperature",
    )


def _reliability_of(name: str, model: ModelFindings, place: int) -> go.Figure:
    figure = canvas(360, x="Predicted probability", y="Observed share of IDC")
    dots = {"color": NEUTRAL, "width": 1, "dash": "dot"}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="perfect", line=dots)
    before, after = _known(model.calibration_before), _known(model.calibration_after)
    figure.add_scatter(
        **_points(before),
        name=_BEFORE,  # and not the model's, so that the legends of all plots take one line
        line={"color": NEUTRAL, "width": 1.6},
        marker={"size": 5, "symbol": "circle-open"},
    )
    figure.add_scatter(
        **_points(after),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [above_and_below(b.observed)[0] for b in after],
            "arrayminus": [above_and_below(b.observed)[1] for b in after],
            "width": 0,
            "thickness": 1.4,
        },
        name=plain(name),
        line={"color": COLOURS[place % 4], "width": 1.6},
        marker={"size": 7, "symbol": SYMBOLS[place % 4]},
    )
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".1f")
    figure.update_yaxes(range=[-0.02, 1.04], tickformat=".1f")
    return figure


def _known(found: CalibrationFindings) -> list[ReliabilityBin]:
    """The bins in which something was observed."""
    return [b for b in found.bins if b.observed.value is not None]


def _points(bins: Sequence[ReliabilityBin]) -> dict[str, Any]:
    return {"x": [b.predicted for b in bins], "y": [b.observed.value for b in bins], "mode": "lines+markers"}


def _sweep(name: str, model: ModelFindings) -> Figure:
    figure = canvas(340, x="Threshold on the probability")
    found = {
        "Sensitivity": model.curves.sweep.sensitivity,
        "Specificity": model.curves.sweep.specificity,
        "Balanced accuracy": model.curves.sweep.balanced_accuracy,
    }
    for place, (label, curve) in enumerate(found.items()):
        add_curve(figure, curve, label, place, band=place == 2)
    figure.add_vline(x=model.threshold, line={"color": NEUTRAL, "width": 2, "dash": "dash"})
    figure.add_annotation(x=model.threshold, y=0.03, text="frozen", showarrow=False, xanchor="left", xshift=5)
    figure.update_xaxes(range=[0, 1], tickformat=".1f")
    figure.update_yaxes(range=[0, 1.02], tickformat=".1f")
    return Figure(
        key=f"sweep-{slug(name)}",
        title=f"What other thresholds would have given: {name}",
        alt="Sensitivity, specificity and balanced accuracy against the threshold; the frozen threshold is marked.",
        note="The threshold was frozen before the test split was opened; no other was chosen from this figure.",
        plots=(figure,),
        table=curve_table("Threshold", found),
        statistic="Other thresholds",
    )


def _net_benefit(data: ReportData, findings: Findings) -> Figure:
    figure = canvas(360, x="Threshold probability", y="Net benefit")
    everyone = curves.net_benefit_of_all(data.test.labels)
    grid = [float(t) for t in curves.THRESHOLDS]
    line = {"color": NEUTRAL, "width": 1.4, "dash": "dash"}
    figure.add_scatter(x=grid, y=everyone, mode="lines", name="call all IDC", line=line)
    figure.add_scatter(x=[0, 1], y=[0, 0], mode="lines", name="call none", line={"color": NEUTRAL, "width": 1.4})
    for place, (name, model) in enumerate(findings.models.items()):
        add_curve(figure, model.curves.net_benefit, name, place)
    top = findings.test_split.prevalence
    figure.update_yaxes(range=[-0.25 * top - 0.01, 1.1 * top + 0.01], tickformat=".2f" if top > 0.05 else ".3f")
    figure.update_xaxes(range=[0, 1], tickformat=".1f")
    table = curve_table("Threshold", {name: model.curves.net_benefit for name, model in findings.models.items()})
    rows = tuple((*row, everyone[k]) for k, row in enumerate(table.rows))
    return Figure(
        key="net-benefit",
        title="Net benefit, as an illustration",
        alt="Net benefit of each model against the threshold probability, with calling all and calling none.",
        note="True positives minus false positives weighted by the threshold's odds, a patch; no decision rests on it.",
        plots=(figure,),
        table=Table((*table.columns, "Call all IDC"), rows),
        statistic="Net benefit",
    )


def _patients(findings: Findings) -> Figure:
    rows, names = findings.patients, list(findings.models)
    crowded = len(rows) > 60
    figure = canvas(80 + (8 if crowded else 24) * len(rows), x="AUC within the patient")
    for place, name in enumerate(names):
        heights = [(k + spread(len(names), place), row.auc[name]) for k, row in enumerate(rows)]
        add_estimates(figure, heights, name, place, size=4 if crowded else 7)
    rows_axis(figure, [f"{row.patient}  ({row.idc} of {row.patches})" for row in rows])
    if crowded:
        figure.update_yaxes(showticklabels=False)
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".1f")
    cells = tuple(
        (
            row.patient,
            row.patches,
            row.idc,
            *(cell for name in names for cell in (*estimate_cells(row.auc[name]), row.right[name])),
        )
        for row in rows
    )
    columns = tuple(c for name in names for c in (*interval_columns([f"{name} AUC"]), f"{name} right"))
    return Figure(
        key="patients",
        title="Patient by patient",
        alt=f"AUC with interval within each of {len(rows)} test patients, for each model.",
        note=(
            "Beside each patient: patches with IDC of all patches. Sorted by the share of IDC. DeLong's interval, and "
            "of an AUC of 0 or 1 the exact one by the patches of the rarer class; a patient with a single patch of a "
            "class, or with scores all alike, has none. "
            "Patients with one class only have no AUC and an empty row."
        ),
        plots=(figure,),
        table=Table(("Patient", "Patches", "IDC", *columns), cells),
        statistic="Performance by patient",
    )


def _subgroups(findings: Findings) -> Figure:
    groups, names = findings.subgroups, list(findings.models)
    shown = [group.auc[name] for group in groups for name in names]
    figure = canvas(80 + 30 * len(groups), x=with_intervals("AUC", shown))
    for place, name in enumerate(names):
        rows = [(k + spread(len(names), place), group.auc[name]) for k, group in enumerate(groups)]
        add_estimates(figure, rows, name, place)
    rows_axis(figure, [_planned_label(group.family, group.label, findings) for group in groups])
    cells = tuple(
        (
            _planned_label(group.family, group.label, findings),
            group.patients or None,
            group.patches,
            group.idc,
            *(
                cell
                for name in names
                for one in (group.auc[name], group.sensitivity[name], group.specificity[name])
                for cell in estimate_cells(one)
            ),
        )
        for group in groups
    )
    columns = interval_columns(
        [f"{name} {metric}" for name in names for metric in ("AUC", "sensitivity", "specificity")]
    )
    return Figure(
        key="subgroups",
        title="Part by part",
        alt="AUC in parts of the test split: by share of IDC, brightness, stain and near-white patches.",
        note=(
            "Parts are thirds of the test patches, as nearly as equal values allow; those of too few "
            f"{'patients' if findings.test_split.patient_ids else 'patches'}, in all or of a class, have no interval. "
            "With so many parts some will stand out by chance: no test is made."
        ),
        plots=(figure,),
        table=Table(("Part", "Patients", "Patches", "IDC", *columns), cells),
        statistic="Performance by stain",  # others of the parts say in their row that they were not planned
    )


def _planned_label(family: str, label: str, findings: Findings) -> str:
    return f"{label}, not in the frozen plan" if family in findings.unplanned else label


def _scatter(data: ReportData, first: str, second: str, place: int) -> Figure:
    test = data.test
    chosen = np.arange(len(test.labels))
    if len(chosen) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_POINTS, replace=False))
    a, b, labels = (values[chosen] for values in (test.probabilities[first], test.probabilities[second], test.labels))
    figure = canvas(440, x=f"Probability by {plain(first)}", y=f"Probability by {plain(second)}")
    for label, name, colour, symbol in ((0, "Not IDC", COLOURS[0], "circle-open"), (1, "IDC", COLOURS[1], "x")):
        own = labels == label
        marker = {"color": colour, "symbol": symbol, "size": 5, "opacity": 0.7}
        figure.add_scatter(x=a[own].tolist(), y=b[own].tolist(), mode="markers", name=name, marker=marker)
    figure.add_vline(x=test.thresholds[first], line={"color": NEUTRAL, "width": 1.2, "dash": "dash"})
    figure.add_hline(y=test.thresholds[second], line={"color": NEUTRAL, "width": 1.2, "dash": "dash"})
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".1f")
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".1f")
    rows = tuple(
        (str(test.names[k]), str(test.patients[k]), int(test.labels[k]), float(x), float(y))
        for k, x, y in zip(chosen, a, b, strict=True)
    )
    drawn = (
        "" if len(chosen) == len(test.labels) else f" {MOST_POINTS:,} of {len(test.labels):,} patches, drawn at random."
    )
    return Figure(
        key=f"agreement-{place + 1}",
        title=f"Where {first} and {second} part ways",
        alt=f"A point for each test patch: probability by {first} against probability by {second}, by class.",
        note=f"Dashed lines are the frozen thresholds; off the diagonal quarters the models disagree.{drawn}",
        plots=(figure,),
        table=Table(("Patch", "Patient", "Label", first, second), rows),
        statistic="Agreement of the models",
    )
