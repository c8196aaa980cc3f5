"""The server: one TCP port, HTTP and WebSocket, every connection a task of its own."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.from_thread import start_blocking_portal

from ..errors import ConfigError, StateError
from .agents import AgentLeg, Agents, MuteFaults
from .api_faults import ApiFaults
from .calls import Call
from .conversations import Conversations
from .faults import Faults
from .gate import Gate
from .http import HttpReader, Request, RequestRefused, Response, api_error
from .interactive_sessions import InteractiveSessions
from .journal import HttpExchange, Journal, Truth
from .media_messages import LAYOUTS
from .media_streams import MediaStreamsSocket
from .notifications import Notifications
from .oauth import OAuth
from .platform import Platform
from .platform_media import PlatformMedia
from .routes import Router, SocketRoute
from .streams_plan import StreamsPlan
from .tokens import TokenStore
from .webchat_edge import EDGE_ACKS, WebchatEdge
from .websocket import WebSocket

__all__ = ["Simulator", "serve_forever"]

_log = logging.getLogger("gcmedia.simulator")
_MAX_CONNECTIONS = 4096  # beyond, a connection is answered with 503


class Simulator:
    """A Genesys Cloud on loopback: token endpoint and platform media socket, with faults to order.

    An async context manager on the running anyio backend; `in_thread` is the same for synchronous callers.

    Parameters
    ----------
    calls : mapping of str to Call, or Call, optional
        What there is, by conversation id; one `Call` alone is what every id gets (10000 of them at most); none by
        default.
    faults : Faults, optional
        What goes wrong; nothing by default.
    speed : float or None
        1 is real time, 8 eight times faster; None sends as fast as the client reads.
    live : bool, optional
        Whether a call goes on in real time while nobody is connected, so that an outage costs the longer of what
        was planned and what it took.  By default only at ``speed=1``; otherwise an outage costs what was planned,
        and what is sent never depends on the clock.
    layout : str
        Of media messages: ``"padded16"``, ``"packed12"`` or ``"json"``.
    ack : str
        ``"detailed"`` or ``"bare"``.
    token_in : str
        Where a token is looked for: ``"any"``, ``"header"`` or ``"query"``.
    client_id, client_secret : str, optional
        The credentials that are accepted; random when not given.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 takes a free one.
    write_timeout_s : float
        How long a paced connection waits for a client that does not read, before it is dropped.
    journal_limit : int
        Records kept in the journal.
    media_streams : StreamsPlan, optional
        How the media streams socket behaves.
    legs : iterable of AgentLeg
        Agents' parts of calls, to be muted; `agents` has them.
    mute_faults : MuteFaults, optional
        What goes wrong with that; nothing by default.
    api_faults : ApiFaults, optional
        What goes wrong with the REST API and the notification channels; nothing by default.
    edge_acks : str
        How the web chat edge answers commands: ``"command"``, with an event each; ``"change"``, when something
        changed; ``"none"``.

    Attributes
    ----------
    gate : Gate
        What requests to the API pass; counts those that came too early.
    notifications : Notifications
        The notification service, to be made to fail at a moment of the caller's choice.

    Notes
    -----
    A call begins with its first subscription and ends for good with its last packet.  Between connections a
    stream waits (unless ``live``) and then resumes at the live edge, which is the planned outage later.

    A client that reads slowly is never sent less.  The kernel's buffers fill, then sending waits: an unpaced call
    simply takes longer; a paced one catches up in a burst, in order, unless a single write takes more than
    ``write_timeout_s``, which drops the connection without a close frame and leaves what was unsent undelivered.
    """

    def __init__(
        self,
        calls: Mapping[str, Call] | Call | None = None,
        faults: Faults | None = None,
        *,
        speed: float | None = 1.0,
        live: bool | None = None,
        layout: str = "padded16",
        ack: str = "detailed",
        token_in: str = "any",  # noqa: S107 - a place, not a token
        client_id: str | None = None,
        client_secret: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        write_timeout_s: float = 30.0,
        journal_limit: int = 100_000,
        media_streams: StreamsPlan | None = None,
        legs: Iterable[AgentLeg] = (),
        mute_faults: MuteFaults | None = None,
        api_faults: ApiFaults | None = None,
        edge_acks: str = "command",
    ) -> None:
        if speed is not None and not 0.0 < speed <= 10_000.0:
            raise ConfigError(f"speed is {speed}, not above 0 and at most 10000, nor None for unpaced")
        if live and speed is None:
            raise ConfigError("live needs a speed: an unpaced call has no edge that moves with the clock")
        for name, value, known in (
            ("layout", layout, LAYOUTS),
            ("ack", ack, ("detailed", "bare")),
            ("edge_acks", edge_acks, EDGE_ACKS),
            ("token_in", token_in, ("any", "header", "query")),
        ):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}, not one of {', '.join(known)}")
        if not write_timeout_s > 0.0:
            raise ConfigError(f"write_timeout_s is {write_timeout_s} s, not above 0")
        if journal_limit < 1:
            raise ConfigError(f"journal_limit is {journal_limit}, less than 1")
        faults = faults or Faults()
        self.client_id = client_id or secrets.token_hex(16)
        self.client_secret = client_secret or secrets.token_urlsafe(32)
        self.journal = Journal(journal_limit)
        self._platform = Platform(
            calls={} if calls is None else calls,
            faults=faults,
            tokens=TokenStore(self.client_id, self.client_secret, faults.token_lifetime_s),
            agents=Agents(legs, mute_faults, speed),
            journal=self.journal,
            speed=speed,
            live=speed == 1.0 if live is None else live,
            layout=layout,
            ack=ack,
            token_in=token_in,
            write_timeout_s=write_timeout_s,
            media_streams=media_streams or StreamsPlan(),
        )
        api_faults = api_faults or ApiFaults()
        self.gate = Gate(self._platform, api_faults)
        self.notifications = Notifications(self._platform, self.gate, api_faults)
        self._mute_faults = mute_faults
        streams = MediaStreamsSocket(self._platform)
        self._router = Router(
            [
                *OAuth(self._platform).routes(),
                *PlatformMedia(self._platform).routes(),
                *Conversations(self._platform, self.gate, streams.describe).routes(),
                *self.notifications.routes(),
                *WebchatEdge(self._platform, edge_acks).routes(),
                *InteractiveSessions(self._platform).routes(),
                *streams.routes(),
            ]
        )
        self._host = host
        self._port = port
        self._bound: int | None = None
        self._numbers = count(1)
        self._open = 0
        self._stack: AsyncExitStack | None = None

    @classmethod
    @contextmanager
    def in_thread(cls, *args: Any, backend: str = "asyncio", **settings: Any) -> Iterator[Simulator]:
        """The same server in a thread and an event loop of its own; takes what the class takes.

        The journal and `truth` may be read from the calling thread.
        """
        with (
            start_blocking_portal(backend) as portal,
            portal.wrap_async_context_manager(cls(*args, **settings)) as cloud,
        ):
            yield cloud

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise StateError("the simulator is already running")
        async with AsyncExitStack() as stack:
            listener = await anyio.create_tcp_listener(local_host=self._host, local_port=self._port)
            await stack.enter_async_context(listener)
            self._bound = int(listener.extra(SocketAttribute.local_port))  # noqa: S610
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(listener.serve, self._connection)
            stack.callback(tasks.cancel_scope.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._stack is not None
        stack, self._stack = self._stack, None
        return await stack.__aexit__(kind, value, trace)

    @property
    def base_url(self) -> str:
        """Root of the HTTP endpoints, without a slash at the end."""
        return f"http://{self._authority}"

    @property
    def token_url(self) -> str:
        """Where tokens are to be had."""
        return f"{self.base_url}/oauth/token"

    @property
    def media_url(self) -> str:
        """The platform media socket."""
        return f"ws://{self._authority}/api/v2/platform/media"

    @property
    def media_streams_url(self) -> str:
        """The media streams socket."""
        return f"ws://{self._authority}/api/v2/media/streams"

    @property
    def edge_url(self) -> str:
        """The web chat edge, without its query."""
        return f"ws://{self._authority}/ws"

    @property
    def agents(self) -> Agents:
        """The legs that can be muted; to be changed in the event loop that the simulator runs in."""
        return self._platform.agents

    async def add_leg(self, leg: AgentLeg) -> None:
        """Let an agent join a call, as a transfer or a consultation does."""
        leg.order(self._mute_faults or MuteFaults())
        self._platform.agents.legs.append(leg)
        await self.notifications.arrived(leg)

    def user_token(self, user_id: str) -> str:
        """A token as a user's sign-in gives it; to be called in the event loop that the simulator runs in."""
        return self._platform.tokens.issue(anyio.current_time(), user_id)

    @property
    def conversations(self) -> tuple[str, ...]:
        """Ids that were subscribed to so far."""
        return tuple(self._platform.streams)

    def truth(self, conversation_id: str) -> Truth:
        """What was really sent of a conversation, as of now.

        Raises
        ------
        StateError
            If nobody has subscribed to it yet.
        """
        stream = self._platform.streams.get(conversation_id)
        if stream is None:
            raise StateError(f"conversation {conversation_id!r} has not been subscribed to")
        return stream.truth()

    def rewind(self, conversation_id: str) -> None:
        """Let a conversation begin again, from its first packet and as if for the first time.

        Raises
        ------
        StateError
            If a connection still has it: nothing is taken from under a client.
        """
        stream = self._platform.streams.get(conversation_id)
        if stream is not None and stream.attached:
            raise StateError(f"conversation {conversation_id!r} is being sent; rewind it when its connection has ended")
        self._platform.streams.pop(conversation_id, None)

    def revoke_tokens(self) -> None:
        """Make every token issued so far invalid."""
        self._platform.tokens.revoke_all()

    @property
    def _authority(self) -> str:
        if self._bound is None:
            raise StateError("the simulator is not running, so it has no address yet")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._bound}"

    async def _connection(self, stream: SocketStream) -> None:
        """Serve one TCP connection.  Whatever happens here ends here."""
        number = next(self._numbers)
        self._open += 1
        try:
            stream.extra(SocketAttribute.raw_socket).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # noqa: S610
            await self._requests(stream, number)
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass  # the client went
        except Exception:
            self.journal.count_failure()
            _log.exception("connection %d failed", number)
        finally:
            self._open -= 1
            await anyio.aclose_forcefully(stream)

    async def _requests(self, stream: SocketStream, number: int) -> None:
        reader = HttpReader(stream)
        more = True
        while more:
            try:
                request = await reader.request()
            except RequestRefused as refusal:
                await reader.respond(refusal.response, close=True)
                await _linger(stream)
                return
            if request is None:
                return
            if self._open > _MAX_CONNECTIONS:
                await self._answer(reader, request, number, api_error(503, "Too many connections."), close=True)
                return
            found = self._router.find(request)
            if isinstance(found, Response):
                more = await self._answer(reader, request, number, found, close=request.upgrades)
                continue
            route, params = found
            request = request.with_params(params, number)
            if isinstance(route, SocketRoute):
                refusal_of_upgrade = route.admit(request)
                if refusal_of_upgrade is not None:
                    await self._answer(reader, request, number, refusal_of_upgrade, close=True)
                else:
                    await self._upgrade(stream, reader.octets, route, request)
                return
            more = await self._answer(reader, request, number, await route.handler(request))

    async def _answer(
        self, reader: HttpReader, request: Request, number: int, response: Response, *, close: bool = False
    ) -> bool:
        self.journal.add_request(HttpExchange(number, request.method, request.path, response.status))
        return await reader.respond(response, close=close)

    async def _upgrade(self, stream: SocketStream, octets: bytes, route: SocketRoute, request: Request) -> None:
        websocket, status = await WebSocket.accept(stream, octets, self.journal.count_ping)
        self.journal.add_request(HttpExchange(request.connection, request.method, request.path, status))
        if websocket is not None:
            await websocket.run(lambda open_socket: route.handler(request, open_socket))


async def _linger(stream: SocketStream) -> None:
    """Read what a refused client still sends: closing at once would reset the connection and lose the answer."""
    await stream.send_eof()
    with anyio.move_on_after(1.0):
        while True:
            await stream.receive()


async def serve_forever(
    calls: Mapping[str, Call] | Call,
    faults: Faults | None = None,
    *,
    on_ready: Callable[[Simulator], None] | None = None,
    **settings: Any,
) -> None:
    """Run a `Simulator` until cancelled; ``on_ready`` is told once it listens."""
    async with Simulator(calls, faults, **settings) as cloud:
        if on_ready is not None:
            on_ready(cloud)
        await anyio.sleep_forever()
