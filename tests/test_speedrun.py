"""A speedrun: ways are read as they are typed, trained beside the default, and compared seed by seed."""

import pytest

from benchmarks import speedrun
from benchmarks.speedrun import Run, Way, row


def test_a_way_is_what_is_different():
    assert Way.read("width=16,epochs=8") == Way("width=16,epochs=8", {"width": 16}, 8)
    found = Way.read("residual=True,adamw_learning_rate=2e-3,activation=silu")
    assert (dict(found.params), found.epochs) == (
        {"residual": True, "adamw_learning_rate": 0.002, "activation": "silu"},
        12,
    )


@pytest.mark.parametrize("typed", ["with=16", "width", "width=", "epochs=x"])
def test_a_way_that_is_none_is_refused_in_one_line(typed, capsys):
    with pytest.raises(SystemExit) as ended:
        speedrun.main([typed])
    assert ended.value.code == 2
    assert f"error: '{typed}' is no NAME=VALUE of epochs, depth, width, " in capsys.readouterr().err


def test_a_row_compares_seed_by_seed():
    default = [Run(100.0, 0.90), Run(140.0, 0.94)]
    told = row(Way("width=16", {"width": 16}, 12), [Run(40.0, 0.91), Run(40.0, 0.93)], default)
    assert told == ["width=16", "12", "40", "0.9200", "+0.0000 ± 0.0100", "3.00 x"]


def test_the_default_and_a_way_are_trained(capsys):
    assert speedrun.main(["width=8,epochs=1", "--data", "synthetic:300", "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "synthetic:300; 1 seeds" in printed
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if " x " in line]
    assert [(name, epochs) for name, epochs, *_ in cells] == [("default", "12"), ("width=8,epochs=1", "1")]
    assert all(0 < float(auc) < 1 for _, _, _, auc, *_ in cells)
    assert cells[0][4:] == ["+0.0000 ± nan", "1.00 x"]
