"""The seam between sockets and sessions: who may come in, and what either side calls of the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ...errors import ConfigError

__all__ = ["Accept", "Admit", "Connection", "Limits", "Reject", "Session", "UpgradeRequest", "Verdict"]


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """An HTTP request to open a WebSocket, as received.

    Attributes
    ----------
    method, target : str
        ``"GET"``, and path with query exactly as on the request line.
    headers : tuple of (str, str)
        Names as sent and values without surrounding white space, in their order; in no repr, as they hold keys.
    peer : str
        Address of the client, ``""`` when unknown.
    secure : bool
        Whether it came over TLS that ends here.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    peer: str = ""
    secure: bool = False


class Connection(Protocol):
    """What a session may do with its WebSocket; every call returns at once, and after the end does nothing."""

    @property
    def buffered_octets(self) -> int:
        """Octets that the client has not taken yet."""
        ...

    def send_text(self, text: str | bytes) -> None:
        """Send a text message; bytes are UTF-8."""
        ...

    def send_binary(self, octets: bytes) -> None:
        """Send a binary message."""
        ...

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; the connection is cut when the client does not answer it in time."""
        ...

    def abort(self) -> None:
        """Cut the connection."""
        ...


class Session(Protocol):
    """Whoever is behind a connection; called from the transport's callbacks, so it must never wait."""

    @property
    def intake(self) -> Callable[[bytes | bytearray | memoryview], object] | None:
        """What takes binary messages in place of `binary` for the moment, at less cost."""
        ...

    def connected(self, connection: Connection) -> None:
        """The upgrade was accepted."""
        ...

    def text(self, octets: bytes) -> None:
        """A text message came, not decoded."""
        ...

    def binary(self, octets: bytes | bytearray | memoryview) -> None:
        """A binary message came; borrowed for the call."""
        ...

    def disconnected(self, code: int) -> None:
        """The connection has ended, with the close code that was received: 1006 where none was."""
        ...


@dataclass(frozen=True, slots=True)
class Accept:
    """Open the WebSocket for this session."""

    session: Session


@dataclass(frozen=True, slots=True)
class Reject:
    """Answer the request with an error.

    Attributes
    ----------
    status : int
        HTTP status.
    body : str
        Plain text.
    delay_s : float
        How long the answer waits; nothing else does.
    headers : tuple of (str, str)
        Further headers of the answer.
    """

    status: int
    body: str = ""
    delay_s: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()


Verdict: TypeAlias = Accept | Reject
Admit: TypeAlias = Callable[[UpgradeRequest], Verdict | Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what listens.

    Attributes
    ----------
    max_message_octets : int
        A longer message ends its connection with 1009, before it is stored.
    max_waiting : int
        Connections that are not WebSockets yet, those whose refusal is being delayed included; beyond it new ones
        are not accepted until one of them is done, or has been silent for 2 s and is cut for it.
    head_timeout_s : float
        Time for the upgrade request to come, and for the verdict.
    close_timeout_s : float
        Time for the client to answer a close frame, or to take what is left and go.
    """

    max_message_octets: int = 1 << 20
    max_waiting: int = 2000
    head_timeout_s: float = 10.0
    close_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not 1024 <= self.max_message_octets <= 1 << 30:
            raise ConfigError(f"max_message_octets is {self.max_message_octets} octets, not in [1024, {1 << 30}]")
        if self.max_waiting < 1:
            raise ConfigError(f"max_waiting is {self.max_waiting}, less than 1")
        for name in ("head_timeout_s", "close_timeout_s"):
            if not 0.0 < getattr(self, name) <= 3600.0:
                raise ConfigError(f"{name} is {getattr(self, name)} s, not in (0, 3600]")
