"""Where tokens come from: what every source can do, and the two that ask no server."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..errors import AuthError, ConfigError

__all__ = ["CallableToken", "StaticToken", "TokenSource", "kind_of", "usable"]

_VISIBLE = re.compile(r"[\x21-\x7e]+")


class TokenSource(Protocol):
    """Where tokens come from."""

    async def token(self) -> str:
        """Return a token that is good now."""
        ...

    def invalidate(self, token: str) -> None:
        """Report that the server answered 401 to ``token``."""
        ...


class StaticToken:
    """A token that somebody else obtained; it cannot be renewed.

    Raises
    ------
    ConfigError
        If it is empty or could not stand in an HTTP header.
    """

    def __init__(self, token: str) -> None:
        if not usable(token):
            raise ConfigError("the token is empty, or holds characters that an HTTP header cannot")
        self._token = token

    def __repr__(self) -> str:
        return "StaticToken('***')"

    async def token(self) -> str:
        """Return the token."""
        return self._token

    def invalidate(self, token: str) -> None:
        """Do nothing: there is no other token to get."""


class CallableToken:
    """Tokens from the caller's own function, asked anew each time; caching is the function's affair.

    Parameters
    ----------
    function : callable
        Takes nothing; returns the token, or an awaitable of it.  A plain function runs in the event loop, so
        it must not block.
    """

    def __init__(self, function: Callable[[], str | Awaitable[str]]) -> None:
        self._function = function

    async def token(self) -> str:
        """Ask the function.

        Raises
        ------
        AuthError
            If it returns something that cannot be a token.
        """
        answer = self._function()
        value = await answer if inspect.isawaitable(answer) else answer
        if not usable(value):
            raise AuthError(f"the token function returned no usable token but {kind_of(value)}")
        return value

    def invalidate(self, token: str) -> None:
        """Do nothing: the function is asked again anyway."""


def usable(token: object) -> bool:
    """Whether it can stand in an HTTP header as a token."""
    return isinstance(token, str) and _VISIBLE.fullmatch(token) is not None


def kind_of(value: object) -> str:
    """What a value is, without showing it."""
    return "an empty str" if value == "" else f"a value of type {type(value).__name__}"
