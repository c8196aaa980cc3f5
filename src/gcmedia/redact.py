"""What others say, made fit for a message or a log: on one line, not too long, without secrets or persons."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["PERSONAL", "redact", "repeatable"]

MAX_CHARACTERS = 200
MIN_SECRET = 4

_IN_QUERY = re.compile(r"((?:access_|refresh_|id_)?token|client_secret|authorization)=[^&\s\"'>]*", re.IGNORECASE)
_IN_HEADER = re.compile(r"\b(Bearer|Basic)\s+[^\s\"',]+", re.IGNORECASE)

#: Bearer tokens, JSON web tokens, addresses of people, and runs of digits as in numbers of phones and cards.
PERSONAL = re.compile(
    r"bearer\s+\S*|eyJ[\w-]{8,}\.[\w.-]*|[\w.+-]+@[\w-]+\.[\w.-]*|\b(?:sips?|tel):\S*"
    r"|(?<![\w.-])\+?\d(?:[ ()/-]?\d){6,}(?![\w-])",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Replace tokens in a URL, header or sentence: what follows ``access_token=``, ``Bearer`` and the like."""
    return _IN_HEADER.sub(r"\1 ***", _IN_QUERY.sub(r"\1=***", text))


def repeatable(text: str, hidden: Iterable[str] = (), *, personal: bool = True) -> str:
    """What a server or library said, as a message of ours may repeat it.

    Parameters
    ----------
    text : str
        As it came.
    hidden : iterable of str
        Secrets that it may hold; those of less than 4 characters are passed over, as any word holds them.
    personal : bool
        Whether numbers, addresses and tokens of unknown value may stay (False hides them as well).

    Returns
    -------
    str
        One line of at most 200 characters.
    """
    for secret in sorted((value for value in hidden if len(value) >= MIN_SECRET), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = redact(text)
    if not personal:
        text = PERSONAL.sub("***", text)
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_CHARACTERS]
