"""Flags about the split: it is drawn, or taken from published lists."""

from search.command._flags import Asked, Settings

LISTS, DRAW = ("split_file", "unlisted"), ("split", "split_seed")
"""Fields of either kind."""


def check_split(asked: Asked[Settings]) -> None:
    """A split is drawn or published: flags of the other kind are refused, not forgotten."""
    values, about = asked.values, (*LISTS, *DRAW)
    if values["split_file"] is None:
        if values["unlisted"] != "error":
            other = "no lists are given; name them by --split-file, or leave it out"
            asked.refuse(f"--unlisted {values['unlisted']}: {other}", *about)
    elif asked.given.keys() & DRAW:
        asked.refuse("--split-file: the lists divide the patients; leave --split and --split-seed out", *about)
