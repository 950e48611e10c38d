"""An installed package of somebody else, with a model in it: the one of docs/adding-a-model.md, word for word."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "foreignlab"
TYPED, STORED = f"{PACKAGE}.nets:tiny", f"{PACKAGE}.nets.tiny"
EXAMPLE = (ROOT / "docs" / "adding-a-model.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


def install(folder: Path) -> Path:
    """Lays the package into a folder for the path; the model's file."""
    nets = folder / PACKAGE / "nets"
    nets.mkdir(parents=True)
    for package in (nets.parent, nets):
        (package / "__init__.py").write_text("")
    (nets / "tiny.py").write_text(EXAMPLE)
    return nets / "tiny.py"


def forget(*more: str) -> None:
    """Takes the package, and more of its kind, out of the modules of this process: the next one lies elsewhere."""
    for name in [name for name in sys.modules if name.partition(".")[0] in (PACKAGE, *more)]:
        del sys.modules[name]
