"""Listening in: one channel of one call as PCMU, audited in the call and in the monitor's own log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio

from .._core.g711 import ulaw_encode
from ..live import LiveCall
from ..record import AuditLog
from . import wire

if TYPE_CHECKING:
    from .streaming import Write

__all__ = ["ListenAudit", "listen"]

log = logging.getLogger("gcmedia.monitor")

TICK_S = 0.1
MAX_FRAMES = 100  # of all channels that wait for a slow listener: at two channels a second


class ListenAudit:
    """Writes down who listens, and who may not."""

    def __init__(self, audit: AuditLog | None) -> None:
        self._audit = audit
        self.refused = 0

    def note(self, live: LiveCall, outcome: str, *, role: str, channel: str, kind: str) -> None:
        """Listening has begun or ended."""
        details: dict[str, Any] = {"channel": channel, "track": kind}
        log.info("listening in on call %d has %s", live.number, outcome)
        if self._audit is not None:
            self._audit.record("listen_in", interaction_id=live.conversation_id, actor=role, outcome=outcome, **details)
        call = live.call
        if call is not None:
            live.request(lambda: call.note("listen_in", actor=role, outcome=outcome, **details))

    def refuse(self, live: LiveCall | None, why: str) -> None:
        """Somebody without the token has tried."""
        self.refused += 1
        log.warning("listening in on call %s was refused: %s", "?" if live is None else live.number, why)
        if self._audit is not None:
            self._audit.record(
                "denied",
                interaction_id="" if live is None else live.conversation_id,
                outcome="refused",
                wish="listen_in",
            )


async def listen(live: LiveCall, channel: int, clean: bool, write: Write) -> None:
    """Send a channel's frames as they come until the call ends; one who is too slow misses the oldest, and is told."""
    assert live.call is not None
    frames = live.call.subscribe("listen-in", max_frames=MAX_FRAMES, overflow="drop_oldest")
    told = 0
    try:
        await write(wire.text({"listen": live.channels[channel], "rate": live.sample_rate}))
        while True:
            over = live.ended
            octets = [
                ulaw_encode(frame.pcm if clean else frame.raw)
                for frame in frames.take_nowait()
                if frame.channel == channel
            ]
            if octets:
                await write(wire.message(wire.AUDIO, b"".join(octets)))
            if frames.dropped > told:
                await write(wire.text({"missedFrames": frames.dropped - told}))
                told = frames.dropped
            if over:
                return
            await anyio.sleep(TICK_S)
    finally:
        frames.close()
