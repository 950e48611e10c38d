"""Test patients who do not look like the development patients are named, and how models fare on them is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from studies.errors import RecordError
from studies.findings.drift import find_drift
from studies.findings.measured import load_measures, save_measures, seen_in
from studies.records import ReportData
from tests.studies import made_up


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return made_up.report_data(tmp_path_factory.mktemp("pictures"), trials=4, patients=40, draws=100)


def changed(data: ReportData, patients: int, eosin: float) -> ReportData:
    """The same, with more eosin on the slides of the first test patients."""
    assert data.measured is not None
    test = data.measured[1].copy()
    test[np.isin(data.test.patients, np.unique(data.test.patients)[:patients]), 3] += eosin
    return replace(data, measured=(data.measured[0], test))


def test_patients_of_another_stain_are_outside_and_by_what_they_are(data: ReportData) -> None:
    usual = find_drift(data)
    found = find_drift(changed(data, 4, 0.3))
    assert usual is not None
    assert found is not None
    strange = {str(patient) for patient in np.unique(data.test.patients)[:4]}
    assert strange <= set(found.furthest)
    assert {found.furthest[patient] for patient in strange} == {"eosin"}
    assert usual.outside <= 6, "one in twenty of 40 by chance"
    assert found.outside == len(found.furthest)
    assert len(found.places) == 40 + 40


def test_a_shift_of_all_test_patients_is_told_in_standard_deviations(data: ReportData) -> None:
    found = find_drift(changed(data, 40, 0.02))
    assert found is not None
    shift = {one.measure: one.shift for one in found.shifts}
    assert shift["eosin"].low is not None
    assert shift["eosin"].low > 0
    before, now = (
        np.array([column[patients == one].mean() for one in np.unique(patients)])
        for column, patients in (
            (data.out_of_fold["cnn"].eosin, data.out_of_fold["cnn"].patients),
            (data.test.eosin + 0.02, data.test.patients),
        )
    )
    assert shift["eosin"].value == pytest.approx((now.mean() - before.mean()) / before.std(ddof=1))


def test_wrong_calls_are_means_over_patients_inside_and_outside(data: ReportData) -> None:
    found = find_drift(changed(data, 4, 0.3))
    assert found is not None
    test = data.test
    wrong = (test.probabilities["cnn"] >= test.thresholds["cnn"]) != (test.labels == 1)
    rates = {str(one): wrong[test.patients == one].mean() for one in np.unique(test.patients)}
    outside = [rates[one] for one in found.furthest]
    inside = [rate for one, rate in rates.items() if one not in found.furthest]
    cnn = found.errors["cnn"]
    assert (cnn.outside, cnn.inside) == pytest.approx((np.mean(outside), np.mean(inside)))
    assert cnn.difference.value == pytest.approx(np.mean(outside) - np.mean(inside))
    welch = stats.ttest_ind(outside, inside, equal_var=False).confidence_interval()
    assert (cnn.difference.low, cnn.difference.high) == pytest.approx((welch.low, welch.high))


def test_nothing_is_told_without_patients_or_with_too_few_of_them(data: ReportData) -> None:
    rows = data.out_of_fold["cnn"]
    few = replace(rows, patients=np.array([f"p{k % 18}" for k in range(len(rows.labels))]))
    assert find_drift(replace(data, out_of_fold={**data.out_of_fold, "cnn": few})) is None
    unknown = replace(data.test, patients=np.full(len(data.test.labels), ""))
    assert find_drift(replace(data, test=unknown)) is None


def test_an_opening_by_an_earlier_version_is_judged_by_what_it_kept(data: ReportData) -> None:
    found = find_drift(replace(data, measured=None))
    assert found is not None
    assert [one.measure for one in found.shifts] == ["brightness", "haematoxylin", "eosin"]


def test_measures_are_read_as_they_were_kept_and_those_of_other_patches_refused(
    data: ReportData, tmp_path: Path
) -> None:
    assert data.measured is not None
    assert load_measures(tmp_path, 3) is None
    save_measures(data.measured[1], tmp_path)
    count = len(data.test.labels)
    read = load_measures(tmp_path, count)
    assert read is not None
    assert np.array_equal(read, data.measured[1])
    assert np.array_equal(seen_in(data)[1]["brightness"], data.test.brightness)
    with pytest.raises(RecordError, match=rf"does not hold 5 measures of {count + 1} patches: put the original back"):
        load_measures(tmp_path, count + 1)
