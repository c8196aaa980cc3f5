"""What others say, made fit for a message or a log: on one line, not too long, without secrets or persons."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["redact", "repeatable"]

MAX_CHARACTERS = 200
MIN_SECRET = 4

_IN_QUERY = re.compile(r"((?:access_|refresh_|id_)?token|client_secret|authorization)=[^&\s\"'>]*", re.IGNORECASE)
_IN_HEADER = re.compile(r"\b(Bearer|Basic)\s+[^\s\"',]+", re.IGNORECASE)

# JSON web tokens, addresses of people, and runs of digits as in numbers of phones and cards.
_PERSONAL = re.compile(
    r"eyJ[\w-]{8,}\.[\w.-]*|[\w.+-]+@[\w-]+\.[\w.-]*|\b(?:sips?|tel):\S*"
    r"|(?<![\w.-])\+?\d(?:[ ()/-]{0,2}\d){6,}(?![\w-])",
    re.IGNORECASE,
)


def redact(text: str, *, personal: bool = False) -> str:
    """Replace tokens in a URL, header or sentence and, unless ``personal``, numbers and addresses of people."""
    text = _IN_HEADER.sub(r"\1 ***", _IN_QUERY.sub(r"\1=***", text))
    return text if personal else _PERSONAL.sub("***", text)


def repeatable(text: str, hidden: Iterable[str] = (), *, personal: bool = False) -> str:
    """What a server or library said, as a message of ours may repeat it.

    Parameters
    ----------
    text : str
        As it came.
    hidden : iterable of str
        Secrets that it may hold; those of less than 4 characters are passed over, as any word holds them.
    personal : bool
        Whether what looks like a number or address of a person may stay.

    Returns
    -------
    str
        One line of at most 200 characters.
    """
    for secret in sorted((value for value in hidden if len(value) >= MIN_SECRET), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = redact(text, personal=personal)
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_CHARACTERS]
