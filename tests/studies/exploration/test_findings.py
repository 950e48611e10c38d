"""Every finding states a condition that its own numbers fulfil: each rule at its edge, by the numbers as printed."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from studies.exploration.explored import Explored
from studies.exploration.findings import exploration_findings
from studies.exploration.numbers import ExplorationNumbers, summarise
from studies.statistics.metrics import Estimate
from tests.studies.exploration import made_up_exploration as made_up

EXPLORED = made_up.explored()
NUMBERS = summarise(EXPLORED)


def told(numbers: ExplorationNumbers, title: str, explored: Explored = EXPLORED) -> str | None:
    """What a finding of this title says was found; None where it is not among them."""
    return next((one.found for one in exploration_findings(explored, numbers) if one.title == title), None)


def with_totals(**changed: Any) -> ExplorationNumbers:
    return replace(NUMBERS, totals=replace(NUMBERS.totals, **changed))


def with_measure(name: str, **changed: Any) -> ExplorationNumbers:
    """One measure is changed; no other tells the classes apart or differs between patients."""
    flat = {
        key: replace(one, auc=0.5, between_patients=0.0, between_classes=0.0) for key, one in NUMBERS.measures.items()
    }
    return replace(NUMBERS, measures={**flat, name: replace(flat[name], **changed)})


def with_flag(name: str, patches: int, idc: float, others: float) -> ExplorationNumbers:
    none = {key: replace(one, patches=0) for key, one in NUMBERS.flags.items()}
    flag = replace(NUMBERS.flags[name], patches=patches, share={"IDC": idc, "not IDC": others})
    return replace(NUMBERS, flags={**none, name: flag})


@pytest.mark.parametrize(
    ("share", "title"),
    [
        (0.384, None),
        (0.3844, None),  # printed as 38.4 %
        (0.3846, "Another mixture than on slides"),
        (0.333, None),
        (0.332, "Unequal classes"),
        (0.184, "Unequal classes"),
        (0.183, "Another mixture than on slides"),
    ],
)
def test_the_mixture_of_classes(share: float, title: str | None) -> None:
    numbers = with_totals(share=share)
    for name in ("Another mixture than on slides", "Unequal classes"):
        found = told(numbers, name)
        assert (found is not None) == (name == title)
        assert found is None or f"{100 * share:.1f} % of the patches have IDC" in found


def test_one_patch_a_patient_is_no_concentration() -> None:
    """Said wrongly once: "a few patients hold most patches: smallest 1, largest 1"."""
    patients = np.array([f"p{row}" for row in range(400)])
    alone = replace(EXPLORED, patients=patients, labels=(np.arange(400) % 10 == 0).astype(np.int64))
    numbers = summarise(alone)
    assert told(numbers, "A few patients hold most patches", alone) is None
    assert told(numbers, "Patients of one class", alone) is None
    assert told(numbers, "Scores rest on fewer patients than there are", alone) == (
        "Of 400 patients 40 have patches with IDC and 360 have others; by how unevenly each class falls on them, they "
        "count as 40.0 of equal weight."
    )


@pytest.mark.parametrize(("half", "some"), [(20, False), (19, True)])
def test_few_patients_hold_most_patches_where_a_fifth_of_them_does(half: int, some: bool) -> None:
    found = told(with_totals(patients=100, half=half, fewest=1, most=90), "A few patients hold most patches")
    said = "More than half of the patches are of 19 patients out of 100; the smallest has 1 patch, the largest 90."
    assert found == (said if some else None)


def test_how_many_patients_hold_more_than_half_is_counted_from_the_largest() -> None:
    sizes = [150, 60, 50, *[2] * 70]  # of 400: the largest two hold 210
    patients = np.repeat([f"p{place:02d}" for place in range(len(sizes))], sizes)
    totals = summarise(replace(EXPLORED, patients=patients)).totals
    assert (totals.half, totals.fewest, totals.most, totals.single) == (2, 2, 150, 0)
    even = summarise(replace(EXPLORED, patients=np.array([f"p{row % 4}" for row in range(400)]))).totals
    assert even.half == 3  # two hold a half, and no more


@pytest.mark.parametrize(("effective", "some"), [(10.0, False), (9.96, False), (9.94, True)])
def test_scores_rest_on_fewer_patients_below_a_half_of_them(effective: float, some: bool) -> None:
    found = told(with_totals(patients=20, effective=effective), "Scores rest on fewer patients than there are")
    assert (found is not None) == some
    assert found is None or "count as 9.9 of equal weight" in found


@pytest.mark.parametrize(("one_class", "some"), [(30, False), (31, True)])
def test_patients_of_one_class_are_told_among_those_with_several_patches(one_class: int, some: bool) -> None:
    found = told(with_totals(patients=110, single=10, one_class=one_class), "Patients of one class")
    assert found == ("21 of 100 patients with two patches or more have one class only." if some else None)


@pytest.mark.parametrize(("patients", "some"), [(20, False), (19, True)])
def test_few_patients(patients: int, some: bool) -> None:
    assert (told(with_totals(patients=patients), "Few patients") is not None) == some


@pytest.mark.parametrize(("auc", "some"), [(0.6494, False), (0.6496, True), (0.35, True), (0.351, False)])
def test_a_single_measure_tells_the_classes_apart(auc: float, some: bool) -> None:
    found = told(with_measure("haematoxylin", auc=auc), "Single measures tell the classes apart")
    assert (found is not None) == some
    assert found is None or found.startswith(f"Haematoxylin alone, {'higher' if auc > 0.5 else 'lower'} with IDC")
    assert found is None or float(re.findall(r"0\.\d+", found)[0]) >= 0.65


@pytest.mark.parametrize(
    ("name", "auc", "explained"),
    [("haematoxylin", 0.8, True), ("haematoxylin", 0.2, False), ("blue", 0.2, True), ("sharpness", 0.8, False)],
)
def test_nuclei_explain_a_measure_in_their_own_direction_only(name: str, auc: float, explained: bool) -> None:
    numbers = with_measure(name, auc=auc)
    means = next(
        one.means for one in exploration_findings(EXPLORED, numbers) if one.title.startswith("Single measures")
    )
    assert ("dense with nuclei" in means) == explained


@pytest.mark.parametrize(
    ("patients", "classes", "some"), [(0.1, 0.0, False), (0.101, 0.0, True), (0.2004, 0.2, False), (0.202, 0.2, True)]
)
def test_stain_differs_more_between_patients(patients: float, classes: float, some: bool) -> None:
    found = told(
        with_measure("eosin", between_patients=patients, between_classes=classes),
        "Stain differs more between patients than between classes",
    )
    assert (found is not None) == some
    assert found is None or f"eosin {100 * patients:.1f} % against {100 * classes:.1f} %" in found


@pytest.mark.parametrize(
    ("patches", "idc", "others", "some"),
    [
        (20, 0.01, 0.031, True),
        (20, 0.01, 0.03, False),
        (20, 0.01, 0.0304, False),
        (19, 0.0, 0.5, False),
        (20, 0.5, 0.0, True),
    ],
)
def test_patches_that_show_little_fall_on_one_class(patches: int, idc: float, others: float, some: bool) -> None:
    numbers = with_flag("blurred", patches, idc, others)
    found = told(numbers, "Blurred patches fall on one class")
    assert (found is not None) == some
    assert (
        found is None
        or found == f"{100 * idc:.1f} % of the patches with IDC are blurred, and {100 * others:.1f} % of the others."
    )
    assert told(numbers, "Patches that show little") == f"{patches} blurred, of 400."
    actions = [one.action for one in exploration_findings(EXPLORED, numbers) if one.section == "quality"]
    assert not [action for action in actions if "near_white" in action or "near-white" in action]


@pytest.mark.parametrize(("share", "some"), [(0.5, False), (0.5004, False), (0.501, True)])
def test_blue_above_red_is_told_where_most_patches_have_it(share: float, some: bool) -> None:
    channels = replace(NUMBERS.channels, judged=200, blue_over_red=share, red_over_green=1.0)
    found = told(replace(NUMBERS, channels=channels), "Red and blue may be exchanged")
    assert (found is not None) == some
    assert found is None or found.startswith("Blue exceeds red in 50.1 % of 200 patches that are neither")


@pytest.mark.parametrize(("share", "some"), [(0.5, False), (0.499, True)])
def test_green_above_red_is_told_where_most_patches_have_it(share: float, some: bool) -> None:
    channels = replace(NUMBERS.channels, judged=200, blue_over_red=0.1, red_over_green=share)
    found = told(replace(NUMBERS, channels=channels), "Not the colours of haematoxylin and eosin")
    assert (found is not None) == some
    assert found is None or found.startswith("Red exceeds green in 49.9 % of 200 patches")


def test_nothing_is_said_of_channels_where_no_patch_shows_colour() -> None:
    channels = replace(NUMBERS.channels, judged=0, blue_over_red=0.0, red_over_green=0.0)
    assert told(replace(NUMBERS, channels=channels), "Not the colours of haematoxylin and eosin") is None


@pytest.mark.parametrize(("highest", "dark"), [((0, 1, 255), 2), ((2, 255, 255), 0)])
def test_a_patch_without_a_level_above_one_is_told(highest: tuple[int, ...], dark: int) -> None:
    levels = np.full(400, 240, np.uint8)
    levels[: len(highest)] = highest
    numbers = summarise(replace(EXPLORED, highest=levels))
    said = f"{dark} of 400 patches have no level above 1 of 255."
    assert told(numbers, "Pixels of 0 and 1") == (said if dark else None)


@pytest.mark.parametrize(
    ("low", "title"),
    [
        (0.5, "Colour alone may be guessing"),
        (0.5001, "Colour alone gets this far"),
        (None, "Colour alone gets this far"),
    ],
)
def test_colour_gets_somewhere_where_its_interval_lies_above_a_half(low: float | None, title: str) -> None:
    auc = Estimate(0.7, low, None if low is None else 0.9)
    scores = (replace(NUMBERS.scores[0], auc=auc), *NUMBERS.scores[1:])
    found = [
        one.title for one in exploration_findings(EXPLORED, replace(NUMBERS, scores=scores)) if one.section == "alone"
    ]
    assert found == ["A sample was modelled", title]


def test_what_hangs_on_patients_is_worded_without_them() -> None:
    explored = made_up.without_patients()
    numbers = summarise(explored)
    assert "though not always of patients, that it had not seen" in (
        told(numbers, "Colour alone gets this far", explored) or ""
    )
    fewer = replace(explored, scored=(), doubts=None)
    assert "groups of near duplicates" in (told(summarise(fewer), "Too few patches to model", fewer) or "")


@pytest.mark.parametrize(
    ("across", "words", "crossing"), [(0, "all within a patient", False), (2, "2 of these cross patients", True)]
)
def test_near_duplicates_across_patients(across: int, words: str, crossing: bool) -> None:
    near = replace(NUMBERS.repetitions["near"], across=across)
    numbers = replace(NUMBERS, repetitions={**NUMBERS.repetitions, "near": near})
    one = next(one for one in exploration_findings(EXPLORED, numbers) if one.title == "Nearly equal patches")
    assert words in one.found
    assert ("Across patients" in one.means) == ("cross patients" in one.action) == crossing
