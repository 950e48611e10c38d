"""What a trial's value should be of: kinds are told apart, and ranked by what other seeds would deploy."""

import numpy as np
import pytest

from benchmarks import objective
from benchmarks._launch import Source, prepared
from benchmarks._networks import FOLDS, left_out, rows_of
from benchmarks.objective import Run, Value, ceiling, noise, others, row
from data_utils.split.prepare import load_development


def test_kinds_of_values():
    aucs = {1: 0.7, 2: 0.9, 3: 0.8, 4: 0.6}
    assert Value(0.0, 1, "last").of(aucs) == 0.6
    assert Value(0.0, 1, "best").of(aucs) == 0.9
    assert Value(0.0, 1, "mean of 3").of(aucs) == pytest.approx(2.3 / 3)
    assert Value(0.05, 2, "last").cells() == ["last", "5%", "2"]


def test_a_fold_left_out_shares_no_patient_with_training(tmp_path):
    development = load_development(prepared(Source("synthetic:400", ""), tmp_path).development)
    seen = []
    for number in range(FOLDS):
        learn, unseen = left_out(development, rows_of(development, "train"), number)
        assert set(development.part[np.concatenate([learn, unseen])]) == {"train"}
        assert not set(development.patients[learn]) & set(development.patients[unseen])
        seen.append(unseen)
    assert sorted(np.concatenate(seen)) == sorted(np.flatnonzero(development.part == "train"))


def run(deployed: float, rung: float, end: float) -> Run:
    """One that is never better between its rung and its end."""
    return Run({(0.0, 1, 3): rung, (0.0, 1, 12): end}, deployed, training=10.0, look=0.5)


def test_a_row_ranks_one_seeds_value_by_the_deployed_scores_of_the_others():
    runs = [
        [run(0.90, 0.5, 0.81), run(0.94, 0.5, 0.81)],  # deployed: seed 0 is to foretell .94, seed 1 is to foretell .90
        [run(0.92, 0.6, 0.83), run(0.92, 0.6, 0.83)],
        [run(0.91, 0.7, 0.82), run(0.90, 0.7, 0.80)],
    ]
    np.testing.assert_allclose(others(np.array([[0.90, 0.94], [0.92, 0.92]])), [[0.94, 0.90], [0.92, 0.92]])
    *names, noisy, rank, at_rung, gained, cost = row(Value(0.0, 1, "last"), runs)
    assert (names, noisy) == (["last", "no", "1"], f"{0.02 / np.sqrt(6):.4f}")  # of two seeds, their difference alone
    # Seed 0's values have the ranks 1, 3, 2 where they should have 3, 2, 1: -.5. Seed 1's 2, 3, 1 for 1, 3, 2: .5.
    assert [told.split()[0] for told in (rank, at_rung)] == ["0.00", "-0.25"]
    assert (gained, cost) == ("+0.0050", "10%")  # both seeds choose the second: .00 and .01 above the mean of three


def test_noise_is_what_neither_configurations_nor_folds_explain():
    rng = np.random.default_rng(0)
    configurations, folds = rng.normal(0, 0.007, (400, 1)), rng.normal(0, 0.01, (1, 3))
    assert noise(0.9 + configurations + folds) == pytest.approx(0, abs=1e-12)
    scores = 0.9 + configurations + folds + rng.normal(0, 0.01, (400, 3))
    assert noise(scores) == pytest.approx(0.01, rel=0.1)
    truth = np.corrcoef(configurations[:, 0], scores[:, :2].mean(axis=1))[0, 1]
    assert ceiling(scores) == pytest.approx(truth, abs=0.07)
    assert ceiling(rng.normal(0, 1, (3, 1)) * 0 + np.array([[1.0, 2.0]])) == 0.0


@pytest.mark.parametrize(
    "typed", [["--seeds", "1"], ["--seeds", "6"], ["--configurations", "2"], ["--epochs", "2"], ["--fixed", "with=1"]]
)
def test_what_cannot_be_asked_is_refused(typed, capsys):
    with pytest.raises(SystemExit) as ended:
        objective.main(typed)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_table_is_of_networks_that_were_trained(capsys):
    fixed = "width=8,kernel=3,depth=1"
    asked = ["--configurations", "3", "--seeds", "2", "--epochs", "4", "--fixed", fixed, "--data", "synthetic:400"]
    assert objective.main(asked) == 0
    printed = capsys.readouterr().out
    assert "synthetic:400; 3 configurations, 2 seeds, 4 epochs, width=8,kernel=3,depth=1" in printed
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]
    assert [row[:3] for row in cells] == [kind.cells() for kind in objective.KINDS]
    assert all(-1 <= float(rank.split()[0]) <= 1 and abs(float(gained)) < 1 for *_, rank, _, gained, _ in cells)
