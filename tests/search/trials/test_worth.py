"""What a dry run says of searches before: of the data that are most alike in size."""

import pytest

from search.trials.worth import BEFORE, worth


@pytest.mark.parametrize(
    ("patients", "patches", "like", "here"),
    [
        (12, 9000, BEFORE[0], "12 patients with 9000 patches"),
        (400, 300, BEFORE[-1], "400 patients with 300 patches"),
        (0, 300, BEFORE[0], "300 patches"),
        (0, 90_000, BEFORE[-1], "90000 patches"),
    ],
)
def test_the_data_that_are_most_alike_in_size_are_named(patients, patches, like, here) -> None:
    told = worth(patients, patches, models=1, idc=patches // 3)
    assert told.startswith(f"where searches had {like.patients} development patients with {like.patches} patches, ")
    assert f" patches, {like.alone} (LOG.md)" in told
    assert told.endswith(f"; here are {here}")


def test_of_an_ensemble_it_is_told_where_two_models_are_searched() -> None:
    assert BEFORE[-1].together in worth(150, 6000, models=2, idc=2000)
    assert "ensemble" not in worth(150, 6000, models=1, idc=2000)
    assert BEFORE[0].together in worth(20, 400, models=2, idc=100)


def test_of_rare_idc_it_is_told_where_it_is_rare() -> None:
    assert "one patch of eleven had IDC, cnn gained .004" in worth(150, 6000, models=1, idc=600)
    assert "one patch of eleven had IDC, the ensemble of both gained .010" in worth(150, 6000, models=2, idc=600)
    assert "one patch of eleven" not in worth(150, 6000, models=1, idc=1700)


def test_data_with_more_patients_have_more_patches() -> None:
    assert [one.patches for one in sorted(BEFORE, key=lambda one: one.patients)] == sorted(
        one.patches for one in BEFORE
    )
