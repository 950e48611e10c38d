"""What is typed, and what is read as if it had been: database URLs, command lines, files of settings."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from search.command import settings
from search.command._arguments import storage_url
from soak._changes import TEXTS, Files, any_bytes, any_file

PARSERS: dict[str, Callable[..., object]] = {
    "launch": settings.parse_launch,
    "finalize": settings.parse_finalize,
    "report": settings.parse_report,
    "status": settings.parse_status,
    "predict": settings.parse_predict,
    "export": settings.parse_export,
    "dashboard": settings.parse_dashboard,
    "completion": settings.parse_completion,
}
_URLS = (
    "sqlite:///runs/studies.db", "sqlite:////x/y.db?timeout=5", "sqlite://user:pw@host/x", "sqlite:///:memory:", "sqlite://",
    "sqlite:///file:x.db?uri=true", "postgresql://u:p@127.0.0.1:5432/d", "postgresql://127.0.0.1:PORT/d", "postgresql://:@/d",
    "postgresql://u:p%40w@[::1]:5432/d?sslmode=x", "postgresql:///d?host=/tmp&port=abc", "postgresql+psycopg://u@HOST/d",
    "mysql://u:p@h/d", "postgres://u:secret@h/d", "://", "sqlite:///", "sqlite:///TEXT", "postgresql://u:TEXT@h/d",
)  # fmt: skip


def url(rng: Random, _files: Files) -> Files:
    """A storage URL, mostly one that names no database."""
    text = rng.choice(_URLS)
    for word in ("PORT", "HOST", "TEXT"):
        text = text.replace(word, rng.choice((*TEXTS, "0", "65536", "99999999999999999999", "a" * 64, "a..b", "h:h")))
    content = text.encode("utf-8", "surrogatepass")
    return {"url": any_bytes(rng, content) if rng.random() < 0.5 else content}


def read_url(place: Path) -> None:
    """Reads it as a flag, then as a database; a server is not asked, a file not made."""
    from sqlalchemy import create_engine

    from search.errors import UsageError
    from studies.storage.database_url import read_url

    text = (place / "url").read_bytes().decode("utf-8", "surrogateescape")
    try:
        storage_url(text)
    except Exception as error:
        raise UsageError(f"--storage: {error}") from error
    create_engine(read_url(text)).dispose()


def flags(rng: Random, _files: Files) -> Files:
    """A command line of one of the commands; flags and values that belong together and that do not."""
    command = rng.choice(list(PARSERS))
    typed = ["--model", "cnn"] if command == "launch" and rng.random() < 0.7 else []
    for _ in range(rng.randint(1, 3)):
        flag = rng.choice(_FLAGS)
        typed += [f"{flag}={_value(rng)}"] if rng.random() < 0.3 else [flag, _value(rng)]
    return {"flags": json.dumps([command, *typed]).encode()}


def read_flags(place: Path) -> None:
    """Parses it, with values from the environment that are no better."""
    command, *typed = json.loads((place / "flags").read_bytes())
    here = Path.cwd()
    os.chdir(place)
    try:
        if command == "predict":
            settings.parse_predict(typed)
        else:
            PARSERS[command](typed, {"HISTOTUNE_STORAGE": typed[-1]} if len(typed) % 2 else {})
    finally:
        os.chdir(here)


SETTINGS = b"""# of a launch
model = "cnn,vgg16"
trials = 8
timeout = 60.5
split = [70, 15, 15]
storage = "sqlite:///runs/studies.db"
"""
_TOML = (
    "{}", "'{}'", '"{}"', "[{}, {}]", "{{a = {}}}", "true", "nan", "-inf", "1979-05-27T07:32:00Z", "0xff", "1_000",
    "[]", "[[1]]", '"""{}', "5\n[table]", '"\\u0000{}"', '"\\ud800"', "1e400", "-0.0",
)  # fmt: skip


def settings_file(rng: Random, files: Files) -> Files:
    """A file of settings with other keys, values and signs, or something else in its place."""
    content = files["launch.toml"]
    if rng.random() < 0.3 or not isinstance(content, bytes):
        return any_file(rng, files)
    if rng.random() < 0.3:
        return {"launch.toml": any_bytes(rng, content)}
    lines = content.decode().splitlines()
    for _ in range(rng.randint(1, 3)):
        value, key = (
            _value(rng),
            rng.choice((*_FLAGS, "trails", "a.b", "[search]", '"a b"', "model")).removeprefix("--"),
        )
        lines.insert(rng.randrange(len(lines) + 1), f"{key} = {rng.choice(_TOML).format(value, value)}")
    return {"launch.toml": "\n".join(lines).encode("utf-8", "surrogatepass")}


def read_settings_file(place: Path) -> None:
    """Launches by it."""
    settings.parse_launch(["--config", str(place / "launch.toml")], {})


def _value(rng: Random) -> str:
    known = (
        "cnn",
        "all",
        "auto",
        "cpu",
        "3",
        "0.5",
        "70/15/15",
        "tpe",
        "sha",
        "auc",
        "flags",
        ".",
        "/dev/zero",
        "none",
    )
    return rng.choice(
        (*known, *TEXTS, *_URLS, "1e-320", "1e308", "-0", "١٢", "1_000", "x" * 300, "a,b,,", "host:99999")
    )


def _known_flags() -> tuple[str, ...]:
    """Every flag of every command, asked of the parsers: a new one is fed as well."""
    import contextlib
    import io
    import re

    printed = io.StringIO()
    for parse in PARSERS.values():
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            parse(["--help"])
    return (
        *sorted(set(re.findall(r"--[a-z][a-z0-9-]+", printed.getvalue())) - {"--help", "--version"}),
        "--x",
        "-x",
        "--",
    )


_FLAGS = _known_flags()
