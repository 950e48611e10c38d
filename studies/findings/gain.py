"""What a search has gained over the default configuration, in a sentence."""

from studies.final_models import Gain
from studies.findings.digits import decimal


def gained(gain: Gain | None, chosen: str, default: str = "default") -> tuple[str, str]:
    """Code of its kind and sentence, as of the report's first screen; "" where nothing is known.

    Args:
        gain: of the configurations that the other folds choose.
        chosen: the one that all folds together choose.
        default: the default one.
    """
    if gain is None:
        return "", ""
    if set(gain.chosen) == {default}:
        return "HT-G04", "The search gained nothing: whichever fold is left out, the default configuration is the best."
    if chosen == default:
        return "HT-G04", "The search gained nothing: by all folds together the default configuration is the best."
    over = "over the default configuration, out of fold"
    if gain.low is None or gain.high is None:
        told = f"{_number(gain.value)} AUC {over}, without an interval, as {gain.reason}"
        return "HT-G05", f"Whether the search gained anything cannot be said: {told}."
    if gain.low > 0:
        return "HT-G01", f"The search gained {_number(gain.value)} AUC ({_range(gain)}) {over}."
    if gain.high < 0:
        lost = f"{_number(-gain.value)} AUC ({_number(-gain.high)} to {_number(-gain.low)})"
        return "HT-G02", f"The search lost {lost} against the default configuration, out of fold."
    shown = f"{_number(gain.value)} AUC ({_range(gain)}) {over}"
    return "HT-G03", f"The search gained nothing that {_judges(gain)} can show: {shown}."


def _judges(gain: Gain) -> str:
    return f"{gain.patients:,} patients" if gain.patients else f"{gain.patches:,} patches of unknown patients"


def _range(gain: Gain) -> str:
    return f"{_number(gain.low)} to {_number(gain.high)}"


def _number(value: float | None) -> str:
    assert value is not None
    return decimal(value)
