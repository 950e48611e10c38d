"""Report: CPU seconds of all its numbers, and of the whole page, against those of a single interval by the textbook.

The made-up comparison of the tests (tests/studies/made_up.py): two models, an ensemble and a score with neighbours, 40
test patients of about 20 patches, as many development patients, 2,000 draws. The numbers are made by
`studies.findings.findings.find`; the page by `studies.report.page.write_report`: the numbers once more, their figures,
`report.html`, `report.json` and the tables. The peer is what a textbook does for one of these numbers, the interval of
the difference of AUC: patients are drawn with replacement 2,000 times, their patches collected, both AUCs computed by
scikit-learn. All three take turns in one process; CPU seconds are user and system, of all threads. Both intervals must
be about as wide, and the difference must lie in both.

    python -m benchmarks.report [--full]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks._launch import ROOT, scratch_folder
from benchmarks._report import Result, main
from studies.findings.findings import Findings, find
from studies.records import Predictions, ReportData
from studies.report.page import write_report

sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "studies")]  # as what is made up there imports its neighbours
import made_up

PATIENTS, DRAWS = 40, 2000
ROUNDS, FULL_ROUNDS = 3, 9
MODELS = ("cnn", "vgg16")
WANTED_NUMBERS, WANTED_PAGE = 7.0, 3.5
ABOUT_AS_WIDE = 1.5


def measure(full: bool) -> list[Result]:
    """Medians of a few rounds, after one that is not counted: imports and caches."""
    rounds = FULL_ROUNDS if full else ROUNDS
    with scratch_folder() as folder:
        data = made_up.report_data(folder / "pictures", patients=PATIENTS, draws=DRAWS)
        found, theirs = find(data), textbook(data.test)
        write_report(data, folder / "page")
        taken = [one_round(data, folder / "page") for _ in range(rounds)]
    numbers, page, peer = (median(side) for side in zip(*taken, strict=True))
    return results(numbers, page, peer, told(data, found, theirs, rounds), agree(found, theirs))


def results(numbers: float, page: float, peer: float, conditions: str, sound: bool) -> list[Result]:
    """Both figures of the table, from CPU seconds."""
    return [
        Result(
            f"report, {what}",
            peer / ours,
            wanted,
            detail=f"ours {ours:.2f} s, peer {peer:.2f}, {conditions}",
            sound=sound,
        )
        for what, ours, wanted in (("its numbers", numbers, WANTED_NUMBERS), ("its page", page, WANTED_PAGE))
    ]


def one_round(data: ReportData, folder: Path) -> tuple[float, float, float]:
    """CPU seconds of the numbers, of the page and of the peer."""
    return (
        cpu_seconds(lambda: find(data)),
        cpu_seconds(lambda: write_report(data, folder)),
        cpu_seconds(lambda: textbook(data.test)),
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process and all its threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def textbook(test: Predictions) -> tuple[float, float]:
    """The 95 % interval of the first model's AUC minus the second one's: a percentile bootstrap of patients."""
    rng = np.random.default_rng(0)
    own = [np.flatnonzero(test.patients == patient) for patient in np.unique(test.patients)]
    differences = []
    for _ in range(DRAWS):
        rows = np.concatenate([own[drawn] for drawn in rng.integers(len(own), size=len(own))])
        first, second = (roc_auc_score(test.labels[rows], test.logits[model][rows]) for model in MODELS)
        differences.append(first - second)
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)


def agree(found: Findings, theirs: tuple[float, float]) -> bool:
    """Whether both intervals hold the difference and are about as wide."""
    one = found.comparisons[0].primary
    assert one.value is not None
    assert one.low is not None
    assert one.high is not None
    low, high = theirs
    wider = (one.high - one.low) / (high - low)
    return low < one.value < high and 1 / ABOUT_AS_WIDE < wider < ABOUT_AS_WIDE


def told(data: ReportData, found: Findings, theirs: tuple[float, float], rounds: int) -> str:
    one = found.comparisons[0].primary
    split = f"{len(data.test.labels)} test patches of {found.test_split.patients} patients, {DRAWS} draws"
    intervals = f"{one.low:.3f} to {one.high:.3f} and {theirs[0]:.3f} to {theirs[1]:.3f}"
    return f"{split}; difference of AUC {intervals}; medians of {rounds}"


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
