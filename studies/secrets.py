"""Keeps passwords out of everything that is shown, logged or stored."""

import re
from urllib.parse import unquote

_USER_AND_PASSWORD = re.compile(r"(://[^\s:/@]*):\S+@")
_PASSWORD_IN_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&\s]*", re.IGNORECASE)
_PASSWORD_OF_QUERY = re.compile(r"(?<=[?&])(?:ssl)?password=[^&\s]*&?", re.IGNORECASE)


def masked(text: str) -> str:
    """``text`` with the password of every URL in it replaced by ``***``.

    Masks too much rather than too little: a password that should have been percent-encoded may hold "/" or "@".
    """
    return _PASSWORD_IN_QUERY.sub(r"\1***", _USER_AND_PASSWORD.sub(r"\1:***@", text))


def bare(url: str) -> str:
    """A database's URL without its password, as it may stand in a file that is handed on."""
    return _PASSWORD_OF_QUERY.sub("", _USER_AND_PASSWORD.sub(r"\1@", url)).rstrip("?&")


def without_password(text: str, url: str) -> str:
    """A driver's message without the password of the URL, which it may repeat by itself."""
    for secret in _passwords(url):
        text = text.replace(secret, "***")
    return masked(text)


def _passwords(url: str) -> set[str]:
    """The passwords in a URL, as they stand there and as a driver knows them."""
    found = [match.group(0) for match in _USER_AND_PASSWORD.finditer(url)]
    typed = [text.split("://", 1)[1].split(":", 1)[1].removesuffix("@") for text in found]
    typed += [match.group(0).split("=", 1)[1] for match in _PASSWORD_IN_QUERY.finditer(url)]
    return {secret for text in typed for secret in (text, unquote(text)) if secret}
