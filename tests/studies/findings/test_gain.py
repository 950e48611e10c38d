"""The sentence about what a search has gained claims no more than its interval."""

import pytest

from studies.final_models import Gain
from studies.findings.gain import gained

OVER = "over the default configuration, out of fold"


def gain(value: float, low: float | None, high: float | None, *, patients: int = 196, reason: str = "") -> Gain:
    return Gain(("best", "default", "best", "best", "best"), value, low, high, reason, patients, 6534)


@pytest.mark.parametrize(
    ("one", "code", "words"),
    [
        (gain(0.007, 0.003, 0.011), "HT-G01", f"The search gained 0.007 AUC (0.003 to 0.011) {OVER}."),
        (
            gain(0.002, -0.001, 0.005),
            "HT-G03",
            f"The search gained nothing that 196 patients can show: 0.002 AUC (−0.001 to 0.005) {OVER}.",
        ),
        (
            gain(-0.002, -0.005, 0.001, patients=0),
            "HT-G03",
            "The search gained nothing that 6,534 patches of unknown patients can show: "
            f"−0.002 AUC (−0.005 to 0.001) {OVER}.",
        ),
        (
            gain(-0.007, -0.011, -0.003),
            "HT-G02",
            "The search lost 0.007 AUC (0.003 to 0.011) against the default configuration, out of fold.",
        ),
        (
            gain(0.01, None, None, reason="there are 4 patients; an interval takes 5"),
            "HT-G05",
            f"Whether the search gained anything cannot be said: 0.010 AUC {OVER}, without an interval, as there are 4 "
            "patients; an interval takes 5.",
        ),
        (
            Gain(("default",) * 5, 0.0, None, None, "it is the same without any one patient", 196, 6534),
            "HT-G04",
            "The search gained nothing: whichever fold is left out, the default configuration is the best.",
        ),
        (None, "", ""),
    ],
)
def test_a_gain_in_words(one: Gain | None, code: str, words: str) -> None:
    assert gained(one, "best") == (code, words)


@pytest.mark.parametrize("low", [-0.011, 0.001, None])
def test_a_search_that_ends_in_the_default_configuration_has_gained_nothing_and_lost_nothing(low: float | None) -> None:
    found = gain(-0.003, low, None if low is None else low + 0.01)
    assert gained(found, "default") == (
        "HT-G04",
        "The search gained nothing: by all folds together the default configuration is the best.",
    )
