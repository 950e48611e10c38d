"""Keeps passwords out of everything that is shown, logged or stored, and takes them from the environment."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

# As wide as SQLAlchemy's: a user may hold "@" and blanks, a password blanks; and beyond, to the last "@" of the word.
_USER_AND_PASSWORD = re.compile(r"(://[^:/\n]*):[^@\n]+@(?:\S*@)?")
_IN_QUERY = re.compile(r"([?&])([^=&?\s]+)=([^&\s]*)")
_SECRET_KEYS = ("password", "sslpassword")


def masked(text: str) -> str:
    """``text`` with the password of every URL in it replaced by ``***``.

    Masks too much rather than too little: a password that should have been percent-encoded may hold "/" or "@".
    """
    return _without_query(_USER_AND_PASSWORD.sub(r"\1:***@", text), r"\1\2=***")


def bare(url: str) -> str:
    """A database's URL without its password, as it may stand in a file that is handed on."""
    kept = _without_query(_USER_AND_PASSWORD.sub(r"\1@", url), r"\1")
    return re.sub(r"(?<=[?&])&+", "", kept).rstrip("?&")


def with_password(url: str, environ: Mapping[str, str]) -> str:
    """A database's URL; one without its password takes that from the variable, where that is otherwise the same."""
    variable = environ.get("HISTOTUNE_STORAGE", "")
    return variable if url == bare(variable) else url


def _without_query(text: str, instead: str) -> str:
    """``text`` in which every password of a query, however its key is written, is replaced."""
    return _IN_QUERY.sub(lambda found: found.expand(instead) if _is_secret(found[2]) else found[0], text)


def _is_secret(key: str) -> bool:
    return unquote(key).lower() in _SECRET_KEYS


def without_password(text: str, url: str) -> str:
    """A driver's message without the password of the URL, which it may repeat by itself."""
    for secret in _passwords(url):
        text = text.replace(secret, "***")
    return masked(text)


def _passwords(url: str) -> set[str]:
    """The passwords in a URL, as they stand there and as a driver knows them."""
    found = [match.group(0) for match in _USER_AND_PASSWORD.finditer(url)]
    typed = [text.split("://", 1)[1].split(":", 1)[1].removesuffix("@") for text in found]
    typed += [match[3] for match in _IN_QUERY.finditer(url) if _is_secret(match[2])]
    return {secret for text in typed for secret in (text, unquote(text)) if secret}
