"""Faults to order: what a bad network, a restarting server and a strict token endpoint do, by seed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from ..errors import ConfigError

__all__ = ["MALFORMED_KINDS", "Disconnect", "Faults", "Jump", "Span"]

MALFORMED_KINDS = (
    "short",  # binary, shorter than any header
    "garbage_binary",  # a header's worth of random octets, and some more
    "oversized",  # a valid header, then 64 KiB of audio
    "truncated_json",
    "garbage_text",
    "wrong_types",
    "unknown_type",
    "bad_base64",
)

_RATES = (
    "loss",
    "burst_enter",
    "burst_leave",
    "duplicates",
    "reorder",
    "malformed",
    "transcript_loss",
    "transcript_late",
)
_CLOSE_CODES = (1000, 1001, 1002, 1003, *range(1007, 1015))  # those that may travel in a close frame


class Span(NamedTuple):
    """A stretch of the call: ``at_ms`` from its start, ``length_ms`` long."""

    at_ms: float
    length_ms: float


class Jump(NamedTuple):
    """A step ``by`` (packets or ms) that a counter takes ``at_ms`` from the start of the call."""

    at_ms: float
    by: int


class Disconnect(NamedTuple):
    """The end of a connection, ``at_ms`` from the start of the call.

    ``kind`` is ``"abnormal"`` (all that was sent arrives, then the stream ends without a close frame: 1006),
    ``"close:CODE"`` (a close frame), or ``"half_open"`` (not another octet, no pong, until the client leaves).
    The call goes on meanwhile: the next subscription resumes ``outage_ms`` later.
    """

    at_ms: float
    kind: str = "abnormal"
    outage_ms: float = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong, and when.  Every fault is off by default.  Plain tuples are taken for named ones.

    All times are media time from the start of the call, all rates shares of the packets, 0 to 1.  What is sent,
    and in which order, follows from the call, its conversation id and this object alone.  Each fault draws from
    a random sequence of its own, so that adding one leaves the others where they were.

    Attributes
    ----------
    seed : int
        Of everything random.
    loss : float
        Packets lost one by one.
    burst_enter, burst_leave : float
        Gilbert-Elliott: chance per packet that a burst of loss begins, and that it ends.
    gaps : tuple of Span
        Every packet of the span is lost; sequence numbers go on.
    idle : tuple of Span
        The sender sends nothing: timestamps advance, sequence numbers do not.
    duplicates : float
        Packets sent again, up to 3 packets later.
    reorder, reorder_depth : float, int
        Packets held back, and by at most how many packets.
    jitter_ms : float
        Packets are sent up to this late, in order (a byte stream does not reorder).
    stalls : tuple of Span
        Nothing is sent during the span, then everything at once.
    malformed, malformed_kinds : float, tuple of str
        Messages put before a packet (which is sent too), and of which `MALFORMED_KINDS`.
    sequence_jumps : tuple of Jump
        The sequence number steps, the timestamps do not.
    sequence_restarts_ms : tuple of float
        A new random sequence begins.
    timestamp_jumps : tuple of Jump
        The timestamps step, by ms.
    disconnects : tuple of Disconnect
        Ends of the connection.  One that falls into an outage does not happen.
    disconnect_every_ms, disconnect_outage_ms : float
        An abnormal end at every multiple, when above 0, and its outage.
    restart_sequence_on_reconnect : bool
        After an outage the sequence is a new random one, not the running one.
    transcript_delay_ms : float
        From the end of an utterance to its transcript.
    transcript_loss, transcript_late, transcript_late_ms : float
        Transcripts never sent; transcripts sent later still, and by how much.
    token_lifetime_s : float
        ``expires_in`` of every token, real seconds.
    token_refusals : tuple of int
        Status of the first answers of the token endpoint: 429, 5xx, 400 or 401.
    revoke_tokens_on_disconnect : bool
        With each planned end of a connection all tokens issued so far become invalid.
    upgrade_refusals : tuple of int
        Status of the answers to the first connection attempts: 401, 403, 429, 5xx.
    subscribe_refusals : tuple of int
        Status of the error messages that answer the first subscriptions.
    retry_after_s, retry_after_as_date : float, bool
        The ``Retry-After`` of every 429 and 503: whole seconds, or an HTTP date.
    """

    seed: int = 0
    loss: float = 0.0
    burst_enter: float = 0.0
    burst_leave: float = 0.3
    gaps: tuple[Span, ...] = ()
    idle: tuple[Span, ...] = ()
    duplicates: float = 0.0
    reorder: float = 0.0
    reorder_depth: int = 3
    jitter_ms: float = 0.0
    stalls: tuple[Span, ...] = ()
    malformed: float = 0.0
    malformed_kinds: tuple[str, ...] = MALFORMED_KINDS
    sequence_jumps: tuple[Jump, ...] = ()
    sequence_restarts_ms: tuple[float, ...] = ()
    timestamp_jumps: tuple[Jump, ...] = ()
    disconnects: tuple[Disconnect, ...] = ()
    disconnect_every_ms: float = 0.0
    disconnect_outage_ms: float = 700.0
    restart_sequence_on_reconnect: bool = False
    transcript_delay_ms: float = 200.0
    transcript_loss: float = 0.0
    transcript_late: float = 0.0
    transcript_late_ms: float = 3000.0
    token_lifetime_s: float = 86_400.0
    token_refusals: tuple[int, ...] = ()
    revoke_tokens_on_disconnect: bool = False
    upgrade_refusals: tuple[int, ...] = ()
    subscribe_refusals: tuple[int, ...] = ()
    retry_after_s: float = 1.0
    retry_after_as_date: bool = False

    def __post_init__(self) -> None:
        for name, kind in (
            ("gaps", Span),
            ("idle", Span),
            ("stalls", Span),
            ("sequence_jumps", Jump),
            ("timestamp_jumps", Jump),
            ("disconnects", Disconnect),
        ):
            try:
                entries = tuple(kind(*entry) for entry in getattr(self, name))
            except TypeError as error:
                raise ConfigError(f"{name}: each entry is ({', '.join(kind._fields)}): {error}") from None
            object.__setattr__(self, name, entries)
        for name in _RATES:
            _within(name, getattr(self, name), 0.0, 1.0)
        for name in ("jitter_ms", "disconnect_outage_ms", "transcript_delay_ms", "transcript_late_ms"):
            _within(name, getattr(self, name), 0.0, 3_600_000.0, " ms")
        if self.disconnect_every_ms != 0.0:
            _within("disconnect_every_ms", self.disconnect_every_ms, 1.0, 86_400_000.0, " ms")
        _within("reorder_depth", self.reorder_depth, 1, 1000, " packets")
        _within("token_lifetime_s", self.token_lifetime_s, 0.0, 172_800.0, " s")
        _within("retry_after_s", self.retry_after_s, 0.0, 86_400.0, " s")
        for name in ("gaps", "idle", "stalls"):
            for span in getattr(self, name):
                _within(f"{name}: at_ms", span.at_ms, 0.0, float("inf"), " ms")
                _within(f"{name}: length_ms", span.length_ms, 0.0, 86_400_000.0, " ms")
        for end in self.disconnects:
            _within("disconnects: outage_ms", end.outage_ms, 0.0, 86_400_000.0, " ms")
            _check_end(end.kind)
        for kind_name in self.malformed_kinds:
            if kind_name not in MALFORMED_KINDS:
                raise ConfigError(f"malformed_kinds: {kind_name!r} is not one of {', '.join(MALFORMED_KINDS)}")
        if self.malformed and not self.malformed_kinds:
            raise ConfigError("malformed is above 0, but malformed_kinds is empty")
        for name in ("token_refusals", "upgrade_refusals", "subscribe_refusals"):
            for status in getattr(self, name):
                _within(name, status, 400, 599)

    @classmethod
    def none(cls) -> Self:
        """Nothing goes wrong."""
        return cls()

    @classmethod
    def bad_network(cls, seed: int = 7) -> Self:
        """A call over a poor link: about 2 % loss, some of it in bursts, and something of everything else.

        Duplicates, reordering, jitter, a stall at 12 s, a gap of 400 ms at 20 s, an abnormal end at 30 s with
        an outage of 700 ms, and a few malformed messages.
        """
        return cls(
            seed=seed,
            loss=0.013,
            burst_enter=0.002,
            burst_leave=0.3,
            duplicates=0.01,
            reorder=0.02,
            reorder_depth=3,
            jitter_ms=25.0,
            stalls=(Span(12_000, 180),),
            gaps=(Span(20_000, 400),),
            disconnects=(Disconnect(30_000, "abnormal", 700),),
            malformed=0.003,
        )


def _within(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"{name} is {value}{unit}, not in [{low}, {high}]")


def _check_end(kind: str) -> None:
    if kind in ("abnormal", "half_open"):
        return
    code = re.fullmatch(r"close:(\d{4})", kind)
    if code is None or not (int(code[1]) in _CLOSE_CODES or 3000 <= int(code[1]) <= 4999):
        raise ConfigError(f"disconnects: kind is {kind!r}, not abnormal, half_open or close:CODE with a code to send")
