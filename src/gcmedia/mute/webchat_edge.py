"""Muting over the web chat edge: one WebSocket, signed in by its first message, that also tells of changes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import quote

from ..auth import StaticToken, TokenSource
from ..backoff import delay
from ..clock import Clock
from ..config import ReconnectConfig, WebchatEdgeConfig
from ..dialects import webchat_edge as dialect
from ..errors import (
    AmbiguousCall,
    ApiError,
    AuthError,
    ConfigError,
    Forbidden,
    GcmediaError,
    HandshakeError,
    ReconnectExhausted,
    RemoteProtocolError,
    StreamNotFound,
    TooManyRequests,
    TransportError,
)
from ..redact import repeatable
from ..regions import takes_secrets
from ..transport.websocket import WebSocket, connect
from .strategy import CallState, Observation

__all__ = ["EDGE_HOSTS", "WebchatEdge", "edge_url"]

log = logging.getLogger("gcmedia.mute.webchat_edge")

#: The published hosts, by each name under which the published examples call them.
EDGE_HOSTS = {
    "us-east-1": "webchat-edge.genesiscloud.com",
    "use1": "webchat-edge.genesiscloud.com",
    "mypurecloud.com": "webchat-edge.genesiscloud.com",
    "eu-west-2": "webchat-edge.euw2.genesiscloud.com",
    "euw2": "webchat-edge.euw2.genesiscloud.com",
    "euw2.pure.cloud": "webchat-edge.euw2.genesiscloud.com",
}

MAX_RETRY_AFTER_S = 180.0
MAX_STREAMS = 100
MAX_EARLY = 1000  # messages that came before the answer to the sign-in


def edge_url(environment: str, *, base: str | None = None) -> str:
    """Where the edge of an environment is.

    Parameters
    ----------
    environment : str
        As in ``us-east-1`` or ``euw2``; percent-encoded into the URL.
    base : str, optional
        Instead of a published host: the URL without its query, such as ``wss://edge.example/ws``.

    Raises
    ------
    ConfigError
        If the environment is not known and no base is given.
    """
    if base is None:
        host = EDGE_HOSTS.get(environment.strip().lower())
        if host is None:
            known = ", ".join(EDGE_HOSTS)
            raise ConfigError(
                f"environment {environment[:80]!r} has no published edge; known are {known}; or give a URL"
            )
        base = f"wss://{host}/ws"
    return f"{base}?environment={quote(environment, safe='')}"


class WebchatEdge:
    """The way to mute called ``webchat-edge``.

    The edge cannot be asked how things are: it tells when a client signs in, and when something changes.

    Parameters
    ----------
    url : str
        Of the WebSocket, see `edge_url`.
    tokens : TokenSource
        Where tokens come from; a fresh one is asked for with each connection.
    conversation_id : str
        The call; the published messages do not name it.
    config : WebchatEdgeConfig, optional
        Stream, confirmation, times.
    reconnect : ReconnectConfig, optional
        When and how often a lost connection is made again.
    allow_custom_host : bool
        Whether tokens may go to a host that is neither the platform's, over TLS, nor this machine.
    clock, rng : Clock, random.Random, optional
        Sources of time and of the jitter of reconnects.

    Attributes
    ----------
    state : str
        ``"disconnected"``, ``"connecting"``, ``"authorising"``, ``"ready"`` or ``"closing"``.
    streams : dict of str to bool
        Microphone streams that the edge has told of on this connection, and whether they are muted.
    unknown_messages, malformed_messages : int
        Messages without a meaning here; messages that could not be read.
    """

    name = "webchat-edge"
    readable = False

    def __init__(
        self,
        url: str,
        tokens: TokenSource,
        conversation_id: str,
        config: WebchatEdgeConfig | None = None,
        *,
        reconnect: ReconnectConfig | None = None,
        allow_custom_host: bool = False,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if not conversation_id:
            raise ConfigError("conversation_id is empty")
        if not (allow_custom_host or takes_secrets(url) or _is_published(url)):
            raise ConfigError(
                f"the token would go to {url.partition('?')[0]}, which is no host of the platform over TLS;"
                " pass allow_custom_host=True if that is meant"
            )
        self._url = url
        self._tokens = tokens
        self._conversation_id = conversation_id
        self._config = config or WebchatEdgeConfig()
        self._reconnect = reconnect or ReconnectConfig()
        self._clock = clock or Clock()
        self._rng = rng or random.Random()
        self._websocket: WebSocket | None = None
        self._token = ""  # the one in use, so that no text of the server can repeat it
        self._signed_in = False  # on this connection
        self._ever = False  # signed in on any
        self._refused_tokens = 0  # in a row
        self.confirmed_by = self._config.confirm
        self.state = "disconnected"
        self.streams: dict[str, bool] = {}
        self.unknown_messages = 0
        self.malformed_messages = 0

    @property
    def authorised(self) -> bool:
        """Whether the edge has accepted the token, which is more than being connected."""
        return self.state == "ready"

    async def run(self, observe: Callable[[Observation], None], ready: Callable[[], None]) -> None:
        """Stay connected and signed in."""
        attempts = 0
        while True:
            self._signed_in = False
            problem: GcmediaError
            try:
                await self._one_connection(observe, ready)
            except (TransportError, RemoteProtocolError, AuthError) as error:
                problem = error
            finally:
                self._websocket = None
                self.state = "disconnected"
                self.streams.clear()
            if self._signed_in:
                attempts = 0
                observe(Observation(CallState.UNKNOWN, None, "lost"))
            if self._come_again_at_once(problem):
                continue
            asked: float | None = getattr(problem, "retry_after", None)
            if attempts >= self._reconnect.attempts or (asked or 0.0) > MAX_RETRY_AFTER_S:
                if self._reconnect.attempts == 0:
                    raise problem
                raise ReconnectExhausted(
                    f"gave up after {attempts} attempts in a row to reach the edge; the last problem: {problem}",
                    attempts=attempts,
                ) from problem
            wait = delay(self._reconnect, attempts, self._rng, asked)
            attempts += 1
            log.warning("the edge is out of reach, next attempt in %.3f s: %s", wait, problem)
            await self._clock.sleep(wait)

    def _come_again_at_once(self, problem: GcmediaError) -> bool:
        """Whether a fresh token may help; raises when nothing can."""
        if isinstance(problem, HandshakeError) and problem.status < 500 and problem.status not in (401, 408, 425, 429):
            raise problem
        refused = isinstance(problem, AuthError | HandshakeError) and problem.status == 401
        if not refused:
            if isinstance(problem, AuthError):
                raise problem
            return False
        self._refused_tokens += 1
        if self._refused_tokens == 1 and not isinstance(self._tokens, StaticToken):
            return True
        if not self._ever or isinstance(self._tokens, StaticToken):
            if isinstance(problem, AuthError):
                raise problem
            raise AuthError(f"the edge does not accept the token: {problem}", status=401) from problem
        return False

    async def _one_connection(self, observe: Callable[[Observation], None], ready: Callable[[], None]) -> None:
        config = self._config
        self.state = "connecting"
        token = self._token = await self._tokens.token()
        async with AsyncExitStack() as stack:
            websocket = await stack.enter_async_context(
                connect(
                    self._url,
                    clock=self._clock,
                    ping_interval_s=config.ping_interval_s,
                    pong_timeout_s=config.pong_timeout_s,
                    open_timeout_s=config.open_timeout_s,
                    max_message_octets=config.max_message_octets,
                )
            )
            self.state = "authorising"
            early: list[str | bytes] = []
            try:
                with self._clock.fail_after(config.auth_timeout_s):
                    await websocket.send(dialect.auth_message(token))
                    await self._await_authed(websocket, token, early)
            except TimeoutError:
                raise TransportError(
                    f"the edge did not answer the sign-in within {config.auth_timeout_s:g} s"
                ) from None
            self._websocket = websocket
            self.state = "ready"
            self._signed_in = True
            self._ever = True
            self._refused_tokens = 0
            ready()
            try:
                for message in early:
                    self._take(message, observe)
                while True:
                    self._take(await websocket.receive(), observe)
            finally:
                self.state = "closing"

    async def _await_authed(self, websocket: WebSocket, token: str, early: list[str | bytes]) -> None:
        """Wait for the answer to the sign-in; what comes meanwhile is kept for after."""
        while True:
            message = await websocket.receive()
            said = self._read(message)
            if isinstance(said, dialect.Authed):
                return
            if isinstance(said, dialect.EdgeFailure) and said.muted is None:
                if said.status in (429, 503):
                    raise _refusal(said, "the sign-in", self._clean(said.message))
                self._tokens.invalidate(token)
                raise AuthError(f"Auth failed: {self._clean(said.message)}", status=401, error=said.code)
            if said is not None and len(early) < MAX_EARLY:
                early.append(message)

    def _take(self, message: str | bytes, observe: Callable[[Observation], None]) -> None:
        said = self._read(message)
        if isinstance(said, dialect.MediaState):
            if said.microphone:
                self._note_stream(said)
                if self._is_ours(said.stream_id):  # the edge has no word for the call, but a stream is there
                    observe(Observation(CallState.CONNECTED, said.muted, "event"))
        elif isinstance(said, dialect.EdgeFailure):
            if said.stream_id is not None and not self._is_ours(said.stream_id):
                return
            if said.status == 401:
                # The token has come to its end on an open connection: sign in again, and let the command be repeated.
                self._tokens.invalidate(self._token)
                failure: GcmediaError = TransportError("the edge no longer accepts the token; signing in again")
                observe(Observation(CallState.UNKNOWN, said.muted, "refused", failure))
                raise failure
            error = _refusal(said, "the command", self._clean(said.message))
            log.warning("the edge reports an error: %s", error)
            observe(Observation(CallState.UNKNOWN, said.muted, "refused", error))

    def _read(self, message: str | bytes) -> dialect.Authed | dialect.MediaState | dialect.EdgeFailure | None:
        try:
            said = dialect.receive(message)
        except RemoteProtocolError as error:
            self.malformed_messages += 1
            log.debug("passed over: %s", error)
            return None
        if isinstance(said, dialect.Unknown):
            self.unknown_messages += 1
            log.debug("passed over a message of type %r", self._clean(said.type))
            return None
        return said

    def _note_stream(self, said: dialect.MediaState) -> None:
        if said.stream_id is not None and (said.stream_id in self.streams or len(self.streams) < MAX_STREAMS):
            self.streams[said.stream_id] = said.muted

    def _is_ours(self, stream_id: str | None) -> bool:
        """Whether a message is about the stream that commands go to."""
        wanted = self._config.stream_id
        if wanted is not None:
            return stream_id in (None, wanted)
        return stream_id in (None, "default") or len(self.streams) <= 1

    async def request(self, muted: bool) -> None:
        """Send the command; that it was carried out, or was not, is told by an event."""
        if self._websocket is None or self.state != "ready":
            raise TransportError(f"not connected and signed in: the edge is {self.state}")
        config = self._config
        if config.stream_id is None and len(self.streams) > 1 and "default" not in self.streams:
            names = ", ".join(sorted(self.streams))
            raise AmbiguousCall(f"the edge has {len(self.streams)} microphone streams ({names}): name one by stream_id")
        conversation = self._conversation_id if config.send_conversation_id else None
        await self._websocket.send(dialect.command(muted, stream_id=config.stream_id, conversation_id=conversation))

    async def read(self) -> Observation:
        """Tell that there is no way to ask."""
        return Observation(CallState.UNKNOWN, None, "read")

    def _clean(self, text: str) -> str:
        return repeatable(text, (self._token,), personal=False)


def _refusal(said: dialect.EdgeFailure, what: str, words: str) -> ApiError:
    kind: type[ApiError] = {403: Forbidden, 404: StreamNotFound, 429: TooManyRequests}.get(said.status, ApiError)
    text = f"the edge refused {what}: {words}"
    if kind is StreamNotFound:
        text += "; leave stream_id out, or take one that the edge has told of; without any the call may be over"
    return kind(text, status=said.status, code=said.code, retry_after=said.retry_after)


def _is_published(url: str) -> bool:
    return any(url.startswith(f"wss://{host}/") for host in EDGE_HOSTS.values())
