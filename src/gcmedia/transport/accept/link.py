"""One accepted connection, without its socket: the upgrade, then RFC 6455 by ``websockets``' sans-I/O protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from inspect import isawaitable
from itertools import islice
from typing import Any

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from .types import Accept, Admit, Limits, Reject, Session, UpgradeRequest, Verdict

__all__ = ["Board", "Link"]

log = logging.getLogger("gcmedia.server")

MAX_EARLY_OCTETS = 64 * 1024  # that come before the verdict
SILENT_S = 2.0  # without a request, after which a connection gives way to others where there is no room
FULL_LOOKS = 4
MAX_LOOK = 64  # connections that are looked at for one
_TEXT, _BINARY, _CONT, _CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.CLOSE


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """Lets a library warn, but not write frames, headers or a line for every connection to the log."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- the name is logging's
        return level >= logging.ERROR and super().isEnabledFor(level)


QUIET = _Quiet(log, {})


class Board:
    """What all links of a listener share: how to decide, the bounds, and the deadlines.

    Parameters
    ----------
    admit : callable
        Takes an `UpgradeRequest`, gives a verdict, or an awaitable of one.
    limits : Limits
        The bounds.
    spawn : callable
        Runs a coroutine beside everything else.
    now : callable
        Seconds of a steady clock.
    """

    def __init__(
        self,
        admit: Admit,
        limits: Limits,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        now: Callable[[], float],
    ) -> None:
        self.admit = admit
        self.limits = limits
        self.spawn = spawn
        self.now = now
        self.waiting: dict[Link, float] = {}  # no WebSockets yet, or none any more: when they are cut
        self.delayed: dict[Link, tuple[float, Reject]] = {}
        self.open: set[Link] = set()
        self.reads: Any = None  # of asyncio's links, where there can be one
        self.cut = 0  # connections that had to give way to others, or were past a deadline
        self._n_full = 0  # looks in a row at which there was no room

    def has_room(self, n_coming: int = 0) -> bool:
        """Whether one more may be accepted, beside so many that are no links yet.

        In a storm of connections most of those that wait have sent their request, and wait for their turn; so no more
        are accepted for the moment, and the kernel keeps them.  What has been silent gives way.
        """
        waiting = self.waiting
        if len(waiting) + n_coming < self.limits.max_waiting:
            self._n_full = 0
            return True
        self._n_full += 1
        if self._n_full < FULL_LOOKS:  # what has come meanwhile is read first
            return False
        silent_since = self.now() + self.limits.head_timeout_s - min(SILENT_S, self.limits.head_timeout_s)
        for link in islice(waiting, MAX_LOOK):  # the oldest first
            if waiting[link] <= silent_since and link.undecided:
                del waiting[link]
                self.cut += 1
                link.abort()
                return True
        return False

    def sweep(self, now: float) -> None:
        """Send the refusals that are due; cut what is past its deadline."""
        if self.delayed:
            for link in [link for link, (due, _) in self.delayed.items() if due <= now]:
                link.reject_now(self.delayed.pop(link)[1])
        if self.waiting:
            for link in [link for link, deadline in self.waiting.items() if deadline <= now]:
                self.cut += 1
                link.abort()

    def forget(self, link: Link) -> None:
        """Its socket is closed."""
        self.waiting.pop(link, None)
        self.delayed.pop(link, None)
        self.open.discard(link)

    def abort_all(self) -> None:
        """Cut every connection."""
        for link in [*self.waiting, *self.open]:
            link.abort()


class Link:
    """One accepted connection; a driver gives it a socket by the methods under `Its driver's`.

    To its session it is a `Connection`.
    """

    __slots__ = ("_board", "_code", "_early", "_fragments", "_opcode", "_over", "_protocol", "_session")

    secure = False

    def __init__(self, board: Board) -> None:
        self._board = board
        self._session: Session | None = None
        self._protocol: Any = None
        self._early = 0
        self._fragments: list[bytes] | None = None
        self._opcode: Any = _TEXT
        self._over = False  # nothing is handed to the session any more
        self._code = 1006

    # Its driver's

    def _write(self, octets: bytes) -> None:
        raise NotImplementedError  # asyncio has a transport for it, trio a queue and a task: each subclass its own

    def _finish(self) -> None:
        """Close the socket when what was written is out."""
        raise NotImplementedError  # only the subclass knows what is not out yet

    def _peer(self) -> str:
        raise NotImplementedError  # the subclass has the socket

    @property
    def buffered_octets(self) -> int:
        """Octets that the client has not taken yet."""
        raise NotImplementedError  # the subclass has what is queued

    def abort(self) -> None:
        """Cut the connection."""
        raise NotImplementedError  # the subclass has the socket, and its task

    @property
    def undecided(self) -> bool:
        """Whether its request has not come yet, or not its verdict."""
        return self._session is None and self not in self._board.delayed and not self._over

    # What the driver calls

    def _begin(self) -> bool:
        """The socket is there; False when it is one too many."""
        board = self._board
        if len(board.waiting) >= board.limits.max_waiting:
            board.cut += 1
            return False
        board.waiting[self] = board.now() + board.limits.head_timeout_s
        self._protocol = ServerProtocol(max_size=board.limits.max_message_octets, logger=QUIET)
        return True

    def _feed(self, octets: bytes | bytearray | memoryview) -> None:
        """Octets have come."""
        protocol = self._protocol
        if protocol is None:
            return
        if self._session is None:
            self._early += len(octets)
            if self._early > MAX_EARLY_OCTETS:
                self.abort()
                return
        try:
            protocol.receive_data(octets)
        except EOFError:
            return
        for event in protocol.events_received():
            if type(event) is Frame:
                self._take(event)
            else:
                self._decide(event)
        if protocol.writes:
            self._flush()

    def _end(self) -> None:
        """The socket is closed."""
        self._board.forget(self)
        self._leave()
        self._protocol = None

    # The upgrade

    def _decide(self, request: Request) -> None:
        response = self._protocol.accept(request)
        if response.status_code != 101:  # no WebSocket upgrade
            self._protocol.send_response(response)
            return
        verdict: Any
        try:
            verdict = self._board.admit(
                UpgradeRequest(
                    "GET",
                    request.path,
                    tuple((name, value.strip(" \t")) for name, value in request.headers.raw_items()),
                    self._peer(),
                    self.secure,
                )
            )
        except Exception:
            log.exception("an upgrade could not be decided")
            verdict = Reject(500)
        if isawaitable(verdict):
            self._board.spawn(self._decide_later(verdict, request, response))
        else:
            self._apply(verdict, request, response)

    async def _decide_later(self, verdict: Any, request: Request, response: Response) -> None:
        try:
            decided: Verdict = await verdict
        except Exception:
            log.exception("an upgrade could not be decided")
            decided = Reject(500)
        if self._protocol is None:  # gone meanwhile
            if isinstance(decided, Accept):
                decided.session.disconnected(1006)
            return
        self._apply(decided, request, response)
        self._feed(b"")  # what came meanwhile

    def _apply(self, verdict: Verdict, request: Request, response: Response) -> None:
        if isinstance(verdict, Reject):
            if verdict.delay_s > 0:
                now = self._board.now()
                self._board.delayed[self] = (now + verdict.delay_s, verdict)
                self._board.waiting[self] = now + verdict.delay_s + self._board.limits.close_timeout_s
            else:
                self.reject_now(verdict)
            return
        self._board.waiting.pop(self, None)
        self._board.open.add(self)
        self._session = verdict.session
        self._accept(request, response)
        verdict.session.connected(self)

    def _accept(self, request: Request, response: Response) -> None:
        self._protocol.send_response(response)
        self._flush()

    def reject_now(self, verdict: Reject) -> None:
        """Answer the request with an error, and close."""
        protocol = self._protocol
        if protocol is None:
            return
        response = protocol.reject(verdict.status, verdict.body)
        headers = Headers(response.headers)
        for name, value in verdict.headers:
            headers[name] = value
        response.headers = headers
        protocol.send_response(response)
        self._flush()

    # Messages

    def _take(self, frame: Frame) -> None:
        if self._over or self._session is None:
            return
        opcode = frame.opcode
        if opcode is _BINARY and frame.fin:
            (self._session.intake or self._session.binary)(frame.data)
        elif opcode is _TEXT and frame.fin:
            self._session.text(bytes(frame.data))
        elif opcode is _CONT:
            assert self._fragments is not None
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                whole, self._fragments = b"".join(self._fragments), None
                if self._opcode is _BINARY:
                    self._session.binary(whole)
                else:
                    self._session.text(whole)
        elif opcode is _TEXT or opcode is _BINARY:
            self._opcode = opcode
            self._fragments = [bytes(frame.data)]
        elif opcode is _CLOSE:
            self._code = 1005 if not frame.data else int.from_bytes(frame.data[:2], "big")

    def _flush(self) -> None:
        """Write what the protocol has to say."""
        protocol = self._protocol
        if protocol is None:
            return
        pieces = protocol.data_to_send()
        if not pieces:
            return
        octets = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if octets:
            self._write(octets)
        if not pieces[-1]:  # the protocol asks for the end of the stream
            self._board.open.discard(self)
            self._board.waiting[self] = self._board.now() + self._board.limits.close_timeout_s
            self._finish()
            self._leave()

    def _leave(self) -> None:
        """The session gets nothing any more."""
        self._over = True
        session, self._session = self._session, None
        if session is not None:
            session.disconnected(self._code)

    def send_text(self, text: str | bytes) -> None:
        """Send a text message."""
        protocol = self._protocol
        if protocol is not None and protocol.state is State.OPEN:
            protocol.send_text(text.encode() if isinstance(text, str) else text)
            self._flush()

    def send_binary(self, octets: bytes) -> None:
        """Send a binary message."""
        protocol = self._protocol
        if protocol is not None and protocol.state is State.OPEN:
            protocol.send_binary(octets)
            self._flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; cut when it is not answered in time."""
        protocol = self._protocol
        if protocol is None or protocol.state is not State.OPEN:
            return
        self._board.waiting[self] = self._board.now() + self._board.limits.close_timeout_s
        protocol.send_close(code, reason)
        self._flush()
