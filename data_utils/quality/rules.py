"""The rules of cleaning by name: what ``--exclude`` takes, and what each means for the test.

None is on by default. Exact duplicates, doubled copies and patches of another size always leave (``cleaning``, the
readers); these rules are a choice, because each of them decides what a score speaks of. Nothing heavy is imported, so
that ``--help`` names them at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A rule that leaves patches out, in training, validation and test alike.

    Attributes:
        name: as ``--exclude`` takes it.
        reason: under which its patches are counted.
        easier: why the test becomes easier by it, as the end of a sentence; "" where it does not.
    """

    name: str
    reason: str
    easier: str = ""


NO_PATIENT = Rule("no_patient", "no patient id")
"""Not easier: without it such patches could stand in training and test as one patient's."""

NEAR_WHITE = Rule("near_white", "near-white: glass, no tissue")
"""Not easier: glass is called right by everything, so that the test becomes harder and IDC more frequent."""

NEAR_BLACK = Rule("near_black", "near-black: hidden by ink or shadow", "slides in use have ink and shadow as well")
BLURRED = Rule("blurred", "blurred: out of focus or empty", "slides in use are out of focus in places as well")
"""Easier: a logistic regression on colour, out of fold by patient on 9,291 real patches, takes 7 of the 14 blurred ones
for IDC, and 18 % of the other patches without IDC; it takes none of the 25 near-white ones for IDC."""

NEAR_DUPLICATE = Rule("near_duplicate", "near duplicate")
"""Not easier: the same tissue counts once, and where its labels contradict each other not at all, as by the rule for
exact duplicates, which is always on."""

RULES = (NO_PATIENT, NEAR_WHITE, NEAR_BLACK, BLURRED, NEAR_DUPLICATE)
"""In the order in which they are applied: a patch is counted under the first that meets it."""

RULE_NAMES = tuple(rule.name for rule in RULES)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """These names once each and in the order of ``RULES``, so that equal choices are equal.

    Raises:
        KeyError: a name that no rule has.
    """
    chosen = set(names)
    if unknown := chosen - set(RULE_NAMES):
        raise KeyError(f"no rule is called {', '.join(sorted(unknown))}; there are {', '.join(RULE_NAMES)}")
    return tuple(name for name in RULE_NAMES if name in chosen)


def easing(names: Iterable[str]) -> tuple[Rule, ...]:
    """Those of the named rules that make the test easier."""
    chosen = set(names)
    return tuple(rule for rule in RULES if rule.name in chosen and rule.easier)
