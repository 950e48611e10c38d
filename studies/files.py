"""Text files that are never half there."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all: beside its place, then moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
