"""Whether to connect again, when, and with whose token: what all captures do alike.  Reads no clock, opens nothing."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import quote

from .auth import Credentials, StaticToken, TokenProvider, TokenSource, token_source
from .backoff import delay
from .clock import Clock
from .config import ReconnectConfig
from .errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    HandshakeError,
    MissingCredentials,
    ReconnectExhausted,
    RemoteProtocolError,
)
from .regions import Region, resolve_region
from .transport.websocket import redact

__all__ = ["ENDED", "FATAL", "RETRIABLE", "Reconnects", "folder_name", "quoted", "tokens_and_region"]

#: Close codes that end the call as meant (1005: a close frame without a code).
ENDED = frozenset({1000, 1005})
#: Close codes that tell of a fault which connecting again would only repeat (RFC 6455 section 7.4.1).
FATAL = frozenset({1002, 1003, 1007, 1008, 1009, 1010})
#: Upgrade answers and error messages that may change by waiting.
RETRIABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
#: A server that asks for a longer wait is not waited for.
MAX_RETRY_AFTER_S = 180.0
MAX_SERVER_TEXT = 200  # characters of what a server says that messages repeat


class Reconnects:
    """The attempts to keep one connection.

    Attributes
    ----------
    attempts : int
        In a row, since media came last.
    """

    def __init__(self, config: ReconnectConfig, tokens: TokenSource, rng: random.Random) -> None:
        self.attempts = 0
        self._config = config
        self._tokens = tokens
        self._rng = rng
        self._refused_tokens = 0  # in a row

    def opened(self) -> None:
        """The server has taken the token."""
        self._refused_tokens = 0

    def carried(self) -> None:
        """Media has come over the connection: the count of attempts begins anew."""
        self.attempts = 0

    def after(self, problem: Exception, *, reached: bool) -> float | None:
        """Seconds to wait before the next attempt; None is at once, with a fresh token.

        Parameters
        ----------
        problem : Exception
            What ended the last connection, or kept it from opening.
        reached : bool
            Whether a subscription has ever stood.

        Raises
        ------
        Exception
            ``problem``, if repeating cannot mend it; `AuthError` when a fresh token is refused too.
        ReconnectExhausted
            After the last attempt that the policy allows, or if the server asks for more than 180 s.
        """
        if self._refused_token(problem):
            return None
        _raise_if_final(problem)
        if self.attempts >= self._config.attempts:
            if not reached and self._config.attempts == 0:
                raise problem
            raise ReconnectExhausted(
                f"gave up after {self.attempts} reconnect attempts in a row; the last problem: {problem}",
                attempts=self.attempts,
            ) from problem
        asked = getattr(problem, "retry_after", None)
        if asked is not None and asked > MAX_RETRY_AFTER_S:
            raise ReconnectExhausted(
                f"the server asks to wait {asked:.0f} s, more than {MAX_RETRY_AFTER_S:.0f} s: {problem}",
                attempts=self.attempts,
            ) from problem
        wait = delay(self._config, self.attempts, self._rng, asked)
        self.attempts += 1
        return wait

    def _refused_token(self, problem: Exception) -> bool:
        """Whether to come again at once with a fresh token; raises when that has been tried, or there is none."""
        if not (isinstance(problem, HandshakeError) and problem.status == 401):
            return False
        self._refused_tokens += 1
        if self._refused_tokens > 1 or isinstance(self._tokens, StaticToken):
            raise AuthError(f"the media server does not accept the token: {problem}", status=401) from problem
        return True


def _raise_if_final(problem: Exception) -> None:
    if isinstance(problem, ConnectionLost):
        final = problem.code in FATAL or problem.code in ENDED
    elif isinstance(problem, HandshakeError | RemoteProtocolError):
        final = problem.status not in RETRIABLE
    else:
        final = isinstance(problem, AuthError) and problem.status is not None and problem.status not in RETRIABLE
    if final:
        raise problem


def tokens_and_region(
    credentials: Credentials | None,
    token: str | TokenSource | Callable[[], str | Awaitable[str]] | None,
    region: str | Region | None,
    *,
    refresh_margin_s: float,
    allow_custom_host: bool,
    clock: Clock,
) -> tuple[TokenSource, Region]:
    """Where tokens come from, and where the media is."""
    if token is not None:
        if credentials is not None:
            raise ConfigError("give either token or credentials, not both")
        if region is None:
            raise MissingCredentials("region is needed with token: an AWS id, a domain or a URL")
        return token_source(token), resolve_region(region)
    credentials = credentials or Credentials.from_env()
    if region is not None:
        credentials = replace(credentials, region=region)
    provider = TokenProvider(
        credentials,
        refresh_margin_s=refresh_margin_s,
        attempts=1,  # repeating is the affair of ReconnectConfig, which counts these attempts too
        allow_custom_host=allow_custom_host,
        clock=clock,
    )
    return provider, provider.region


def folder_name(conversation_id: str) -> str:
    """A folder of its own for a conversation, whatever its id: never the one above."""
    name = quote(conversation_id, safe="")
    return name.replace(".", "%2E") if name in (".", "..") else name


def quoted(text: str, token: str) -> str:
    """What a server said, on one line, not too long, and without the token that it may repeat."""
    for secret in (token, quote(token, safe="")):
        text = text.replace(secret, "***") if secret else text
    return "".join(char if char.isprintable() else " " for char in redact(text))[:MAX_SERVER_TEXT]
