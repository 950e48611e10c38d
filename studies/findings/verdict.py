"""The comparison in a few sentences that never claim more than the data can bear. Pure functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from studies.findings.digits import decimal
from studies.findings.weaknesses import FEW, MADE_UP, Weakness
from studies.statistics.comparison import LARGEST, LEVEL, Comparison
from studies.statistics.metrics import Estimate

_ALIKE = {
    "scores": "both give every patch the same score",
    "ranking": "their scores differ, but both rank the patches in the same order",
    "separation": "both tell the classes of the test split apart without an error, so that no difference can show",
}


@dataclass(frozen=True)
class Verdict:
    """What the test split says.

    Attributes:
        code: of its kind (``findings.codes``).
        winner: the model with the higher AUC, where a difference was found.
        strength: "shows" or "suggests" of a claim, "none" where nothing is claimed.
        headline: one sentence.
        detail: the numbers behind it, a sentence or more.
        claim: "better" (the winner), "equivalent" or "not worse" (within a margin that was planned before), or "none".
    """

    code: str
    winner: str | None
    strength: str
    headline: str
    detail: str
    claim: str = "none"


def judge(
    comparisons: Sequence[Comparison],
    estimates: Sequence[tuple[str, Estimate]],
    doubts: Sequence[Weakness],
    margin: float | None = None,
) -> Verdict:
    """The verdict over all models.

    Args:
        comparisons: every pair, in the order of ``compare_all``.
        estimates: (model, AUC on the test split).
        doubts: what weakens the claim.
        margin: difference of AUC that was planned, before the opening, to be of no consequence; None for no such plan.
    """
    if not comparisons:
        return _alone(*estimates[0], doubts)
    best = max(estimates, key=lambda pair: -1.0 if pair[1].value is None else pair[1].value)[0]
    against = [
        pair if pair.first == best else _turned(pair) for pair in comparisons if best in (pair.first, pair.second)
    ]
    if all(map(_significant, against)):
        return _won(best, against, doubts, margin)
    pairs = [pair for pair in against if not _significant(pair)]
    if margin is not None and pairs == against and all(_within(pair, margin) for pair in comparisons):
        return _equivalent(best, pairs, doubts, margin)
    return _undecided(best, pairs, doubts, margin)


def _turned(pair: Comparison) -> Comparison:
    """The same comparison seen from the other side (only what the verdict reads)."""
    one = pair.primary
    value, low, high = (None if number is None else -number for number in (one.value, one.high, one.low))
    return replace(pair, first=pair.second, second=pair.first, primary=replace(one, value=value, low=low, high=high))


def _significant(pair: Comparison) -> bool:
    return pair.primary.p_adjusted is not None and pair.primary.p_adjusted < LEVEL


# Two one-sided tests at half the level each, which is to say: whether an end of the interval lies within the margin
# (Schuirmann 1987, doi:10.1007/BF01068419; non-inferiority at 2.5 % one-sided as ICH E9 has it).


def _not_worse(pair: Comparison, margin: float) -> bool:
    return pair.primary.low is not None and pair.primary.low > -margin


def _within(pair: Comparison, margin: float) -> bool:
    return _not_worse(pair, margin) and pair.primary.high is not None and pair.primary.high < margin


def _alone(name: str, auc: Estimate, doubts: Sequence[Weakness]) -> Verdict:
    where = _where(doubts)
    if auc.value is None:
        headline = f"{name} could not be judged: the test split{where} holds one class only."
        return Verdict("HT-V06", None, "none", headline, "There was no second model to compare it with.")
    few = [doubt.name.removeprefix(FEW) for doubt in doubts if doubt.name.startswith(FEW)]
    split = f"a test split of too few patients{few[0]} to be sure of it{where}" if few else f"the test split{where}"
    headline = f"{name} reached an AUC of {_number(auc.value)}{_interval(auc.low, auc.high)} on {split}."
    return Verdict("HT-V06", None, "none", headline, "There was no second model to compare it with.")


def _won(best: str, against: Sequence[Comparison], doubts: Sequence[Weakness], margin: float | None) -> Verdict:
    others = _join([pair.second for pair in against])
    headline = f"{_claimed(f'{best} separates', doubts)} IDC from other tissue better than {others}{_where(doubts)}."
    gaps = _join([f"{_gap(pair)}{' over ' + pair.second if len(against) > 1 else ''}" for pair in against])
    small = [pair.second for pair in against if margin is not None and _within(pair, margin)]
    of = "" if len(against) == 1 else f" over {_join(small)}" if small else ""
    planned = f" The lead{of} is below the margin of {margin:g} that was planned before." if small else ""
    detail = f"Its AUC is higher by {gaps}{_reservation(doubts)}.{planned}"
    return Verdict("HT-V01", best, _strength(doubts), headline, detail, "better")


def _equivalent(best: str, pairs: Sequence[Comparison], doubts: Sequence[Weakness], margin: float) -> Verdict:
    names = _join([best, *(pair.second for pair in pairs)])
    headline = f"{_claimed(f'{names} are equivalent', doubts)} within an AUC of {margin:g}{_where(doubts)}."
    within = f"the whole interval lies within the margin of {margin:g} that was planned before{_reservation(doubts)}"
    return Verdict("HT-V02", None, _strength(doubts), headline, _of_each(best, pairs, lambda _: within), "equivalent")


def _undecided(best: str, pairs: Sequence[Comparison], doubts: Sequence[Weakness], margin: float | None) -> Verdict:
    others, where = _join([pair.second for pair in pairs]), _where(doubts)
    if pairs[0].primary.value is None:
        headline = f"It cannot be said whether {best} and {others} differ{where}."
        return Verdict(
            "HT-V05", None, "none", headline, "The test split holds one class only, so that there is no AUC."
        )
    detail = _of_each(best, pairs, lambda pair: _open(pair, margin))
    if any(pair.primary.p is None and not pair.alike for pair in pairs):
        return Verdict("HT-V05", None, "none", f"It cannot be said whether {best} and {others} differ{where}.", detail)
    headline = f"No difference was found between {best} and {others}{where}"
    if margin is None or not all(_not_worse(pair, margin) for pair in pairs):
        return Verdict("HT-V04", None, "none", f"{headline}.", detail)
    claim = _claimed(f"{best} is not worse", doubts, inside=True)
    headline = f"{headline}; {claim} by more than an AUC of {margin:g}."
    return Verdict("HT-V03", None, _strength(doubts), headline, f"{detail[:-1]}{_reservation(doubts)}.", "not worse")


def _of_each(best: str, pairs: Sequence[Comparison], what: Callable[[Comparison], str]) -> str:
    """A sentence a pair; which one it is about is said where there are several."""
    if len(pairs) == 1:
        return f"The AUCs differ by {_gap(pairs[0])}; {what(pairs[0])}."
    return " ".join(f"{best} and {pair.second} differ by {_gap(pair)}; {what(pair)}." for pair in pairs)


def _open(pair: Comparison, margin: float | None) -> str:
    """What is known of a pair between which no difference was found; the end of its interval is what may yet be."""
    one = pair.primary
    if pair.alike and not one.standard_error:
        return _ALIKE[pair.alike]
    if one.standard_error == 0:
        return "that is the same whichever patient is taken away, so there is neither an interval nor a p"
    if one.low is None or one.high is None or pair.smallest_detectable is None:
        why = f" ({one.reason})" if one.reason else ""
        return f"the test split is too small to say how sure that is{why}"
    largest = max(-one.low, one.high)
    limits = (
        "" if margin is None or largest < margin else f", more than the margin of {margin:g} that was planned before"
    )
    seen = f"a difference of up to {_number(largest)} cannot be excluded{limits}"
    if largest >= 1:
        seen = "no difference whatever can be excluded"
    if pair.smallest_detectable > LARGEST:
        return f"{seen}, and such a test cannot find even the largest difference with 80\u00a0% power"
    found = f"Such a test finds a true difference of {_number(pair.smallest_detectable)} or more with 80\u00a0% power"
    return f"{seen}. {found}"


def _gap(pair: Comparison) -> str:
    """The difference; interval and p that hold for several pairs together say so."""
    one = pair.primary
    return f"{_number(one.value)}{_interval(one.low, one.high, one.p_adjusted, together=one.together)}"


def _weak(doubts: Sequence[Weakness]) -> bool:
    return any(doubt.forbids_verdict for doubt in doubts)


def _strength(doubts: Sequence[Weakness]) -> str:
    return "suggests" if _weak(doubts) else "shows"


def _claimed(claim: str, doubts: Sequence[Weakness], *, inside: bool = False) -> str:
    """A claim as the doubts allow it, at the beginning of a sentence or inside of one."""
    return f"{'the' if inside else 'The'} test split suggests that {claim}" if _weak(doubts) else claim


def _where(doubts: Sequence[Weakness]) -> str:
    return " on made-up patches" if any(doubt.name == MADE_UP for doubt in doubts) else ""


def _reservation(doubts: Sequence[Weakness]) -> str:
    reasons = [doubt.name[0].lower() + doubt.name[1:] for doubt in doubts if doubt.forbids_verdict]
    return f"; no more than a suggestion, because of: {', '.join(reasons)}" if reasons else ""


def _interval(low: float | None, high: float | None, p: float | None = None, *, together: bool = False) -> str:
    if low is None or high is None:
        return ""
    of_the_interval, of_p = ("simultaneous ", "adjusted ") if together else ("", "")
    tail = "" if p is None else f", {of_p}p {_p(p)}"
    return f" ({of_the_interval}95\u00a0% interval {_number(low)} to {_number(high)}{tail})"


def _number(value: float | None) -> str:
    return "an unknown amount" if value is None else decimal(value)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
