"""The benchmarks themselves: all there, verdicts and exit codes right, peers that do the work they are timed for."""

import math
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.storages import RDBStorage
from rich.console import Console
from sklearn.metrics import roc_auc_score
from torchvision.transforms import v2

from benchmarks import (
    _launch,
    coverage,
    data,
    objective,
    overhead,
    pays,
    peer_optuna,
    peer_training,
    peer_tune,
    quality,
    run,
    speedrun,
    training,
)
from benchmarks._networks import two_at_a_time
from benchmarks._races import Climb, Way, by_luck, paired, race
from benchmarks._report import LIMIT, OK, SHORT, Limit, Result, exit_code, load_limits, verdict
from data_utils.colour.augment import VIEWS, dihedral
from models._registry import load_model
from search.command.settings import LaunchSettings
from studies.measure import NOW
from studies.statistics.resampling import resample
from studies.storage.studies import make_pruner

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("peer_tune", "peer_optuna", "peer_training")

NO_LIMITS: dict[str, Limit] = {}
LIMITS = {"training": Limit(1.1, "arithmetic", "a profile")}


def ratio(value: float, **more) -> Result:
    return Result("training", value, 1.2, **more)


def test_every_benchmark_is_run_and_explained():
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py")}
    assert {name for name, text in scripts.items() if "\ndef measure(" in text} == set(run.BENCHMARKS)
    guide = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert [name for name in (*run.BENCHMARKS, *PEERS) if f"benchmarks/{name}.py" not in guide] == []


@pytest.mark.parametrize("name", run.BENCHMARKS)
def test_every_benchmark_says_what_it_compares_and_can_be_run_alone(name):
    source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    assert f"python -m benchmarks.{name} [--full]" in source.split('"""')[1]
    assert "def measure(full: bool) -> list[Result]:" in source
    assert source.endswith('if __name__ == "__main__":\n    sys.exit(main(measure, __doc__))\n')


def test_what_is_wanted_is_ok_whatever_the_limit():
    assert verdict(ratio(1.2), NO_LIMITS) == OK
    assert verdict(ratio(1.3), LIMITS) == OK


def test_less_falls_short_unless_it_is_at_a_measured_limit():
    assert verdict(ratio(1.19), NO_LIMITS) == SHORT
    assert verdict(ratio(1.1), LIMITS) == LIMIT
    assert verdict(ratio(1.0), LIMITS) == LIMIT, "within the noise of the limit"
    assert verdict(ratio(0.98), LIMITS) == SHORT, "worse than the limit"


def test_a_figure_that_should_be_small_is_judged_the_other_way_round():
    def seconds(value):
        return Result("training", value, 1.0, unit="s", at_least=False)

    assert [verdict(seconds(value), LIMITS) for value in (1.0, 1.2, 1.22)] == [OK, LIMIT, SHORT]


def test_a_figure_whose_conditions_are_broken_is_never_ok():
    assert verdict(ratio(9.0, sound=False), LIMITS) == SHORT
    assert verdict(ratio(math.nan), LIMITS) == SHORT


def test_the_exit_code_is_1_where_a_figure_falls_short_or_none_is_there():
    assert exit_code([ratio(1.3), ratio(1.1)], LIMITS) == 0
    assert exit_code([ratio(1.3), ratio(0.5)], LIMITS) == 1
    assert exit_code([], LIMITS) == 1


def test_a_line_ends_in_its_verdict():
    line = ratio(1.1, detail="n = 3").line(LIMITS)
    assert line == "training: 1.1 x, wanted at least 1.2 x (n = 3): limit"


def test_the_limits_can_be_read_and_each_needs_its_profile(tmp_path):
    assert all(limit.profile.strip() for limit in load_limits().values())
    lame = tmp_path / "limits.toml"
    lame.write_text('[training]\nmeasured = 1.1\nwhy = "arithmetic"\n')
    with pytest.raises(ValueError, match=r"\[training\] has no profile"):
        load_limits(lame)


def test_the_table_takes_its_place_in_its_page_and_touches_nothing_else():
    page = f"before\n{run.BEGIN}\nold\n{run.END}\nafter\n"
    assert run.written(page, "new") == f"before\n{run.BEGIN}\nnew\n{run.END}\nafter\n"
    with pytest.raises(ValueError, match="no place for the table"):
        run.written("nothing", "new")
    assert "| training |" in run.written(run.PAGE.read_text("utf-8"), run.table([ratio(1)], LIMITS, ["x"]))


def test_a_benchmark_that_fails_is_a_figure_that_falls_short(capsys):
    (result,) = run.run_one("not_there", full=False)
    assert "ModuleNotFoundError" in result.detail
    assert "no number" in result.line(LIMITS)
    assert exit_code([result], LIMITS) == 1


def test_a_pace_is_counted_from_the_first_end_to_the_last():
    assert _launch.pace([10.0, 12.0, 11.0]) == 1.0
    with pytest.raises(ValueError, match="at least 2 trials"):
        _launch.pace([1.0])


def test_overhead_counts_each_worker_from_the_end_of_its_first_trial():
    begun = datetime(2026, 1, 1)  # noqa: DTZ001 - Optuna stores naive times

    def trial(worker, start, end, seconds):
        return optuna.trial.FrozenTrial(
            number=0,
            trial_id=0,
            state=optuna.trial.TrialState.COMPLETE,
            value=0.5,
            datetime_start=begun + timedelta(seconds=start),
            datetime_complete=begun + timedelta(seconds=end),
            params={},
            distributions={},
            user_attrs={"worker": worker, "seconds": seconds},
            system_attrs={},
            intermediate_values={},
        )

    trials = [trial("a", 0, 20, 8), trial("b", 0, 30, 16), trial("a", 20, 30, 9), trial("b", 30, 40, 9)]
    found = overhead.spent(trials)
    assert (found.time, found.work) == (20, 18)
    assert found.share == pytest.approx(0.1)
    assert found.whole_share == pytest.approx(1 - 42 / 80)
    with pytest.raises(RuntimeError, match="no worker finished 2 trials"):
        overhead.spent(trials[:2])


def test_two_sides_agree_while_their_means_are_within_the_spread_of_their_seeds():
    assert training.same_auc([0.90, 0.92, 0.94], [0.91, 0.91, 0.91])
    assert not training.same_auc([0.90, 0.91, 0.92], [0.94, 0.95, 0.96])


def test_the_best_value_of_a_database_is_read_past_optuna(tmp_path):
    path = tmp_path / "studies.db"
    assert quality.so_far(path) == (0.0, 0)
    storage = RDBStorage(f"sqlite:///{path}")
    study = optuna.create_study(storage=storage, direction="maximize")
    assert quality.so_far(path) == (0.0, 0)
    trial = study.ask()
    trial.report(0.7, 1)
    trial.report(0.6, 2)
    assert quality.so_far(path) == (0.7, 2)
    storage.remove_session()


def test_a_climb_is_the_best_so_far():
    curves = [_launch.Curve((101, 103, 106), (0.5, 0.8, 0.9)), _launch.Curve((102, 104, 107), (0.6, 0.9, 0.7))]
    climb = quality.climb_of_curves(curves, began=100, seconds=10)
    assert climb == Climb(((1, 1, 0.5), (2, 2, 0.6), (3, 3, 0.8), (4, 4, 0.9)), 10, 6)
    assert climb.best == 0.9
    assert climb.way_to(0.7) == Way(3, 3, reached=True)
    assert climb.way_to(0.95) == Way(10, 6, reached=False)


def test_time_to_quality_counts_what_was_spent_in_vain_and_no_race_of_a_search_to_its_own_best():
    theirs = [Climb(((20, 5, 0.8), (60, 9, 0.9)), 100, 20), Climb(((30, 8, 0.8),), 100, 20)]
    ours = [Climb(((10, 5, 0.8), (30, 9, 0.9)), 30, 9), Climb(((20, 9, 0.8),), 100, 30)]
    assert race(ours, theirs[:1]).seconds == 130
    found = quality.result(ours, theirs)
    assert found.value == pytest.approx((20 + 100) / ((10 + 20 + 30 + 100) / 3))
    assert "ours 53 s or 18 epochs, 3 of 4 reached; Tune 120 s or 25 epochs, 1 of 2 reached" in found.detail
    assert race(ours, theirs).against_setters == pytest.approx((30 / 20 + 60 / 30) / 2)
    nowhere = [Climb((), 100, 30)]
    assert verdict(quality.result(nowhere, theirs), NO_LIMITS) == SHORT


def test_luck_alone_makes_equal_searches_equal_and_less_than_their_pace_of_faster_ones():
    low, middle, high = by_luck(1, seeds=8)
    assert low < 0.7 < 0.9 < middle < 1.1 < 1.4 < high
    assert 1.7 < by_luck(2.5, seeds=8)[1] < 2.3


def test_two_samplers_are_compared_by_the_races_of_the_same_seeds():
    def to(*seconds: float) -> list[Climb]:
        return [Climb(((one, 5, 0.9),), one, 5) for one in seconds]

    setters, slow, fast = to(100, 100), to(20, 60, 40), to(10, 30, 20)
    assert paired(fast, slow, setters) == (2, 2, 2)
    low, middle, high = paired(to(10, 60, 20), to(60, 10, 20), setters)
    assert low < 0.7 < middle < 1.5 < high, "one seed each way tells nothing"
    assert paired([Climb((), 100, 5)], to(20), setters) == (0, 0, 0), "reached nothing"
    assert quality.beside(fast, slow, setters) == (
        "  prior: 20 s or 5 epochs, 6 of 6 reached; as fast as tpe: 2.00 x (2.0 to 2.0)"
    )
    assert quality.beside(fast, [Climb((), 100, 5)], setters).endswith("no figure, as tpe reached nothing")
    assert LaunchSettings.sampler == quality.SAMPLER


def test_mapped_patches_are_found_among_the_mappings_of_this_process(tmp_path):
    np.save(tmp_path / "pixels.npy", np.ones(8 * data.MIB, np.uint8))
    before = data.patches_memory()
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    assert mapped.max() == 1
    assert data.patches_memory() - before == pytest.approx(8, rel=0.01)
    assert data.private_memory() > 1


def test_coverage_is_told_of_every_interval_and_of_what_it_is_compared_to(monkeypatch, capsys):
    monkeypatch.setattr(coverage, "OF_THE_TRUTH", 300)
    coverage.main(["--runs", "2", "--patients", "12", "--designs", "equal"])
    lines = capsys.readouterr().out.splitlines()
    told = {
        line[:34].strip(): line[34:].split() for line in lines[lines.index("") :] if line.endswith(("0.50", "1.00"))
    }
    assert {"auc", "sensitivity", "brier", "calibration_slope", "difference of auc"} <= told.keys()
    assert "–" not in told["auc"], "ours, before, Obuchowski, percentiles, BCa"
    assert told["sensitivity"].count("–") == 1


def test_a_draw_sums_the_patches_of_the_patients_that_it_took():
    who, labels = np.repeat(["a", "b", "c", "d", "e"], [3, 1, 4, 1, 5]), np.arange(14) % 2
    resampling = resample(who, labels, 7, 0)
    values = np.random.default_rng(0).random(14)
    drawn = coverage.Draws.of(resampling)
    sums = [sum(values[resampling.clusters == k].sum() * times for k, times in enumerate(row)) for row in drawn.weights]
    assert drawn.sum_reduced(values) == pytest.approx(sums)


def test_configurations_begin_with_the_default_and_are_always_the_same():
    found = _launch.configurations("vgg16", 3, input_size=50)
    assert found[0] == {**load_model("vgg16").default, "input_size": 50}
    assert [params["input_size"] for params in found] == [50, 50, 50]
    assert found == _launch.configurations("vgg16", 3, input_size=50)


@pytest.fixture(scope="module")
def development(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    return _launch.prepared(_launch.Source("synthetic:120", ""), folder / "data").development


def test_the_peers_turn_patches_to_the_same_eight_views():
    patch = torch.arange(3 * 50 * 50).reshape(3, 50, 50).to(torch.uint8)
    torch.manual_seed(0)
    transform = v2.Compose([v2.RandomHorizontalFlip(), peer_training.QuarterTurn()])
    seen = {transform(patch).numpy().tobytes() for _ in range(200)}
    views = dihedral(patch.expand(VIEWS, 3, 50, 50), torch.arange(VIEWS))
    assert seen == {view.contiguous().numpy().tobytes() for view in views}


def test_the_peers_training_learns_and_scores_the_validation_patches(development):
    params = {**load_model("cnn").default, "width": 16, "depth": 1, "batch_size": 32}
    peer = peer_training.begin("cnn", params, development, None, epochs=3, seed=0)
    images, labels = next(iter(peer.train_loader))
    assert images.shape == (32, 3, 50, 50)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < images.max() <= 1
    assert labels.shape == (32,)
    losses = [peer_training.train_epoch(peer) for _ in range(3)]
    assert losses[-1] < losses[0]
    assert 0 <= peer_training.validate(peer) <= 1


def test_the_peers_score_what_a_search_of_ours_scores(development):
    params = {**load_model("cnn").default, "width": 16, "depth": 1, "batch_size": 32, "stain_jitter": 0.0}
    peer = peer_training.begin("cnn", params, development, None, epochs=40, seed=0, measure=NOW)
    peer_training.train_epoch(peer)
    found = peer_training.validate(peer)
    dataset = peer.validation_loader.dataset
    images = torch.stack([dataset[row][0] for row in range(len(dataset))])
    views = [dihedral(images, torch.full((len(images),), view)) for view in range(NOW.views)]
    with torch.no_grad():
        logits = torch.stack([peer.average.network.eval()(view) for view in views]).mean(dim=0)
    assert found == pytest.approx(roc_auc_score(dataset.labels, logits), abs=1e-12)
    learned = torch.nn.utils.parameters_to_vector(peer.network.parameters())
    assert not torch.equal(learned, torch.nn.utils.parameters_to_vector(peer.average.network.parameters()))


@pytest.mark.parametrize("epochs", range(1, 101))
def test_a_peer_s_rungs_are_ours_the_first_and_the_end(epochs):
    ours = make_pruner("sha", epochs)
    theirs = peer_optuna._pruner(peer_tune.PeerSearch("cnn", None, "none", trials=1, epochs=epochs))
    assert vars(theirs) == vars(ours)
    (bracket,) = peer_tune._asha(epochs)._brackets
    rungs = [rung for rung, _ in bracket._rungs if rung < epochs]
    assert rungs == [math.ceil(epochs / 4)] * (epochs > 1)


@pytest.mark.parametrize("peer", ["peer_tune", "peer_optuna"])
def test_a_peer_searches_and_writes_down_its_curves(peer, development, tmp_path):
    size = ("--trials", "2", "--epochs", "1", "--development", str(development), "--no-pruning")
    command = _launch.Command(f"benchmarks.{peer}", (*size, "--out", str(tmp_path / "curves.json")))
    command.seconds(tmp_path / "log")
    curves = _launch.read_curves(tmp_path / "curves.json")
    assert [len(curve.aucs) for curve in curves] == [1, 1]
    assert all(0 <= auc <= 1 for curve in curves for auc in curve.aucs)
    assert all(curve.times for curve in curves)


@pytest.mark.parametrize(
    ("main", "typed"),
    [(objective.main, []), (speedrun.main, ["width=16"]), (pays.main, ["few", "--folder", "results"])],
    ids=["objective", "speedrun", "pays"],
)
def test_patches_that_cannot_be_read_are_refused_in_one_line(main, typed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", np.zeros((4, 50, 50, 3), np.uint8))
    with pytest.raises(SystemExit) as ended:
        main([*typed, "--data", "X.npy"])
    assert ended.value.code == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("X.npy is one array; give the folder that holds X.npy and Y.npy: .")
    )


def test_networks_are_counted_in_a_log_and_kept_in_their_order():
    log = StringIO()
    assert two_at_a_time(abs, [(-number,) for number in range(25)], Console(file=log)) == list(range(25))
    assert [line for line in log.getvalue().splitlines() if "of 25" in line] == [
        "10 of 25 networks",
        "20 of 25 networks",
    ]
