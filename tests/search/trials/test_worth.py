"""What a dry run says of searches before: of the data that are most alike in size."""

import pytest

from search.trials.worth import BEFORE, worth


@pytest.mark.parametrize(
    ("patients", "patches", "like", "here"),
    [
        (12, 9000, BEFORE[0], "12 patients"),
        (400, 300, BEFORE[-1], "400 patients"),
        (0, 300, BEFORE[0], "300 patches"),
        (0, 90_000, BEFORE[-1], "90000 patches"),
    ],
)
def test_the_data_that_are_most_alike_in_size_are_named(patients, patches, like, here) -> None:
    told = worth(patients, patches)
    assert told.startswith(f"a search of {like.patients} development patients with {like.patches} patches gained ")
    assert told.endswith(f"; here are {here}")


def test_data_with_more_patients_have_more_patches() -> None:
    assert [one.patches for one in sorted(BEFORE, key=lambda one: one.patients)] == sorted(
        one.patches for one in BEFORE
    )
