"""What weakens a claim: each rule at the point where it begins to speak."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from studies.final_models import FinalModel
from studies.findings.findings import find
from studies.findings.robustness import Moved, Robustness
from studies.findings.weaknesses import (
    about_baselines,
    about_changes,
    about_classes,
    about_cleaning,
    about_folds,
    about_looks,
    about_near_copies,
    about_openings,
    about_other_splits,
    about_patches,
    about_retraining,
    about_searches,
    about_shares,
    weaknesses,
)
from studies.records import Look, ReportData
from studies.statistics.metrics import Estimate
from studies.statistics.resampling import resample
from tests.studies import made_up


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return made_up.report_data(tmp_path_factory.mktemp("pictures"), trials=18, draws=100)


@pytest.fixture
def model(data: ReportData) -> FinalModel:
    return data.plan.models[0]


def with_scores(model: FinalModel, pooled: float, within: float | None) -> FinalModel:
    """The same model with other out-of-fold AUCs of its chosen configuration."""
    candidates = tuple(
        replace(
            one,
            out_of_fold_auc=pooled,
            members=tuple(replace(member, out_of_fold_auc=within) for member in one.members),
        )
        for one in model.candidates
    )
    return replace(model, candidates=candidates)


def test_a_sound_study_has_none(data: ReportData) -> None:
    sound = replace(data, data=replace(data.data, synthetic=False))
    test = sound.test
    assert weaknesses(sound, resample(test.patients, test.labels, 10, 0)) == ()


def test_few_patients_with_a_class_weaken_whatever_rests_on_it() -> None:
    def found(with_idc: int, patients: int = 12) -> list[str]:
        who = np.repeat([f"p{k}" for k in range(patients)], 10)
        labels = ((np.arange(10 * patients) < 10 * with_idc) & (np.arange(10 * patients) % 10 < 3)).astype(np.int64)
        return [one.meaning for one in about_classes(who, labels) if one.forbids_verdict]

    assert found(1) == ["1 of 12 test patients has patches with IDC: every number that rests on these has no interval."]
    assert found(3) == [
        "3 of 12 test patients have patches with IDC: every number that rests on these stands or falls with one of "
        "them."
    ]
    assert found(0) == ["0 of 12 test patients have patches with IDC: every number that rests on these is undefined."]
    assert found(5) == []
    assert found(2, patients=4) == [], "there are too few for any interval, which is told already"


def test_rules_of_cleaning_that_ease_the_test_are_named_with_their_counts() -> None:
    assert about_cleaning((), {"near duplicate": 4}) == []
    easing = (("blurred: out of focus", "slides blur"), ("near-black", "slides have ink"))
    (found,) = about_cleaning(easing, {"blurred: out of focus": 7})
    assert not found.forbids_verdict
    assert found.meaning == (
        "By --exclude the test has no such patches: blurred: out of focus (7 patches), though slides blur; near-black "
        "(0 patches), though slides have ink. Scores are of the others only."
    )


def test_every_rule_reaches_the_report(data: ReportData) -> None:
    models = tuple(
        replace(with_scores(model, 0.7, 0.99), temperature=19.9, weights="none: random") for model in data.plan.models
    )
    weak = replace(
        data,
        data=replace(data.data, patient_ids=False, easing=(("blurred", "slides blur"),)),
        plan=replace(data.plan, models=models),
        openings=data.openings * 2,
        studies=tuple(replace(study, trials=study.trials[:3]) for study in data.studies),
    )
    test = weak.test
    found = weaknesses(weak, resample(test.patients, test.labels, 10, 0))
    assert [one.name for one in found] == [
        "Made-up patches",
        "No patient ids",
        "Easier test",
        "Test split reopened",
        "Random initial weights",
        "Short search",
        *("Members on different scales", "Temperature at its bound") * 2,
    ]


@pytest.mark.parametrize(
    ("patients", "said"),
    [(4, "too few for any interval"), (5, "too wide to tell"), (19, "too wide to tell"), (20, None)],
)
def test_few_patients_are_said_to_be_few(patients: int, said: str | None) -> None:
    found = about_patches(synthetic=False, known=True, patients=patients)
    assert [said in one.meaning for one in found if said] == ([True] if said else [])
    assert all(one.forbids_verdict for one in found)
    assert bool(found) == bool(said)


def test_a_second_opening_and_a_short_search_are_named() -> None:
    assert about_openings(1) == []
    assert "2 times" in about_openings(2)[0].meaning
    assert about_searches((), [10, 12]) == []
    assert about_searches((), [10, 9])[0].name == "Short search"


@pytest.mark.parametrize(
    ("pooled", "within", "weak"), [(0.90, 0.94, False), (0.89, 0.95, True), (0.96, 0.95, False), (0.5, None, False)]
)
def test_members_on_different_scales_are_told_by_their_folds(
    model: FinalModel, pooled: float, within: float | None, weak: bool
) -> None:
    found = about_retraining(with_scores(model, pooled, within))
    assert [one.name for one in found] == ["Members on different scales"] * weak
    if found:
        assert f"{within:.3f} within the folds, but {pooled:.3f} over all" in found[0].meaning


@pytest.mark.parametrize(("temperature", "weak"), [(0.0501, True), (0.06, False), (1.0, False), (19.99, True)])
def test_a_temperature_at_its_bound_is_named(model: FinalModel, temperature: float, weak: bool) -> None:
    found = about_retraining(replace(model, temperature=temperature))
    assert [one.name for one in found] == ["Temperature at its bound"] * weak


@pytest.mark.parametrize(
    ("values", "high", "said"),
    [
        ((-0.02, -0.0501), -0.01, "Contrast + 20 % takes 0.050 (0.010 to 0.090) of the AUC of cnn, on 100 development"),
        ((-0.02, -0.0499), -0.01, None),  # little
        ((-0.02, -0.07), 0.0, None),  # chance may explain it
        ((-0.02, -0.07), None, None),  # patients are too few to tell
        ((0.2, 0.1), 0.3, None),  # a gain
        ((None, None), None, None),  # one class alone
    ],
)
def test_the_change_that_takes_the_most_is_named_from_a_twentieth_of_the_auc_on(
    values: tuple[float, float], high: float | None, said: str | None
) -> None:
    low = None if high is None else -0.09
    moved = tuple(
        Moved(change, Estimate(value, low, high), Estimate(0.1, None, None))
        for change, value in zip(("blurred by 1 pixel", "contrast + 20 %"), values, strict=True)
    )
    found = about_changes({"cnn": Robustness(100, 40, Estimate(0.9, 0.8, 0.95), moved, 3.0)})
    assert [one.code for one in found] == ([] if said is None else ["HT-W19"])
    assert all(one.meaning.startswith(str(said)) and not one.forbids_verdict for one in found)


def test_of_changes_that_cost_much_one_that_is_certain_is_named_before_a_larger_that_is_not() -> None:
    moved = (
        Moved("contrast + 20 %", Estimate(-0.08, -0.17, 0.01), Estimate(0.1, None, None)),
        Moved("saturation + 20 %", Estimate(-0.06, -0.08, -0.04), Estimate(0.1, None, None)),
    )
    (found,) = about_changes({"cnn": Robustness(100, 40, Estimate(0.9, 0.8, 0.95), moved, 3.0)})
    assert found.meaning.startswith("Saturation + 20 % takes 0.060 (0.040 to 0.080) of the AUC of cnn")
    assert about_changes({"cnn": Robustness(100, 40, Estimate(0.9, 0.8, 0.95), (), 3.0)}) == []
    one = Robustness(100, 40, Estimate(0.9, 0.8, 0.95), moved, 3.0)
    (both,) = about_changes({"cnn": one, "vgg16": one})
    assert both.meaning.endswith(
        " of cnn; saturation + 20 % takes 0.060 (0.040 to 0.080) of the AUC of vgg16, on 100 development patches."
    )


def test_fewer_folds_than_usual_are_named() -> None:
    assert about_folds(5) == []
    (found,) = about_folds(3)
    assert "for 5 folds, so there were 3: each member learned on about 2 of 3 parts" in found.meaning


def test_weaknesses_stand_on_the_first_page(data: ReportData, tmp_path: Path) -> None:
    from studies.report.page import write_report

    models = (replace(data.plan.models[0], temperature=20.0), *data.plan.models[1:])
    text = write_report(replace(data, plan=replace(data.plan, models=models)), tmp_path).read_text(encoding="utf-8")
    summary = text[text.index('<header id="summary">') : text.index("</header>")]
    assert "Temperature at its bound." in summary


def test_a_model_that_does_not_exceed_a_baseline_is_named() -> None:
    aucs = {"cnn": 0.892, "vgg16": 0.869, "colour histogram": 0.875}
    assert about_baselines({**aucs, "vgg16": 0.876}, ["cnn", "vgg16"], ["colour histogram"]) == []
    (found,) = about_baselines(aucs, ["cnn", "vgg16"], ["colour histogram", "another"])
    assert "vgg16's AUC of 0.869" in found.meaning
    assert "cnn" not in found.meaning
    assert not found.forbids_verdict


def test_what_was_changed_after_it_was_recorded_comes_first_and_forbids_a_verdict(data: ReportData) -> None:
    found = find(replace(data, broken=("the opening 1 was edited",)))
    assert found.weaknesses[0].name == "Changed records"
    assert "the opening 1 was edited" in found.weaknesses[0].meaning
    assert found.verdict.strength != "shows"


def test_looks_and_other_splits_are_named_where_they_taught_something() -> None:
    def look(kind: str) -> Look:
        return Look(kind, "shown by search.explore", 12, "host, process 1", datetime(2026, 11, 1, tzinfo=UTC))

    assert about_looks([]) == about_looks([look("prediction")]) == []
    assert "12 of the test patches were shown by search.explore" in about_looks([look("exploration")])[0].meaning
    assert about_other_splits([("3 of the test patients are in b (3 in test)", False)]) == []
    (found,) = about_other_splits([("3 in b", True), ("4 in c", False)])
    assert "3 in b" in found.meaning
    assert "4 in c" not in found.meaning


@pytest.mark.parametrize(("sealed", "weak"), [(0, False), (1, False), (2, True)])
def test_near_copies_weaken_from_a_hundredth_of_the_test_patches_on(sealed: int, weak: bool) -> None:
    assert bool(about_near_copies(sealed, 100)) == weak


def test_a_patient_with_most_of_the_test_patches_is_named_with_the_share() -> None:
    assert about_shares(["a"] * 5 + ["b"] * 5) == []
    assert about_shares(["a"] * 10) == []
    assert about_shares(()) == []
    (found,) = about_shares(["a"] * 6 + ["b"] * 4)
    assert found.meaning.startswith("60% of the test patches are of one patient, a:")
    assert found.meaning.endswith("mostly of this one."), "two patients have no interval that could be wide"
    (found,) = about_shares(["a"] * 6 + [*"bcde"])
    assert found.meaning.endswith("mostly of this one, and intervals over patients are wide.")
