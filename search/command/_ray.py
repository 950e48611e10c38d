"""Which Ray a command joins, where it was not told."""

from collections.abc import Mapping
from typing import Any

from search.command._flags import Asked

_OF_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Variable that Ray sets for its jobs, beside the address."""


def settle_ray(asked: Asked[Any], environ: Mapping[str, str]) -> None:
    """A job of a Ray (``ray job submit``) joins it: a second one beside it would share its cores."""
    values, about = asked.values, ("ray_address", "ray_temp_dir")
    if _OF_A_JOB in environ and not asked.given.keys() & set(about):
        values["ray_address"] = environ.get("RAY_ADDRESS")
    if all(values.get(name) for name in about):
        asked.refuse("--ray-temp-dir: a running Ray has a folder of its own; leave one of the two out", *about)
