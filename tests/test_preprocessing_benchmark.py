"""The comparison of preprocessings: rows are scored by networks that never saw their patients, and paired with none."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import preprocessing
from benchmarks.preprocessing import ARMS, NONE, Arm, Job, Scores
from data_utils.readers.patches import PatchSet


@pytest.fixture
def kept(tmp_path: Path) -> PatchSet:
    return preprocessing.write("synthetic:120", tmp_path)


def job(arm: Arm, seed: int, fold: int, folder: Path) -> Job:
    return Job(arm, seed, fold, folds=2, epochs=1, layout="contiguous", folder=folder)


def test_a_job_scores_the_patients_that_it_held_out(kept: PatchSet, tmp_path: Path) -> None:
    found = [preprocessing.run(job(Arm("Macenko", "macenko"), 0, fold, tmp_path)) for fold in range(2)]
    assert kept.patients is not None
    assert not set(kept.patients[found[0].rows]) & set(kept.patients[found[1].rows])
    assert sorted(np.concatenate([one.rows for one in found])) == list(range(len(kept)))
    assert all(np.isfinite([one.network, one.colour]).all() for one in found)


def test_the_table_pairs_every_arm_with_none(kept: PatchSet, tmp_path: Path) -> None:
    assert kept.labels is not None
    rng = np.random.default_rng(0)
    halves = np.array_split(rng.permutation(len(kept)), 2)
    noise = rng.normal(size=len(kept))
    found = []
    for arm in ARMS:
        skill = 5.0 if arm.name == "Macenko" else 0.5
        logits = skill * kept.labels + noise
        for seed in range(2):
            for fold, rows in enumerate(halves):
                scores = Scores(rows, logits[rows], noise[rows], seconds=2.0)
                found.append((job(arm, seed, fold, tmp_path), scores))
    rows = {row.arm.name: row for row in preprocessing.rows_of(found, kept)}
    assert rows["none"].auc_difference.value == 0
    assert rows["Reinhard"].auc_difference.value == 0
    better = rows["Macenko"].auc_difference
    assert better.low is not None
    assert better.low > 0.1
    assert rows["Macenko"].seconds == 8
    lines = preprocessing.table(list(rows.values())).splitlines()
    assert len(lines) == 2 + len(ARMS)
    assert {line.count("|") for line in lines} == {8}
    assert lines[2].startswith(f"| {NONE.name} | 0.")
