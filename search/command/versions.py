"""Which Optuna and Ray were tried: ``studies.storage._optuna`` and ``search.workers._ray`` use their private parts."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version

TRIED = {"optuna": "5.0", "ray": "2.60"}
"""The minor release of each; pyproject.toml asks for the same, and ``make test-newest`` tells of later ones."""


def tell_untried() -> None:
    """Says in one line on stderr which of them is another here: pip was overruled."""
    found = {name: _version(name) for name in TRIED}
    untried = [name for name, here in found.items() if here is not None and not _is(here, TRIED[name])]
    if untried:
        here = " and ".join(f"{name} {found[name]}" for name in untried)
        tried = " ".join(f'"{name}=={TRIED[name]}.*"' for name in untried)
        sys.stderr.write(
            f"warning: not tried with {here}, whose private parts are used: if something fails, go back with "
            f"pip install {tried}\n"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # importing it will say so
        return None


def _is(release: str, minor: str) -> bool:
    """Whether it is a release of that minor version: neither one before it (5.0.0rc1) nor a later one."""
    return re.fullmatch(rf"{re.escape(minor)}(\.\d+)*(\.post\d+)?(\+.*)?", release) is not None
