"""What ``make test-newest`` installs and says."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("newest", ROOT / ".ci" / "newest.py")
newest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(newest)


def test_bounds_above_are_left_out_and_nothing_else():
    asked = ["optuna>=5.0,<5.1", "ray[tune]>=2.60,<2.61", "numpy>=2.0", "x>=1,<2; python_version < '3.12'"]
    pyproject = f"[project]\ndependencies = {asked}\n".replace("'3.12'", "3.12")
    assert newest.wanted(pyproject) == ["optuna>=5.0", "ray[tune]>=2.60", "numpy>=2.0", "x>=1; python_version < 3.12"]
    own = newest.wanted((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "optuna>=5.0" in own
    assert [one for one in own if "<" in one] == []


def test_what_differs_from_the_constraints_is_named_as_a_line_for_them():
    constraints = "# versions\na==1.0\nb-c==2.0\nd==3.0\n"
    installed = {"a": "1.1", "b-c": "2.0", "new": "0.1", "pip": "99", "histotune": "0.1.0"}
    assert newest.moved(constraints, installed) == ["a==1.1  # pinned: 1.0", "new==0.1  # pinned: not at all"]
    assert newest.moved(constraints, {"a": "1.0"}) == []
