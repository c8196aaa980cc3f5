"""The notification channel of the platform: kept alive, handed over, made anew, and honest about what was missed.

Nothing is told again: an event that falls between two sockets is lost.  So consumers get, among the events, a `Gap`
wherever some may be missing, and read the truth over REST then.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import anyio
import anyio.abc
import msgspec

from .backoff import delay
from .clock import Clock
from .config import NotificationsConfig, ReconnectConfig
from .dialects import notifications as dialect
from .dialects.notifications import Channel, Notification, Overlap, SocketState, TopicState, Utterance
from .errors import (
    ApiError,
    AuthError,
    ConfigError,
    ConnectionLost,
    HandshakeError,
    NotFound,
    ReconnectExhausted,
    RemoteProtocolError,
    StateError,
    TransportError,
)
from .fanout import Stream
from .redact import repeatable
from .regions import is_loopback
from .transport.api import ApiClient, api_path
from .transport.http import Answer
from .transport.websocket import connect

if TYPE_CHECKING:
    import ssl as ssl_module

__all__ = [
    "GAP_CAUSES",
    "MAX_TOPICS",
    "Gap",
    "Notification",
    "Notifications",
    "TopicState",
    "Utterance",
    "transcription",
]

logger = logging.getLogger("gcmedia.notifications")

#: Topics that one channel takes.
MAX_TOPICS = 1000
#: Why events may be missing, see `Gap`.
GAP_CAUSES = ("lost", "reconnected", "handover", "resync", "overflow", "taken", "refused")

BACKOFF = ReconnectConfig(attempts=20, base_s=2.0, factor=2.0, cap_s=90.0)
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_PROBLEMS = (TransportError, ApiError, AuthError, RemoteProtocolError)
_RENEW_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Gap:
    """Between what came before and what comes after it, events may be missing.

    Attributes
    ----------
    cause : str
        ``"lost"``: there is no connection, nothing is known until the next gap.  ``"reconnected"``, ``"handover"``
        (from a socket that was about to close), ``"overflow"`` (this consumer's queue was full): read the truth
        now.  ``"resync"``: nothing is known to be missing, but read it anyway, and call `Notifications.missed` if it
        is not what the events said.  ``"taken"``: another channel gets the events of this topic now; they are asked
        for again with the next resync.  ``"refused"``: the server does not let this token have the topic.
    """

    cause: str


class _Link:
    """One socket, from opening it to its end."""

    def __init__(self, channel: Channel, state: SocketState, now: float, overlap: Overlap | None) -> None:
        self.channel = channel
        self.state = state
        self.began = now
        self.overlap = overlap
        self.side = 1
        self.scope = anyio.CancelScope()
        self.opened = anyio.Event()
        self.done = anyio.Event()
        self.problem: Exception | None = None
        self.heard = False
        self.live = False


class Notifications:
    """One channel and its socket, for any number of topics and consumers.

    An async context manager: entering makes the channel, subscribes and connects; what goes wrong there is raised
    there.  What ends it for good later is raised by its consumers' iteration.

    Parameters
    ----------
    api : ApiClient
        The REST API of the region; stays open.
    topics : iterable of str
        To begin with; see `add`.
    config : NotificationsConfig, optional
        Timers and bounds.
    reconnect : ReconnectConfig, optional
        Waits between attempts, and how many in a row: by default 20, from 2 s, doubling, to 90 s.
    on_reread : callable, optional
        Async, called with the cause of each gap after which the truth is to be read.
    clock, rng : Clock, random.Random, optional
        Sources of time and of the jitter.
    ssl : ssl.SSLContext, optional
        Instead of the default one.

    Attributes
    ----------
    counts : Counter of str
        ``connections``, ``reconnects``, ``channels``, ``renewals``, ``handovers``, ``duplicates``, ``pings``,
        ``starvations``, and every message by its kind: ``heartbeat``, ``notification``, ``malformed``, ``unknown``...
    rejected : dict of str to TopicState
        Topics that the server does not let this token have.

    Notes
    -----
    The platform keeps 20 channels for a user and application, and evicts the one unused for longest; so one
    `Notifications` should serve a whole process.  The connect URI is a secret: it is in no message, log or repr.
    """

    def __init__(
        self,
        api: ApiClient,
        topics: Iterable[str] = (),
        *,
        config: NotificationsConfig | None = None,
        reconnect: ReconnectConfig | None = None,
        on_reread: Callable[[str], Awaitable[object]] | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.rejected: dict[str, TopicState] = {}
        self._api = api
        self._config = config or NotificationsConfig()
        self._reconnect_config = reconnect or BACKOFF
        self._on_reread = on_reread
        self._clock = clock or Clock()
        self._rng = rng or random.Random()
        self._ssl = ssl
        self._topics = dict.fromkeys(topics, 1)  # how many want each
        _check_topics(self._topics)
        self._consumers: list[tuple[frozenset[str], Stream[Notification | Gap], list[int]]] = []
        self._channel: Channel | None = None
        self._reuses = 0
        self._renew_at = 0.0
        self._link: _Link | None = None
        self._attempts = 0  # in a row
        self._replace_channel = False
        self._hand_over_at = 0.0
        self._taken = False
        self._wanted = 0  # changes of the topics so far
        self._subscribed = -1  # the last of them that the channel knows
        self._missed_at: float | None = None
        self._subscribing: anyio.Lock | None = None
        self._wake: anyio.Event | None = None
        self._ready: anyio.Event | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._failure: Exception | None = None
        self._over = False

    def __repr__(self) -> str:
        state = "over" if self._over else "connected" if self.connected else "not connected"
        return f"Notifications({len(self._topics)} topics, {state})"

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics subscribed to, or to be."""
        return tuple(self._topics)

    @property
    def connected(self) -> bool:
        """Whether there is a socket over which events come."""
        return self._link is not None and self._link.live

    # Life

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise StateError("this notification channel has been used; make another")
        self._subscribing, self._wake, self._ready = anyio.Lock(), anyio.Event(), anyio.Event()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            self._tasks.start_soon(self._run)
            await self._ready.wait()
            if self._failure is not None:
                raise self._failure
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        assert self._tasks is not None
        self._over = True
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        self._finish(None)

    async def _run(self) -> None:
        assert self._ready is not None
        try:
            await self._stay_connected()
        except _PROBLEMS as error:
            self._failure = self._veiled(error)
            self._over = True
            logger.warning("the notification channel is given up: %s", self._failure)
            self._finish(self._failure)
            if self._link is not None:
                self._link.scope.cancel()
        finally:
            self._ready.set()

    def _finish(self, failure: Exception | None) -> None:
        for _, stream, _ in self._consumers:
            if not stream.closed:
                stream.finish(failure)

    # Consumers

    def listen(self, *topics: str, max_items: int = 1000) -> Stream[Notification | Gap]:
        """Get the events of topics from now on, with a `Gap` wherever some may be missing.

        Parameters
        ----------
        *topics : str
            Subscribed to or not; see `add`.  None means all.
        max_items : int
            Bound of the queue.  Beyond it the oldest event is dropped and counted, and a `Gap` put in the queue.

        Returns
        -------
        Stream
            An async iterator; ``close()`` it when done.
        """
        stream: Stream[Notification | Gap] = Stream("notifications", max_items, "drop_oldest")
        self._consumers = [one for one in self._consumers if not one[1].closed]
        self._consumers.append((frozenset(topic.lower() for topic in topics), stream, [0]))
        if self._over:
            stream.finish(self._failure)
        return stream

    def missed(self) -> None:
        """Report that the truth was not what the events said although the socket lives.

        The channel is then replaced by a new one, its socket opened before the old is closed; at most once in the
        time between two resyncs.
        """
        now = self._clock.now()
        if self._missed_at is not None and now - self._missed_at < self._config.resync_interval_s:
            return
        self._missed_at = now
        self.counts["starvations"] += 1
        logger.warning("the notification channel lives but does not tell; it is replaced")
        self._replace_channel = True
        self._stir()

    def _tell(self, event: Notification) -> None:
        topic = event.topic.lower()
        for topics, stream, dropped in self._consumers:
            if topics and topic not in topics:
                continue
            stream.put(event)
            if stream.dropped > dropped[0]:
                stream.put(Gap("overflow"))  # drops one more
                dropped[0] = stream.dropped

    def _gap(self, cause: str, subject: str = "") -> None:
        for topics, stream, _ in self._consumers:
            if not topics or not subject or subject.lower() in topics:
                stream.put(Gap(cause))
        if self._on_reread is not None and cause not in ("lost", "taken", "refused") and self._tasks is not None:
            self._tasks.start_soon(self._reread, cause)

    async def _reread(self, cause: str) -> None:
        assert self._on_reread is not None
        try:
            await self._on_reread(cause)
        except _PROBLEMS as error:
            logger.warning("reading again after %s failed: %s", cause, error)

    # Topics

    async def add(self, *topics: str) -> list[TopicState]:
        """Subscribe to more topics.

        Parameters
        ----------
        *topics : str
            Up to 200 characters each, up to 1,000 on one channel.

        Returns
        -------
        list of TopicState
            What became of each.  One that is refused is kept in `rejected` and asked for no more; the others are
            subscribed to all the same.  Before entering, and while there is no connection, topics are only noted and
            taken for permitted; consumers of one that is refused later get a `Gap`.

        Raises
        ------
        ConfigError
            If a topic cannot be subscribed to, or there would be more than 1,000.
        ApiError, AuthError, TransportError
            If the request failed.  Nothing is changed in either case.
        """
        _check_topics([*self._topics, *topics])
        new = [topic for topic in dict.fromkeys(topics) if topic not in self._topics]
        for topic in dict.fromkeys(topics):
            self._topics[topic] = self._topics.get(topic, 0) + 1
            self.rejected.pop(topic, None)
        self._wanted += bool(new)
        if new and self.connected:
            try:
                await self._subscribe("POST", new)
            except BaseException:
                self._drop(topics)
                raise
        return [self.rejected.get(topic, TopicState(topic, True)) for topic in topics]

    async def remove(self, *topics: str) -> None:
        """Take back what `add` asked for: a topic that nobody else added is subscribed to no more.  Raises as `add`."""
        if self._drop(topics) and self.connected:
            await self._subscribe("PUT")  # the platform knows no removal of single ones

    def _drop(self, topics: Iterable[str]) -> bool:
        """One holder fewer; returns whether a topic has none any more."""
        gone = False
        for topic in dict.fromkeys(topics):
            holders = self._topics.get(topic, 0) - 1
            if holders > 0:
                self._topics[topic] = holders
            elif holders == 0:
                del self._topics[topic]
                gone = True
        self._wanted += gone
        return gone

    async def release(self, *topics: str) -> None:
        """The same, on the way out: within 2 s whatever happens, and what fails is left to the next connection."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(2.0):
            try:
                await self.remove(*topics)
            except _PROBLEMS:
                pass

    async def _subscribe(self, method: str, topics: list[str] | None = None) -> None:
        """Add topics, or replace all by those wanted; either extends the life of the channel."""
        assert self._subscribing is not None
        async with self._subscribing:
            channel, wanted = self._channel, self._wanted
            assert channel is not None
            topics = list(self._topics) if topics is None else topics
            answer = await self._request(
                method,
                api_path("notifications", "channels", channel.id, "subscriptions"),
                dialect.subscriptions_body(topics),
                params={"ignoreErrors": "true"},
            )
            try:
                states = dialect.read_subscriptions(answer.body) if answer.body.strip() else []
            except msgspec.DecodeError as error:
                raise RemoteProtocolError(f"the answer to a subscription cannot be read: {error}") from None
            if method == "PUT" or wanted == self._subscribed + 1:
                self._subscribed = wanted
            for state in states:
                if not state.permitted and state.topic in self._topics:
                    del self._topics[state.topic]
                    state = replace(state, reason=repeatable(state.reason, personal=False))
                    self.rejected[state.topic] = state
                    logger.warning("the topic %s is refused: %s", state.topic, state.reason)
                    self._gap("refused", state.topic)

    # The channel

    async def _request(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        try:
            return await self._api.request(method, path, body, **options)
        except _PROBLEMS as error:
            self._veiled(error)
            raise

    def _veiled(self, error: Exception, channel: Channel | None = None) -> Exception:
        """The same error, with nothing in its text that could open the channel."""
        channel = channel or self._channel
        if channel is not None:
            text = str(error)
            for secret in (channel.connect_uri, channel.id, urlsplit(channel.connect_uri).path.rpartition("/")[2]):
                text = text.replace(secret, "***") if len(secret) > 3 else text
            error.args = (text, *error.args[1:])
        return error

    async def _new_channel(self) -> None:
        answer = await self._request("POST", api_path("notifications", "channels"))
        try:
            channel = dialect.read_channel(answer.body)
        except msgspec.DecodeError as error:
            raise RemoteProtocolError(f"the answer to the creation of a channel cannot be read: {error}") from None
        if channel.id in ("", ".", "..") or not _is_safe(channel.connect_uri):
            raise RemoteProtocolError("the server names a notification channel without an id, or without a wss:// URI")
        self._channel = channel
        self._reuses = 0
        self._replace_channel = False
        self.counts["channels"] += 1
        self._set_renewal()
        self._subscribed = -1
        if self._topics:
            await self._subscribe("PUT")
        else:
            self._subscribed = self._wanted

    def _set_renewal(self) -> None:
        expires_ms = self._channel.expires_ms if self._channel is not None else None
        lifetime = None if expires_ms is None else expires_ms / 1000 - self._clock.wall()
        now = self._clock.now()
        self._renew_at = SocketState.renew_at(now, lifetime, self._config.renew_after_s)

    async def _renew(self) -> None:
        """Extend the channel's life; a channel that is gone is replaced."""
        try:
            await self._subscribe("PUT")
        except NotFound:
            self._replace_channel = True
            self._stir()
        except _PROBLEMS as error:
            self._veiled(error)
            logger.warning("renewing the notification channel failed, once more in %g s: %s", _RENEW_AGAIN_S, error)
            self._renew_at = self._clock.now() + _RENEW_AGAIN_S
        else:
            self.counts["renewals"] += 1
            # The server's word on its end was that of the creation; from here on it lives as long again.
            lifetime = dialect.CHANNEL_LIFETIME_S
            self._renew_at = SocketState.renew_at(self._clock.now(), lifetime, self._config.renew_after_s)

    # Sockets

    async def _stay_connected(self) -> None:
        assert self._ready is not None
        link = self._link = await self._open_persistently(None)
        self._ready.set()
        resync_at = self._clock.now() + self._config.resync_interval_s
        while True:
            moving = self._has_to_move(link)
            await self._next_stir(min(self._renew_at, resync_at, self._hand_over_at if moving else resync_at))
            now = self._clock.now()
            if link.done.is_set():
                self._gap("lost")
                logger.info("the notification socket was lost: %s", link.problem)
                link = self._link = await self._open_persistently(link)
                self.counts["reconnects"] += 1
                self._gap("reconnected")
                resync_at = self._clock.now() + self._config.resync_interval_s
            elif self._has_to_move(link) and now >= self._hand_over_at:
                link = self._link = await self._hand_over(link)
            elif now >= self._renew_at or (self._wanted != self._subscribed and self._topics):
                await self._renew()
            elif now >= resync_at:
                resync_at = now + self._config.resync_interval_s
                if self._taken:
                    self._taken = False
                    await self._renew()
                self._gap("resync")

    def _has_to_move(self, link: _Link) -> bool:
        """Whether another socket is to take over from one that lives."""
        return link.state.closing or self._replace_channel or link.channel is not self._channel

    async def _next_stir(self, at: float) -> None:
        assert self._wake is not None
        with self._clock.move_on_after(max(0.0, at - self._clock.now())):
            await self._wake.wait()
        if self._wake.is_set():
            self._wake = anyio.Event()

    def _stir(self) -> None:
        if self._wake is not None:
            self._wake.set()

    async def _open_persistently(self, lost: _Link | None) -> _Link:
        """Connect, as often as the policy allows; raises what waiting does not mend."""
        refused = 0
        if lost is not None:
            lived = self._clock.now() - lost.began
            if lost.heard and lived >= self._reconnect_config.base_s:
                self._attempts = 0
            else:  # a server that accepts and hangs up at once is not asked again at once
                await self._wait(lost.problem or ConnectionLost("the socket ended"))
        while True:
            try:
                return await self._open()
            except _PROBLEMS as error:
                problem = self._veiled(error)
            status = getattr(problem, "status", None)
            if isinstance(problem, HandshakeError) and status in (401, 403, 404, 410):
                # The URI is the socket's only credential: the channel is gone, or was never ours.  One more may be.
                refused += 1
                self._replace_channel = True
                if refused > 1:
                    raise problem
                continue
            if isinstance(problem, RemoteProtocolError) or (status is not None and status not in _TRANSIENT):
                raise problem
            await self._wait(problem)

    async def _wait(self, problem: Exception) -> None:
        """Wait before another attempt; raises when there have been enough."""
        asked = getattr(problem, "retry_after", None)
        if self._attempts >= self._reconnect_config.attempts or (asked or 0.0) > self._config.max_retry_after_s:
            raise ReconnectExhausted(
                f"gave up the notification channel after {self._attempts} attempts in a row; the last: {problem}",
                attempts=self._attempts,
            ) from problem
        wait = delay(self._reconnect_config, self._attempts, self._rng, asked)
        self._attempts += 1
        logger.info("connecting to notifications failed (%s); once more in %.1f s", problem, wait)
        await self._clock.sleep(wait)

    async def _open(self, overlap: Overlap | None = None) -> _Link:
        """Open a socket: to the channel in hand if it still is one, else to a new one."""
        if self._channel is not None and not self._replace_channel:
            if self._reuses >= self._config.max_reuses:
                self._replace_channel = True
            else:
                try:
                    await self._request("HEAD", api_path("notifications", "channels", self._channel.id))
                    self._reuses += 1
                except NotFound:
                    self._replace_channel = True
        if self._channel is None or self._replace_channel:
            await self._new_channel()
        elif self._wanted != self._subscribed:
            await self._subscribe("PUT")
        return await self._connect(overlap)

    async def _connect(self, overlap: Overlap | None) -> _Link:
        assert self._tasks is not None
        config = self._config
        assert self._channel is not None
        now = self._clock.now()
        state = SocketState(now, watchdog_s=config.watchdog_s, ping_interval_s=config.ping_interval_s)
        link = _Link(self._channel, state, now, overlap)
        self._tasks.start_soon(self._hold, link)
        try:
            await link.opened.wait()
        except BaseException:
            link.scope.cancel()
            raise
        if not link.live and link.problem is not None:
            raise link.problem
        self.counts["connections"] += 1
        return link

    async def _hold(self, link: _Link) -> None:
        """Have one socket from opening to end; never raises."""
        config = self._config
        try:
            with link.scope:
                async with connect(
                    link.channel.connect_uri,
                    clock=self._clock,
                    ping_interval_s=None,  # the channel has pings of its own, which its heartbeats make up for
                    open_timeout_s=config.open_timeout_s,
                    max_message_octets=config.max_message_octets,
                    ssl=self._ssl,
                ) as websocket:
                    link.live = True
                    link.opened.set()
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._watch, link, websocket.send)
                        try:
                            while True:
                                self._take(link, await websocket.receive())
                        except ConnectionLost as error:
                            link.problem = self._veiled(error, link.channel)
                        tasks.cancel_scope.cancel()
        except _PROBLEMS as error:
            link.problem = self._veiled(error, link.channel)
        except ConfigError:
            link.problem = RemoteProtocolError("the server names a notification socket that cannot be used")
        finally:
            if link.problem is None:
                link.problem = ConnectionLost("the notification socket was closed here")
            link.live = False
            link.opened.set()
            link.done.set()
            self._stir()

    async def _watch(self, link: _Link, send: Callable[[str], Awaitable[None]]) -> None:
        """Ping when it is quiet, and give the socket up when it stays so."""
        while True:
            now = self._clock.now()
            if link.state.dead(now):
                silence = self._config.watchdog_s
                link.problem = ConnectionLost(f"nothing came over the notification socket for {silence:g} s")
                link.scope.cancel()
                return
            if link.state.ping_due(now):
                link.state.pinged(now)
                self.counts["pings"] += 1
                try:
                    await send(dialect.PING)
                except ConnectionLost:
                    return  # whoever receives finds out why
            await self._clock.sleep(max(0.001, link.state.next_deadline() - self._clock.now()))

    def _take(self, link: _Link, message: bytes | str) -> None:
        event = link.state.receive(message, self._clock.now())
        link.heard = True
        self.counts[type(event).__name__.lower()] += 1
        match event:
            case Notification():
                if link.overlap is not None and not link.overlap.new(link.side, message):
                    self.counts["duplicates"] += 1
                    return
                self._tell(event)
            case dialect.SocketClosing():
                logger.info("the server will close the notification socket; another is opened")
                self._stir()
            case dialect.TokenRevoked():
                reason = repeatable(event.reason, personal=False) or "no reason given"
                logger.warning("the token was revoked (%s): a new channel is made", reason)
                self._replace_channel = True
                link.problem = ConnectionLost("the token of the notification channel was revoked")
                link.scope.cancel()
            case dialect.NoLongerSubscribed():
                known = {topic.lower(): topic for topic in self._topics}
                subject = known.get(event.subject.lower(), "")
                logger.warning("another channel gets the events of %s", subject or "these topics")
                self._taken = True
                self._gap("taken", subject)
            case dialect.Malformed():
                if str(self.counts["malformed"]).strip("0") == "1":  # 1, 10, 100, ...
                    logger.warning("%d notifications cannot be read: %s", self.counts["malformed"], event.reason)
            case _:
                pass

    async def _hand_over(self, old: _Link) -> _Link:
        """Open the next socket while the old one is still read; the old one if that cannot be done now."""
        assert self._tasks is not None
        replacing = not old.state.closing  # what it tells, if anything, is not worth waiting for
        overlap = Overlap()
        old.overlap, old.side = overlap, 0
        try:
            link = await self._open(overlap)
        except _PROBLEMS as error:
            self._veiled(error)
            logger.warning("handing the notification socket over failed: %s", error)
            old.overlap = None
            asked = getattr(error, "retry_after", None)
            wait = max(1.0, delay(self._reconnect_config, self._attempts, self._rng, asked))
            self._attempts += 1
            self._hand_over_at = self._clock.now() + wait
            self._renew_at = max(self._renew_at, self._hand_over_at)
            return old
        self._attempts = 0
        self.counts["handovers"] += 1
        self._tasks.start_soon(self._retire, old, link, overlap, 0.0 if replacing else self._config.handover_s)
        self._gap("handover")
        return link

    async def _retire(self, old: _Link, new: _Link, overlap: Overlap, seconds: float) -> None:
        """Read the old socket for some time still, then close it."""
        with self._clock.move_on_after(seconds):
            await old.done.wait()
        old.scope.cancel()
        await old.done.wait()
        if new.overlap is overlap:  # it may be about to retire itself
            new.overlap = None


def _is_safe(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme == "wss" or (parts.scheme == "ws" and is_loopback(parts.hostname or ""))


def _check_topics(topics: Iterable[str]) -> None:
    unique = dict.fromkeys(topics)
    if len(unique) > MAX_TOPICS:
        raise ConfigError(f"{len(unique)} topics, but one channel takes {MAX_TOPICS}: use a second Notifications")
    for topic in unique:
        problem = dialect.topic_problem(topic)
        if problem:
            raise ConfigError(f"the topic {topic[:80]!r}: {problem}")


class _Utterances:
    """What a stream of transcription events says, one utterance at a time."""

    def __init__(self, notifications: Notifications, topic: str, stream: Stream[Notification | Gap]) -> None:
        self._notifications = notifications
        self._topic = topic
        self._stream = stream
        self._log = dialect.UtteranceLog()
        self._news: deque[Utterance] = deque()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Utterance:
        while not self._news:
            if self._ended:
                raise StopAsyncIteration
            item = await anext(self._stream)
            if isinstance(item, Gap) and item.cause == "refused":
                raise _no_transcripts(self._notifications.rejected[self._topic])
            if isinstance(item, Notification) and isinstance(item.body, dialect.Transcription):
                self._news.extend(self._log.add(item.body))
                self._ended = item.body.ended
        return self._news.popleft()


@asynccontextmanager
async def transcription(notifications: Notifications, conversation_id: str) -> AsyncIterator[AsyncIterator[Utterance]]:
    """Get what is said in a conversation, with absolute times.

    ::

        async with transcription(notifications, conversation_id) as said:
            async for utterance in said:
                print(utterance.start_ms, utterance.channel, utterance.text)

    The iteration ends with the transcription session, or with ``notifications``.  An utterance comes again, under the
    same id, when its wording changes; the last final one stays.  What was said while there was no connection is not
    told again.

    Parameters
    ----------
    notifications : Notifications
        Entered.
    conversation_id : str
        The conversation; needs ``conversation:transcription:view``.

    Yields
    ------
    async iterator of Utterance
        `gcmedia.dialects.notifications.pinned` puts one on the timeline of a capture.

    Raises
    ------
    ConfigError
        If the server refuses the topic; the message says why.
    """
    topic = dialect.transcription_topic(conversation_id)
    stream = notifications.listen(topic)
    try:
        (state,) = await notifications.add(topic)
        if not state.permitted:
            raise _no_transcripts(state)
        yield _Utterances(notifications, topic, stream)
    finally:
        stream.close()
        await notifications.release(topic)


def _no_transcripts(state: TopicState) -> ConfigError:
    return ConfigError(f"no transcripts of this conversation: {state.reason}")
