"""The token source for what a caller hands in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..errors import ConfigError
from .credentials import Credentials, UserGrant
from .provider import TokenProvider
from .sources import CallableToken, StaticToken, TokenSource, kind_of

__all__ = ["token_source"]


def token_source(
    value: str | Credentials | UserGrant | TokenSource | Callable[[], str | Awaitable[str]],
) -> TokenSource:
    """Make a token source of what a caller may hand in: a token, credentials, a source, or a function."""
    if isinstance(value, str):
        return StaticToken(value)
    if isinstance(value, Credentials | UserGrant):
        return TokenProvider(value)
    if hasattr(value, "token") and hasattr(value, "invalidate"):
        return value
    if callable(value):
        return CallableToken(value)
    raise ConfigError(f"cannot get tokens from {kind_of(value)}")
