"""The comparison in two sentences that never claim more than the data can bear. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from studies.comparison import Comparison
from studies.statistics import FEW_PATIENTS, Estimate

LEVEL = 0.05


@dataclass(frozen=True)
class Weakness:
    """Something that weakens the claim: a short name and what it means."""

    name: str
    meaning: str
    forbids_verdict: bool  # True: nothing stronger than "suggests" can be said


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


def weaknesses(
    *,
    patients: int,
    known: bool,
    synthetic: bool,
    openings: int,
    random_weights: Sequence[str],
    few_trials: bool = False,
) -> tuple[Weakness, ...]:
    """All that weakens the claim, most serious first.

    Args:
        patients: in the test split; of no meaning where they are not known.
        known: whether patients are known.
        synthetic: whether the patches are made up.
        openings: how often the test patches were read.
        random_weights: transfer-learned models that began from random weights.
        few_trials: whether a search ended with fewer complete trials than its default start-up.
    """
    found = []
    if synthetic:
        found.append(Weakness("Made-up patches", "The patches are synthetic: nothing here is about tissue.", False))
    if not known:
        meaning = (
            "Patches of one patient may lie in training and test alike, which flatters every score; intervals treat "
            "patches as independent and are a lower bound of the uncertainty."
        )
        found.append(Weakness("No patient ids", meaning, True))
    if known and patients < FEW_PATIENTS:
        meaning = f"The test split holds {patients} patients; below {FEW_PATIENTS} intervals are unreliable."
        found.append(Weakness("Few patients", meaning, True))
    if openings > 1:
        meaning = f"The test patches were read {openings} times; what changed in between may fit them by chance."
        found.append(Weakness("Test split reopened", meaning, True))
    if random_weights:
        meaning = f"{_join(random_weights)} began from random weights, not from pretrained layers."
        found.append(Weakness("Random initial weights", meaning, False))
    if few_trials:
        meaning = "At least one search has fewer than 10 complete trials: its best configuration is hardly a tuned one."
        found.append(Weakness("Short search", meaning, False))
    return tuple(found)


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
    headline = f"{name} reached an AUC of {_number(auc.value)}{_interval(auc.low, auc.high)} on the test split{where}."
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
    if pair.primary.standard_error is None:
        return Verdict(None, "none", headline, "The test split is too small for an interval of the difference of AUC.")
    gap = f"The AUCs differ by {_gap(pair)}"
    if pair.smallest_detectable == 0:
        return Verdict(None, "none", headline, f"{gap}: both give every patch the same score.")
    seen = f"this test could have seen a difference of {_number(pair.smallest_detectable)} or more"
    return Verdict(None, "none", headline, f"{gap}; {seen}, so a smaller one cannot be excluded.")


def _gap(pair: Comparison) -> str:
    one = pair.primary
    return f"{_number(one.value)}{_interval(one.low, one.high, one.p_holm)}"


def _where(doubts: Sequence[Weakness]) -> str:
    return " on made-up patches" if any(doubt.name == "Made-up patches" for doubt in doubts) else ""


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
