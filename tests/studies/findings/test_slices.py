"""A slice in which a model was made to err is found, and what was made of nothing is not called a finding."""

from dataclasses import replace

import numpy as np
import pytest

from studies.findings.slices import FEWEST_PATCHES, FEWEST_PATIENTS, SHOWN, Slices, find_slices
from studies.records import Predictions, ReportData
from studies.statistics.resampling import resample
from tests.studies import made_up


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return made_up.report_data(tmp_path_factory.mktemp("pictures"), trials=4, patients=60, draws=100)


def found_in(data: ReportData) -> Slices:
    found = find_slices(data, resample(data.test.patients, data.test.labels, 10, 0))
    assert found is not None
    return found


def wrong_where(rows: Predictions, dark: np.ndarray) -> Predictions:
    """The same, but cnn calls three of four dark patches wrongly, and of the others one in twenty."""
    rng = np.random.default_rng(5)
    wrong = rng.random(len(dark)) < np.where(dark, 0.75, 0.05)
    called = (rows.labels == 1) != wrong
    return replace(rows, probabilities={**rows.probabilities, "cnn": np.where(called, 0.9, 0.1)})


def test_a_planted_weakness_is_the_weakest_slice_and_was_weak_out_of_fold_as_well(data: ReportData) -> None:
    before = data.out_of_fold["cnn"]
    edge = np.quantile(before.brightness, 1 / 3)
    planted = replace(
        data,
        test=wrong_where(data.test, data.test.brightness <= edge),
        out_of_fold={**data.out_of_fold, "cnn": wrong_where(before, before.brightness <= edge)},
    )
    found = found_in(planted)
    weakest = found.weakest["cnn"]
    assert weakest[0].label.startswith("brightness, lowest third")
    assert weakest[0].stands_out
    assert weakest[0].development is not None
    assert (weakest[0].development.low or 0) > 0.5
    assert len(weakest) == SHOWN
    whole = next(one for one in weakest if one.label == "brightness, lowest third")
    inside = planted.test.brightness <= edge
    wrong = (planted.test.probabilities["cnn"] >= 0.33) != (planted.test.labels == 1)
    assert whole.patches == inside.sum()
    assert whole.errors.value == pytest.approx(wrong[inside].mean())
    assert whole.elsewhere == pytest.approx(wrong[~inside].mean())
    assert whole.more.value == pytest.approx(wrong[inside].mean() - wrong[~inside].mean())
    assert found.standing_out >= 1


def test_what_errs_alike_everywhere_has_no_slice_that_stands_out(data: ReportData) -> None:
    nowhere = np.zeros(len(data.test.labels), dtype=bool)
    even = wrong_where(data.test, nowhere)
    both = {**even.probabilities, "vgg16": even.probabilities["cnn"]}
    found = found_in(replace(data, test=replace(even, probabilities=both)))
    assert found.standing_out == 0
    assert found.looked_at > 100
    assert not any(one.stands_out for of in found.weakest.values() for one in of)
    assert all(one.more.low is not None for of in found.weakest.values() for one in of)


def test_slices_of_few_patients_are_not_looked_at(data: ReportData) -> None:
    for slices in found_in(data).weakest.values():
        assert all(one.patients >= FEWEST_PATIENTS and one.patches >= FEWEST_PATCHES for one in slices)
    test = data.test
    few = replace(test, patients=np.array([f"p{k % 7}" for k in range(len(test.labels))]))
    assert found_in(replace(data, test=few)).looked_at == 0
    unknown = replace(test, patients=np.full(len(test.labels), ""))
    assert find_slices(replace(data, test=unknown), resample(unknown.patients, unknown.labels, 10, 0)) is None
