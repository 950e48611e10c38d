"""What the report says of leaving patches open is what ``search.predict --abstain`` would have done."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from final_models import stored

from search.applied.abstaining import Abstaining
from search.comparison import OUT_OF_FOLD
from studies.findings.left_open import RATES, find_left_open
from studies.findings.predictions import save_predictions
from studies.records import ReportData
from studies.statistics.resampling import resample
from tests.studies import made_up


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return made_up.report_data(tmp_path_factory.mktemp("pictures"), trials=4, patients=24, draws=100)


def test_promises_are_those_of_abstain(data: ReportData, tmp_path: Path) -> None:
    test = data.test
    found = find_left_open(data, resample(test.patients, test.labels, 100, 0))
    assert list(found) == ["cnn", "vgg16", "ensemble"]
    assert found["ensemble"].promises == (), "no scores of it out of fold are kept"
    rows = data.out_of_fold["cnn"]
    kept = data.out_of_fold | {"ensemble": replace(rows, probabilities={"ensemble": rows.probabilities["cnn"]})}
    whole = find_left_open(replace(data, out_of_fold=kept), resample(test.patients, test.labels, 100, 0))["ensemble"]
    assert [one.rate for one in whole.promises] == list(RATES)
    (tmp_path / OUT_OF_FOLD).mkdir()
    save_predictions(data.out_of_fold["cnn"], tmp_path / OUT_OF_FOLD)
    model = stored(tmp_path, "cnn", {})
    assert [one.rate for one in found["cnn"].promises] == list(RATES)
    for one in found["cnn"].promises:
        sets = np.array(Abstaining.at(one.rate, model, tmp_path).sets(test.probabilities["cnn"]))
        open_ones = sets == "0 1"
        assert one.left_open == open_ones.sum()
        assert one.coverage == pytest.approx(1 - open_ones.mean())
        right = sets[~open_ones] == test.labels[~open_ones].astype(str)
        assert one.accuracy.value == pytest.approx(right.mean())
        holds = np.array([str(label) in one_set for label, one_set in zip(test.labels, sets, strict=True)])
        by_patient = [holds[test.patients == patient].mean() for patient in np.unique(test.patients)]
        assert one.held.value == pytest.approx(np.mean(by_patient))
        assert one.held.low is not None


def test_nothing_is_promised_without_patients_or_with_too_few_in_development(data: ReportData) -> None:
    test = data.test
    known = resample(test.patients, test.labels, 10, 0)
    rows = data.out_of_fold["cnn"]
    nobody = {"cnn": replace(rows, patients=np.full(len(rows.patients), ""))}
    assert find_left_open(replace(data, out_of_fold=nobody), known)["cnn"].promises == ()
    few = {"cnn": replace(rows, patients=np.array([f"p{k % 12}" for k in range(len(rows.patients))]))}
    assert [one.rate for one in find_left_open(replace(data, out_of_fold=few), known)["cnn"].promises] == [0.1]
