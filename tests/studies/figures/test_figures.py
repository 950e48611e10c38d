"""Figures from made-up results: what they show, and that they hold what their tables say."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import plotly.graph_objects as go
import pytest

from studies.figures.all import draw
from studies.figures.parameters import parameter_figures, place_in_range
from studies.figures.search import search_figures
from studies.figures.style import Figure, plain, slug, words
from studies.findings.findings import Findings, find
from studies.records import ReportData
from studies.storage.results import IGNORED, ZERO_IS_NONE
from tests.studies import made_up


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return made_up.report_data(tmp_path_factory.mktemp("pictures"), trials=12, patients=25, draws=200)


@pytest.fixture(scope="module")
def findings(data: ReportData) -> Findings:
    return find(data)


@pytest.fixture(scope="module")
def figures(data: ReportData, findings: Findings) -> dict[str, Figure]:
    return {figure.key: figure for section in draw(data, findings).values() for figure in section}


def trace(figure: Figure, name: str) -> go.Scatter:
    return next(one for one in figure.plots[0].data if one.name == name)


def test_no_figure_needs_webgl(figures: dict[str, Figure]) -> None:
    kinds = {one.type for figure in figures.values() for plot in figure.plots for one in plot.data}
    assert kinds == {"scatter", "bar"}


def test_axes_of_closer_looks_are_named_within_the_width_of_a_phone(figures: dict[str, Figure]) -> None:
    titles = [figures[key].plots[0].layout.xaxis.title.text for key in ("drift", "risk-coverage")]
    assert all(0 < len(title) <= 46 for title in titles), titles


def test_every_figure_has_words_and_a_full_table(figures: dict[str, Figure]) -> None:
    for key, figure in figures.items():
        assert figure.title, key
        assert len(figure.alt) > 20, key
        assert figure.table.rows, key
        assert {len(row) for row in figure.table.rows} == {len(figure.table.columns)}, key


def test_history_shows_every_trial_with_a_value_and_a_best_that_never_falls(
    data: ReportData, figures: dict[str, Figure]
) -> None:
    figure = figures["history-cnn"]
    shown = [len(one.x) for one in figure.plots[0].data if one.name in ("complete", "pruned", "fail")]
    assert sum(shown) == len(data.studies[0].trials)
    best = list(trace(figure, "best so far").y)
    assert best == sorted(best)
    assert best[-1] == max(trial.value for trial in data.studies[0].trials if trial.state == "COMPLETE")


def test_pruned_trials_are_marked_where_they_ended(data: ReportData, figures: dict[str, Figure]) -> None:
    marks = [
        one for one in figures["learning-curves-cnn"].plots[0].data if one.name == "pruned" and "markers" in one.mode
    ]
    ends = [trial.curve[-1] for trial in data.studies[0].trials if trial.state == "PRUNED"]
    assert list(zip(marks[0].x, marks[0].y, strict=True)) == ends


@pytest.mark.parametrize(
    ("value", "space", "place"),
    [
        (1e-3, {"kind": "float", "low": 1e-4, "high": 1e-2, "log": True}, 0.5),
        (2, {"kind": "integer", "low": 1, "high": 3, "log": False}, 0.5),
        ("max", {"kind": "choices", "choices": ["mean", "max", "both"]}, 0.5),
        (True, {"kind": "choices", "choices": [False, True]}, 1.0),
        (5, {"kind": "integer", "low": 5, "high": 5, "log": False}, 0.5),
    ],
)
def test_a_value_has_its_place_in_its_range(value: float | str, space: dict[str, object], place: float) -> None:
    assert place_in_range(value, space) == pytest.approx(place)


def test_importance_of_few_trials_is_called_untrustworthy(figures: dict[str, Figure]) -> None:
    assert figures["importance-cnn"].note.startswith("Too few trials to trust")


def test_a_study_without_importance_or_times_is_still_drawn(data: ReportData) -> None:
    study = data.studies[0]
    bare = tuple(replace(trial, started=None, finished=None, attributes={}) for trial in study.trials)
    keys = [figure.key for figure in search_figures(replace(study, trials=bare, importance=None))]
    assert keys == ["history-cnn", "learning-curves-cnn", "parallel-cnn", "slices-cnn", "cost-cnn"]


def test_a_study_without_any_value_has_no_figures(data: ReportData) -> None:
    failed = tuple(replace(t, state="FAIL", value=None, curve=()) for t in data.studies[0].trials)
    assert search_figures(replace(data.studies[0], trials=failed, best=None, importance=None)) == []


def test_the_timeline_counts_minutes_from_the_first_trial(data: ReportData, figures: dict[str, Figure]) -> None:
    first = figures["timeline-cnn"].table.rows[0]
    trial = data.studies[0].trials[0]
    assert trial.started
    assert trial.finished
    assert first[:4] == (0, "worker-0", trial.state, 0.0)
    assert first[4] == pytest.approx((trial.finished - trial.started) / timedelta(minutes=1))


def test_the_roc_curve_ends_in_its_corners_and_its_band_holds_it(findings: Findings) -> None:
    curve = findings.models["cnn"].curves.roc
    assert (curve[-1].x, curve[-1].y.value) == (1.0, 1.0)
    inside = [point.y.low <= point.y.value <= point.y.high for point in curve]
    assert np.mean(inside) > 0.95


def test_the_area_under_the_drawn_roc_curve_is_the_auc(findings: Findings) -> None:
    for model in findings.models.values():
        x, y = zip(*((point.x, point.y.value) for point in model.curves.roc), strict=True)
        assert np.trapezoid(y, x) == pytest.approx(model.test["auc"].value, abs=0.01)


def test_the_sweep_at_the_frozen_threshold_is_the_reported_balanced_accuracy(findings: Findings) -> None:
    model = findings.models["cnn"]
    at = {point.x: point.y.value for point in model.curves.sweep.balanced_accuracy}
    assert at[0.33] == pytest.approx(model.test["balanced_accuracy"].value)


def test_net_benefit_at_a_threshold_follows_from_its_counts(data: ReportData, findings: Findings) -> None:
    model, n = findings.models["cnn"], len(data.test.labels)
    expected = (model.confusion.true_positive - model.confusion.false_positive * 0.33 / 0.67) / n
    at = {point.x: point.y.value for point in model.curves.net_benefit}
    assert at[0.33] == pytest.approx(expected)


def test_subgroups_of_one_family_share_out_all_patches(data: ReportData, findings: Findings) -> None:
    for family in ("Performance by brightness", "Performance by the patient's share of IDC"):
        parts = [group.patches for group in findings.subgroups if group.family == family]
        assert sum(parts) == len(data.test.labels)
        assert len(parts) == 3


def test_every_patient_is_in_the_forest_and_one_class_has_no_auc(data: ReportData, findings: Findings) -> None:
    assert {row.patient for row in findings.patients} == set(data.test.patients.tolist())
    for row in findings.patients:
        if row.idc in (0, row.patches):
            assert row.auc["cnn"].value is None


def test_agreement_adds_up(findings: Findings) -> None:
    whole = findings.comparisons[0].agreement
    by_class = findings.agreement_by_class["cnn / vgg16"]
    for cell in ("both_right", "only_first", "only_second", "both_wrong"):
        assert getattr(whole, cell) == sum(getattr(part, cell) for part in by_class.values())


def test_markup_in_names_is_text_for_plotly_and_nothing_in_file_names() -> None:
    assert plain("<b>x</b> & y") == "&lt;b&gt;x&lt;/b&gt; &amp; y"
    assert len(plain("x" * 90)) == 36
    assert slug("../../<Etc>") == "etc"
    assert slug("///") == "unnamed"


def test_large_test_splits_are_thinned_in_the_scatter_only(data: ReportData, findings: Findings) -> None:
    many = 2500
    pick = np.arange(many) % len(data.test.labels)
    test = data.test
    large = replace(
        test,
        names=test.names[pick],
        patients=test.patients[pick],
        labels=test.labels[pick],
        probabilities={name: scores[pick] for name, scores in test.probabilities.items()},
    )
    drawn = {f.key: f for f in draw(replace(data, test=large), findings)["test"]}["agreement-1"]
    assert len(drawn.table.rows) == 2000
    assert "2,000 of 2,500" in drawn.note


@pytest.mark.parametrize("folds", [5, 3, 2])
def test_members_are_told_by_as_many_folds_as_there_were(data: ReportData, findings: Findings, folds: int) -> None:
    models = tuple(
        replace(model, candidates=tuple(replace(one, members=one.members[:folds]) for one in model.candidates))
        for model in data.plan.models
    )
    fewer = replace(data, plan=replace(data.plan, models=models))
    drawn = {f.key: f for f in draw(fewer, findings)["retraining"]}["members"]
    assert drawn.alt.endswith(f"the AUC of its members on their held-out patients, of {folds} folds.")
    assert f"trained on {folds - 1} of the {folds} parts of the development patients" in drawn.note
    assert len(drawn.table.rows) == 4 * folds + 2 * 2, "of the finalists that were dropped two each"


def test_the_search_value_is_left_out_where_the_objective_was_another(data: ReportData, findings: Findings) -> None:
    studies = tuple(
        replace(one, definition={**one.definition, "objective": "average_precision"}) for one in data.studies
    )
    drawn = {f.key: f for f in draw(replace(data, studies=studies), findings)["retraining"]}["overtuning"]
    assert {row[3] for row in drawn.table.rows} == {None}
    whole = [row for row in drawn.table.rows if row[1] != "finalist-2"]  # which was dropped, so that it has no score
    assert all(math.isfinite(float(row[4] or "nan")) for row in whole)
    assert len(whole) == 4


def test_none_is_shown_as_none_and_not_as_the_number_below_0_that_stands_for_it(data: ReportData) -> None:
    study = next(study for study in data.studies if study.model == "cnn")
    space = {**study.space, "stain_jitter": {**study.space["stain_jitter"], ZERO_IS_NONE: True}}
    trials = tuple(replace(trial, params={**trial.params, "stain_jitter": -0.04}) for trial in study.trials)
    study = replace(study, space=space, trials=trials, importance={"stain_jitter": 1.0})
    figures = {figure.key.rpartition("-")[0]: figure for figure in (*search_figures(study), *parameter_figures(study))}
    (row,) = (row for row in figures["parallel"].table.rows if row[0] == "stain_jitter")
    assert row == ("stain_jitter", "none, or 0 to 0.2", 0.0, 0.0)
    assert {row[2] for row in figures["slices"].table.rows if row[0] == "stain_jitter"} == {0.0}
    assert {x for trace in figures["slices"].plots[0].data for x in trace.x} == {0.0}
    history = next(figure.table for figure in search_figures(study) if "stain_jitter" in figure.table.columns)
    assert {row[history.columns.index("stain_jitter")] for row in history.rows} == {0.0}
    assert "none" in [note.text for note in figures["parallel"].plots[0].layout.annotations]


def test_parameters_that_were_held_are_told_and_not_drawn(data: ReportData) -> None:
    study = data.studies[0]
    name = next(name for name, space in study.space.items() if "choices" in space)
    held = {**study.space, name: {"kind": "choices", "choices": study.space[name]["choices"][:1]}}
    parallel, *_, slices = parameter_figures(replace(study, space=held))
    assert f"Held: {words(name)} at " in parallel.note
    assert words(name) not in parallel.plots[0].layout.yaxis.ticktext
    assert name in [row[0] for row in parallel.table.rows]
    assert name not in {row[0] for row in slices.table.rows}
    assert "Held" not in parameter_figures(study)[0].note


def test_a_parameter_without_effect_in_any_trial_has_no_slice(data: ReportData) -> None:
    study = data.studies[0]
    name = sorted(study.space)[0]
    trials = tuple(replace(one, attributes={**one.attributes, IGNORED: [name]}) for one in study.trials)
    *_, slices = parameter_figures(replace(study, trials=trials, importance=None))
    assert name not in {row[0] for row in slices.table.rows}
    assert all(any(trace.x for trace in plot.data) for plot in slices.plots)
