"""What difference the test patients can show: from development patients, and only the number of the others."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_utils.split.prepare import DevelopmentSet, load_development, prepare
from search.trials.power import _carried, can_show
from studies.statistics.comparison import Difference
from studies.statistics.resampling import GROUPS


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentSet:
    folder: Path = tmp_path_factory.mktemp("data")
    prepared = prepare("synthetic:600", folder, name="power", fractions=(70, 15, 15), seed=0, lock=None)
    return load_development(prepared.development)


def told(line: str) -> float:
    return float(re.search(r"a difference of AUC of (0\.\d+) or more \(80 % power", line)[1])


def test_more_test_patients_show_a_smaller_difference(development: DevelopmentSet) -> None:
    few, many = (told(can_show(development, count, 5 * count)) for count in (20, 320))
    assert few / many == pytest.approx(4, rel=0.15), "by the root of their number, and by t"
    assert 0.005 < many < few < 0.5
    assert "18 test patients can show" in can_show(development, 18, 90)
    assert "development patients)" in can_show(development, 18, 90)


def test_too_few_test_patients_are_told(development: DevelopmentSet) -> None:
    assert can_show(development, 4, 20) == (
        "4 test patients are too few for any interval; give more patients, or --split more of them"
    )


def test_without_patient_ids_patches_are_counted_and_it_is_said_to_be_too_good(development: DevelopmentSet) -> None:
    line = can_show(replace(development, patients=None), 0, 90)
    assert line.startswith("90 test patches can show")
    assert "patients are unknown, so it takes more in truth" in line


def test_without_patient_ids_a_small_test_split_has_as_many_degrees_of_freedom_as_patches() -> None:
    of_groups = Difference("AUC", 0.0, standard_error=0.001, freedom=GROUPS - 1.0)  # 10,000 patches, dealt to groups
    found = _carried(of_groups, 150 / 10_000, min(150, GROUPS) / GROUPS)
    assert found.freedom == pytest.approx(149)
    assert found.standard_error == pytest.approx(0.001 * np.sqrt(10_000 / 150))


def test_one_patient_with_all_idc_tells_nothing(development: DevelopmentSet) -> None:
    assert development.patients is not None
    only = np.where(development.patients == development.patients[0], 1, 0).astype(np.int64)
    line = can_show(replace(development, labels=only), 18, 90)
    assert line == (
        "what difference 18 test patients can show cannot be told: too few development patients have both classes"
    )
