"""What finalists take for a patch: measured once, and frozen layers that members share counted once."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from models._registry import load_model
from search.final.candidates import Candidate
from search.final.speeds import keep_speeds, speeds_of, stored_speeds
from search.training.loop import EVALUATION_BATCH, count_parameters
from studies.speeds import Layers, NetworkSpeed, Speeds, evened, together


def finalist(model: str, label: str, **params: object) -> Candidate:
    return Candidate(model, label, 0, {**load_model(model).default, **params}, 0.9, 12, 12, f"{model}{label}{params}")


SMALL = {"depth": 1, "width": 16}


def measured(folder: Path, *wanted: Candidate, shared: bool = True, reported: bool = False) -> Speeds:
    by_model = {one.model: [each for each in wanted if each.model == one.model] for one in wanted}
    shares = dict.fromkeys(by_model, shared)
    about = {"side": 50, "device": "cpu", "precision": "fp32", "shares": shares, "reported": reported}
    return speeds_of(folder, by_model, **about)


def test_finalists_are_measured_once_on_a_machine_and_anew_where_they_are_others(tmp_path: Path) -> None:
    assert stored_speeds(tmp_path) is None
    first = measured(tmp_path, finalist("cnn", "best", **SMALL))
    assert (first.precision, first.networks[0].prefix_name) == ("fp32", "")
    model = load_model("cnn")
    network = model.build(model.configuration(finalist("cnn", "best", **SMALL).params), None)
    assert first.networks[0].rest.parameters == count_parameters(network)
    before = (tmp_path / "speeds.json").stat().st_mtime_ns
    assert measured(tmp_path, finalist("cnn", "best", **SMALL)) == first
    assert (tmp_path / "speeds.json").stat().st_mtime_ns == before
    wanted = finalist("cnn", "best", **SMALL), finalist("cnn", "default", depth=1, width=32)
    other = measured(tmp_path, *wanted, reported=True)
    small, large = other.networks
    assert small.rest.multiply_adds < large.rest.multiply_adds
    assert stored_speeds(tmp_path) == first, "an earlier report is of these"
    keep_speeds(tmp_path, other)
    assert stored_speeds(tmp_path) == measured(tmp_path, *wanted, reported=True) == other


def test_what_was_measured_is_kept_before_anything_is_chosen_by_it(tmp_path: Path) -> None:
    assert measured(tmp_path, finalist("cnn", "best", **SMALL)) == stored_speeds(tmp_path)


def network(label: str, name: str, milliseconds: float) -> NetworkSpeed:
    front = Layers(100, 1000, milliseconds)
    return NetworkSpeed("vgg16", label, f"key of {label}", Layers(3, 20, 0.1), front, name)


def test_the_same_layers_have_the_same_time_and_the_order_plays_no_part(tmp_path: Path) -> None:
    """Times as they were measured once, two of them twice as slow as two others."""
    slow, fast, other = network("best", "5", 22.5), network("default", "5", 12.9), network("finalist-2", "4", 17.2)
    speeds = evened(Speeds("here", 64, "fp32", (slow, other, fast)))
    assert [one.prefix.milliseconds for one in speeds.networks] == [12.9, 17.2, 12.9]
    assert [one.prefix.multiply_adds for one in speeds.networks] == [1000] * 3
    takes = {together([(one, 5) for one in order]).milliseconds for order in permutations(speeds.networks)}
    assert len(takes) == 1
    assert takes.pop() == pytest.approx(8 * (12.9 + 17.2 + 15 * 0.1))
    candidate = finalist("vgg16", "best", frozen_blocks=5, head_width=0)
    same = finalist("vgg16", "default", frozen_blocks=5, head_width=0, dropout=0.1)
    (one, twin), (again, _) = (measured(tmp_path, candidate, same).networks for _ in range(2))
    assert one.prefix == twin.prefix == again.prefix
    stored = stored_speeds(tmp_path)
    assert stored is not None
    noisy = replace(stored, networks=(replace(one, prefix=replace(one.prefix, milliseconds=1e9)), twin))
    keep_speeds(tmp_path, noisy)
    assert measured(tmp_path, candidate, same).networks[0].prefix == twin.prefix, "what an earlier version stored"


def test_a_frozen_front_is_measured_apart_unless_each_member_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EVALUATION_BATCH, "cpu", 4)
    candidate = finalist("vgg16", "best", frozen_blocks=4, head_width=0)
    (shared,) = measured(tmp_path / "a", candidate).networks
    assert shared.prefix_name
    assert shared.prefix.multiply_adds > shared.rest.multiply_adds > 0
    (alone,) = measured(tmp_path / "b", candidate, shared=False).networks
    assert alone.prefix_name == ""
    assert alone.rest.multiply_adds == shared.prefix.multiply_adds + shared.rest.multiply_adds
    assert alone.rest.parameters == shared.prefix.parameters + shared.rest.parameters


def test_a_shared_front_is_taken_once_by_all_members() -> None:
    front, nothing = Layers(100, 1000, 10.0), Layers(0, 0, 0.0)
    one, same = (NetworkSpeed("vgg16", label, "", Layers(3, 20, 1.0), front, "5") for label in ("best", "default"))
    other = NetworkSpeed("cnn", "best", "", Layers(7, 50, 2.0), nothing, "")
    assert together([(other, 5)]) == Layers(35, 8 * 250, 8 * 10.0)
    assert together([(one, 5)]) == Layers(515, 8 * (1000 + 100), pytest.approx(8 * (10 + 5)))
    assert together([(one, 5), (same, 5)]) == Layers(1030, 8 * (1000 + 200), pytest.approx(8 * (10 + 10)))
    assert together([(one, 1), (other, 1), (same, 1)]).multiply_adds == 8 * (20 + 50 + 20 + 1000)
