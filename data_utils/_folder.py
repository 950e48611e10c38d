"""Patches as PNG files: the public patient folder, and a zip of it that is never unpacked to disk."""

from pathlib import Path

from data_utils._patchset import PatchSet, Progress
from data_utils.errors import NotFoundError


def read_files(path: Path, source: str, *, labelled: bool, progress: Progress | None, into: Path | None) -> PatchSet:
    raise NotFoundError(f"{source} holds no X.npy")


def stamps(path: Path) -> list[tuple[str, int, int]]:
    raise NotFoundError(f"{path} holds no X.npy")
