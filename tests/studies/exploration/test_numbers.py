"""An exploration in numbers and in words."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from studies.exploration.explored import Explored
from studies.exploration.findings import exploration_findings
from studies.exploration.numbers import share_between, summarise, tells_classes_apart
from tests.studies.exploration import made_up_exploration as made_up


def titles(explored: Explored) -> list[str]:
    return [one.title for one in exploration_findings(explored, summarise(explored))]


def test_totals_are_those_of_the_patches_and_of_their_patients() -> None:
    explored = made_up.explored()
    totals = summarise(explored).totals
    counts = np.unique(explored.patients, return_counts=True)[1]
    assert (totals.patches, totals.idc) == (400, explored.labels.sum())
    assert (totals.patients, totals.fewest, totals.most) == (20, counts.min(), counts.max())
    assert totals.one_class == 0
    assert totals.effective is not None
    assert 10 < totals.effective <= 20


def test_a_measure_is_told_by_class_and_its_variance_shared_out() -> None:
    explored = made_up.explored()
    found = summarise(explored).measures["eosin"]
    values = explored.measures["eosin"]
    assert found.mean["IDC"] == pytest.approx(values[explored.labels == 1].mean())
    assert found.quantiles["not IDC"].q95 == pytest.approx(np.quantile(values[explored.labels == 0], 0.95))
    assert found.auc == pytest.approx(roc_auc_score(explored.labels, values))
    assert found.between_patients is not None
    assert found.between_patients > found.between_classes > 0


@pytest.mark.parametrize(("between", "within", "share"), [(0.0, 1.0, 0.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.5)])
def test_the_share_of_variance_between_groups_is_not_raised_by_their_number(
    between: float, within: float, share: float
) -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(2000), 2)
    values = between * rng.normal(size=2000)[groups] + within * rng.normal(size=4000)
    assert share_between(values, groups) == pytest.approx(share, abs=0.05)


def test_the_share_of_variance_is_nothing_where_it_is_not_defined() -> None:
    assert share_between(np.ones(4), np.array([0, 0, 1, 1])) == 0
    assert share_between(np.arange(4.0), np.zeros(4, np.int64)) == 0
    assert share_between(np.arange(4.0), np.arange(4)) == 0


def test_repetitions_are_counted_in_groups_and_over_patients() -> None:
    explored = made_up.explored()
    patients, labels = explored.patients.copy(), explored.labels.copy()
    patients[[0, 1, 2]], patients[[4, 5]] = "p00", ["p01", "p02"]
    patients[[9, 10, 20]], labels[[0, 1, 2, 4, 5, 9, 10, 20]] = ["p03", "p03", "p04"], [0, 0, 0, 1, 0, 1, 1, 0]
    found = summarise(replace(explored, patients=patients, labels=labels)).repetitions
    exact, near = found["exact"], found["near"]
    assert (exact.groups, exact.members, exact.surplus, exact.across, exact.contradicting) == (2, 5, 3, 1, 1)
    assert (near.groups, near.members, near.surplus, near.across, near.contradicting) == (1, 3, 2, 1, 1)


def test_simple_models_have_an_interval_over_patients_and_a_score_a_fold() -> None:
    explored = made_up.explored()
    found = summarise(explored).scores
    labels = explored.labels[explored.modelled]
    for one, scored in zip(found, explored.scored, strict=True):
        assert one.auc.value == pytest.approx(roc_auc_score(labels, scored.logits))
        assert one.auc.low is not None
        assert one.auc.high is not None
        assert one.auc.low < one.auc.value < one.auc.high
        inside = scored.fold == 2
        assert one.folds[2] == pytest.approx(roc_auc_score(labels[inside], scored.logits[inside]))


def test_doubts_are_counted_by_label() -> None:
    explored = made_up.explored()
    assert explored.doubts is not None
    found = summarise(explored).doubts
    assert found is not None
    assert found.doubted == explored.doubts.doubted.sum() == found.idc + found.not_idc
    assert found.idc == explored.labels[explored.modelled[explored.doubts.doubted]].sum()


def test_each_patient_has_its_means_and_its_patches_that_show_little() -> None:
    explored = made_up.explored()
    third = summarise(explored).patients[2]
    own = explored.patients == third.patient
    assert third.patches == own.sum()
    assert third.means["green"] == pytest.approx(explored.measures["green"][own].mean())
    assert third.flagged["blurred"] == explored.flags["blurred"][own].sum()


def test_without_patient_ids_what_hangs_on_them_is_unknown_and_said_to_be() -> None:
    explored = made_up.without_patients()
    numbers = summarise(explored)
    assert numbers.totals.patients is None
    assert numbers.totals.effective is None
    assert numbers.patients == ()
    assert {one.across for one in numbers.repetitions.values()} == {None}
    assert {one.between_patients for one in numbers.measures.values()} == {None}
    findings = exploration_findings(explored, numbers)
    unknown = next(one for one in findings if one.title == "Patients are unknown")
    assert "cannot be known" in unknown.means
    equal = next(one for one in findings if one.title == "Equal patches")
    assert "whether they cross patients is unknown" in equal.found


def test_before_a_lock_it_is_said_that_test_patches_are_shown_and_after_it_is_not() -> None:
    assert titles(made_up.explored())[0] == "Every patch is shown"
    assert titles(made_up.explored(sealed=replace(made_up.SEALED, lock_digest="")))[0] == "No split is locked yet"
    assert "No split is locked yet" not in titles(made_up.explored(sealed=made_up.SEALED))


def test_what_other_comparisons_have_sealed_is_not_said_to_be_shown() -> None:
    exclusions = (("sealed for the test of one", 7), ("sealed for the test of two", 5), ("no patient id", 3))
    for sealed, title in ((None, "Every other patch is shown"), (replace(made_up.SEALED, lock_digest=""), "No split")):
        explored = made_up.explored(sealed=sealed, exclusions=exclusions)
        first = exploration_findings(explored, summarise(explored))[0]
        assert first.title.startswith(title)
        assert "but the 12 that other comparisons have sealed" in first.found


def test_every_kind_of_fault_is_found_and_each_finding_says_what_it_means_and_what_to_do() -> None:
    explored = made_up.explored()
    findings = exploration_findings(explored, summarise(explored))
    assert [one.title for one in findings] == [
        "Every patch is shown",
        "Left out",
        "Another mixture than on slides",
        "Single measures tell the classes apart",
        "Stain differs more between patients than between classes",
        "Patches that show little",
        "Near-white patches fall on one class",
        "Near-black patches fall on one class",
        "Blurred patches fall on one class",
        "Equal patches",
        "Equal patches with both labels",
        "Nearly equal patches",
        "A sample was modelled",
        "Colour alone gets this far",
        "Labels in doubt",
    ]
    assert all(min(len(one.found), len(one.means), len(one.action)) > 20 for one in findings)


@pytest.mark.parametrize(
    ("gap", "patients", "judges"), [(2.0, 40, True), (0.0, 40, False), (-2.0, 40, False), (2.0, 3, True)]
)
def test_a_model_judges_labels_where_the_interval_of_its_auc_lies_above_a_half(
    gap: float, patients: int, judges: bool
) -> None:
    rng = np.random.default_rng(4)
    labels = np.arange(400) % 2
    logits = rng.normal(gap * (labels - 0.5))
    owners = np.array([f"p{row // 2 % patients}" for row in range(400)])
    assert tells_classes_apart(labels, owners, logits) == judges


def test_nothing_is_found_where_there_is_nothing() -> None:
    rng = np.random.default_rng(3)
    explored = made_up.explored(patients=40, sealed=made_up.SEALED, exclusions=())
    assert explored.doubts is not None
    rows = np.arange(400)
    labels = (np.arange(400) % 20 < 7).astype(np.int64)
    clean = replace(
        explored,
        labels=labels,
        patients=np.array([f"p{row // 20}" for row in rows]),
        measures={name: rng.normal(size=400) + 10 * (name == "red") for name in explored.measures},
        flags={name: np.zeros(400, bool) for name in explored.flags},
        exact=rows,
        near=rows,
        whole=len(explored.modelled),
        doubts=replace(explored.doubts, doubted=np.zeros(len(explored.modelled), bool)),
    )
    assert titles(clean) == ["Colour alone may be guessing"]


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({"synthetic": True}, "Made-up patches"),
        ({"scored": (), "doubts": None}, "Too few patients to model"),
        ({"doubts": None}, "Labels cannot be judged on these patches"),
        ({"patients": np.array([f"p{row % 8}" for row in range(400)])}, "Few patients"),
        ({"patients": np.array([f"p{max(0, row - 360)}" for row in range(400)])}, "A few patients hold most patches"),
        ({"patients": np.array([f"p{row // 2}" for row in range(400)])}, "Patients of one class"),
        ({"labels": (np.arange(400) % 10 < 3).astype(np.int64)}, "Unequal classes"),
    ],
)
def test_other_faults_are_found_where_they_are(change: dict[str, Any], title: str) -> None:
    assert title in titles(replace(made_up.explored(), **change))
