"""Keeps passwords out of everything that is shown, logged or stored."""

import re

_USER_AND_PASSWORD = re.compile(r"(://[^\s:/@]*):\S*@")
_PASSWORD_IN_QUERY = re.compile(r"([?&]password=)[^&\s]*", re.IGNORECASE)


def masked(text: str) -> str:
    """``text`` with the password of every URL in it replaced by ``***``.

    Masks too much rather than too little: a password that should have been percent-encoded may hold "/" or "@".
    """
    return _PASSWORD_IN_QUERY.sub(r"\1***", _USER_AND_PASSWORD.sub(r"\1:***@", text))
