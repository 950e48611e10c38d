"""The comparison in two sentences that never claim more than the data can bear. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from studies.findings.weaknesses import FEW, MADE_UP, Weakness
from studies.statistics.comparison import Comparison
from studies.statistics.metrics import Estimate

LEVEL = 0.05
LARGEST = 0.5
"""Difference of AUC between a perfect score and a random one."""


@dataclass(frozen=True)
class Verdict:
    """What the test split says.

    Attributes:
        winner: the model with the higher AUC, where a difference was found.
        strength: "shows", "suggests" or "none".
        headline, detail: one sentence each.
    """

    winner: str | None
    strength: str
    headline: str
    detail: str


def judge(
    comparisons: Sequence[Comparison], estimates: Sequence[tuple[str, Estimate]], doubts: Sequence[Weakness]
) -> Verdict:
    """The verdict over all models.

    Args:
        comparisons: every pair, in the order of ``compare_all``.
        estimates: (model, AUC on the test split).
        doubts: what weakens the claim.
    """
    if not comparisons:
        return _alone(*estimates[0], doubts)
    best = max(estimates, key=lambda pair: -1.0 if pair[1].value is None else pair[1].value)[0]
    against = [
        pair if pair.first == best else _turned(pair) for pair in comparisons if best in (pair.first, pair.second)
    ]
    if all(_significant(pair) for pair in against):
        return _won(best, against, doubts)
    return _undecided(best, against, doubts)


def _turned(pair: Comparison) -> Comparison:
    """The same comparison seen from the other side (only what the verdict reads)."""
    one = pair.primary
    value, low, high = (None if number is None else -number for number in (one.value, one.high, one.low))
    return replace(pair, first=pair.second, second=pair.first, primary=replace(one, value=value, low=low, high=high))


def _significant(pair: Comparison) -> bool:
    return pair.primary.p_holm is not None and pair.primary.p_holm < LEVEL


def _alone(name: str, auc: Estimate, doubts: Sequence[Weakness]) -> Verdict:
    where = _where(doubts)
    if auc.value is None:
        headline = f"{name} could not be judged: the test split{where} holds one class only."
        return Verdict(None, "none", headline, "There was no second model to compare it with.")
    few = any(doubt.name == FEW for doubt in doubts)
    split = f"a test split of too few patients to be sure of it{where}" if few else f"the test split{where}"
    headline = f"{name} reached an AUC of {_number(auc.value)}{_interval(auc.low, auc.high)} on {split}."
    return Verdict(None, "none", headline, "There was no second model to compare it with.")


def _won(best: str, against: Sequence[Comparison], doubts: Sequence[Weakness]) -> Verdict:
    weak = any(doubt.forbids_verdict for doubt in doubts)
    others = _join([pair.second for pair in against])
    how = f"The test split suggests that {best} separates" if weak else f"{best} separates"
    headline = f"{how} IDC from other tissue better than {others}{_where(doubts)}."
    gaps = _join([f"{_gap(pair)}{' over ' + pair.second if len(against) > 1 else ''}" for pair in against])
    detail = f"Its AUC is higher by {gaps}{_reservation(doubts)}."
    return Verdict(best, "suggests" if weak else "shows", headline, detail)


def _undecided(best: str, against: Sequence[Comparison], doubts: Sequence[Weakness]) -> Verdict:
    open_pairs = [pair for pair in against if not _significant(pair)]
    others = _join([pair.second for pair in open_pairs])
    headline = f"No difference was found between {best} and {others}{_where(doubts)}."
    pair = min(open_pairs, key=lambda one: abs(one.primary.value or 0.0))
    gap = f"The AUCs differ by {_gap(pair)}"
    if pair.primary.standard_error is None:
        return Verdict(None, "none", headline, f"{gap}; the test split is too small to say how sure that is.")
    if pair.smallest_detectable == 0:
        return Verdict(None, "none", headline, f"{gap}: both give every patch the same score.")
    if pair.smallest_detectable is None or pair.smallest_detectable > LARGEST:
        return Verdict(None, "none", headline, f"{gap}; this test could not have seen even the largest difference.")
    seen = f"this test could have seen a difference of {_number(pair.smallest_detectable)} or more"
    return Verdict(None, "none", headline, f"{gap}; {seen}, so a smaller one cannot be excluded.")


def _gap(pair: Comparison) -> str:
    one = pair.primary
    return f"{_number(one.value)}{_interval(one.low, one.high, one.p_holm)}"


def _where(doubts: Sequence[Weakness]) -> str:
    return " on made-up patches" if any(doubt.name == MADE_UP for doubt in doubts) else ""


def _reservation(doubts: Sequence[Weakness]) -> str:
    reasons = [doubt.name[0].lower() + doubt.name[1:] for doubt in doubts if doubt.forbids_verdict]
    return f"; no more than a suggestion, because of: {', '.join(reasons)}" if reasons else ""


def _interval(low: float | None, high: float | None, p: float | None = None) -> str:
    if low is None or high is None:
        return ""
    tail = "" if p is None else f", p {_p(p)}"
    return f" (95\u00a0% interval {_number(low)} to {_number(high)}{tail})"


def _number(value: float | None) -> str:
    return "an unknown amount" if value is None else f"{value:.3f}".replace("-", "−")


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
