"""A whole call: audio at its pace, the actions of a script, and new sessions in place of old ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from ...dialects.audiohook import (
    NIL_ID,
    AudioHookClientConfig,
    Media,
    Open,
    Participant,
    events,
)
from ...errors import ConfigError
from .caller import Caller
from .client import AudioHookClient
from .outcome import Line, SessionReport
from .script import ACTIONS, FAULTS, Action, Script
from .speech import Speech

if TYPE_CHECKING:
    import ssl as ssl_module

__all__ = ["DialReport", "Dialer", "offer_of", "probe_of"]

MAX_PAYLOAD_OCTETS = 64_000
MAX_SESSIONS = 100
OVERSIZE_OCTETS = 70_000
BAD_FRAME = b"\xff\xff" + bytes(range(40))  # reserved bits and an opcode that there is not
GARBAGE = '{"version": "2", "type": "ping", "id": '


def offer_of(
    channels: str = "external,internal", formats: tuple[str, ...] = ("PCMU",), rate: int = 8000
) -> tuple[Media, ...]:
    """Media as the platform offers them: of two channels both together, and each alone.

    Parameters
    ----------
    channels : str
        ``"external,internal"``, ``"internal,external"``, ``"external"`` or ``"internal"``, in the order of samples.
    formats : tuple of str
        ``"PCMU"`` and ``"L16"``, the one liked best first.
    rate : int
        Hz.

    Raises
    ------
    ConfigError
        If there is no such channel or format.
    """
    names = tuple(part.strip() for part in channels.split(","))
    found = []
    for name in formats:
        both = Media(name, names, rate)
        if not both.usable:
            raise ConfigError(f"media are {name} with channels {channels!r} at {rate} Hz: nothing that can be sent")
        found.append(both)
        if len(names) == 2:
            found += [Media(name, (one,), rate) for one in names]
    return tuple(found)


def probe_of(open: Open) -> Open:
    """What the platform sends to test a connection, made of what it would send for a call."""
    return msgspec.structs.replace(open, conversation_id=NIL_ID, participant=Participant(), continued_sessions=())


@dataclass(slots=True)
class DialReport:
    """What came of a call.

    Attributes
    ----------
    sessions : list of SessionReport
        One, and one more for each reconnect.
    stopped : bool
        Whether it was ended from outside, ahead of the script's end.
    """

    sessions: list[SessionReport] = field(default_factory=list)
    stopped: bool = False

    @property
    def conforming(self) -> bool:
        """Whether the server kept to the protocol in all of them."""
        return all(session.conformity.conforming for session in self.sessions)

    @property
    def disconnect(self) -> str:
        """The reason for which the server ended the last session, ``""`` when it did not."""
        return self.sessions[-1].disconnect if self.sessions else ""

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "conforming": self.conforming,
            "stopped": self.stopped,
            "sessions": [session.as_dict() for session in self.sessions],
        }


class Dialer:
    """Call an AudioHook server as the platform does.

    Parameters
    ----------
    url : str
        ``ws://`` or ``wss://``.
    open : Open
        What is offered.
    speech : Speech
        What is said; unused when the server chooses no media.
    script : Script, optional
        What happens; only the audio by default.
    caller : Caller, optional
        Keys of the upgrade request; each session has an id of its own.
    config : AudioHookClientConfig, optional
        Settings of the protocol.
    l16_byteorder : str
        ``"little"`` or ``"big"``.
    on_line, on_event, ssl :
        See `AudioHookClient`; the callbacks get the session's number, from 1 on, first.

    Attributes
    ----------
    report : DialReport
        What came of it so far.
    clients : list of AudioHookClient
        The sessions so far; the server's audio is in their ``playback``.
    """

    def __init__(
        self,
        url: str,
        open: Open,
        speech: Speech,
        *,
        script: Script | None = None,
        caller: Caller | None = None,
        config: AudioHookClientConfig | None = None,
        l16_byteorder: str = "little",
        on_line: Callable[[int, Line], object] | None = None,
        on_event: Callable[[int, Any], object] | None = None,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._open = open
        self._speech = speech
        self._script = script or Script()
        self._caller = caller or Caller(organization_id=open.organization_id)
        self._config = config
        self._l16_byteorder = l16_byteorder
        self._on_line = on_line
        self._on_event = on_event
        self._ssl = ssl
        self._origin: float | None = None
        self._wanted = False  # the server asked for a reconnect
        self.report = DialReport()
        self.clients: list[AudioHookClient] = []

    async def run(self) -> DialReport:
        """Make the call, to its end.

        Raises
        ------
        HandshakeError
            If the server refuses the upgrade.
        TransportError
            If there is no connection.
        """
        actions = sorted(self._script.actions, key=lambda action: action.at_s)
        offer, caller = self._open, self._caller
        async with AsyncExitStack() as sessions:
            while len(self.clients) < MAX_SESSIONS:
                old = self.clients[-1] if self.clients else None
                client = await sessions.enter_async_context(self._client(offer, caller))
                opened = await client.opened()
                if old is not None and opened and not old.ended:
                    await old.close("reconnect")
                if not opened or self._open.probe or not await self._play(client, actions):
                    break
                replayed = int(self._script.replay_s * client.machine.sample_rate)
                offer = msgspec.structs.replace(
                    self._open,
                    position=max(self._open.position, client.machine.position - replayed),
                    continued_sessions=(*offer.continued_sessions, client.checkpoint),
                )
                caller = replace(caller, session_id=Caller().session_id, correlation_id=Caller().correlation_id)
            if not self.clients[-1].silent:
                await self.clients[-1].close(self._script.close_reason)
        return self.report

    def stop(self) -> None:
        """End the call by the protocol, ahead of its time."""
        self.report.stopped = True
        for client in self.clients:
            client.leaving.set()

    # Within

    def _client(self, offer: Open, caller: Caller) -> AudioHookClient:
        number = len(self.clients) + 1
        line, event = self._on_line, self._on_event

        def happened(what: Any) -> None:
            if isinstance(what, events.Reconnect) and self._script.follow_reconnect:
                self._wanted = True
            if event is not None:
                event(number, what)

        client = AudioHookClient(
            self._url,
            offer,
            caller=caller,
            config=self._config,
            on_line=None if line is None else lambda one: line(number, one),
            on_event=happened,
            ssl=self._ssl,
        )
        self.clients.append(client)
        self.report.sessions.append(client.report)
        return client

    async def _play(self, client: AudioHookClient, actions: list[Action]) -> bool:
        """Play the call on one session; True when another is to take it over."""
        machine, script, speech = client.machine, self._script, self._speech
        rate = machine.sample_rate
        block = machine.media.block_octets if machine.media else 1
        seconds = script.seconds if script.seconds is not None else speech.n_samples / speech.sample_rate
        end = self._open.position + int(seconds * rate)
        frame = max(1, int(script.frame_ms * rate / 1000))
        most = MAX_PAYLOAD_OCTETS // block
        pace = rate * script.speed
        position = machine.position
        if self._origin is None:  # audio is there when its last sample has been said: at `origin` plus its place
            self._origin = time.monotonic() - (position + script.burst_s * rate) / pace
        resume_at = read_at = end + 1
        while position < end:
            while actions and actions[0].at_s * rate <= position:
                action = actions.pop(0)
                length = int(action.seconds * rate) if (ACTIONS | FAULTS)[action.kind] == "seconds" else 0
                match action.kind:
                    case "pause":
                        await client.pause()
                        resume_at = position + length
                    case "discard":
                        length = min(length, end - position)
                        position += length if await client.discard(length) else 0
                    case "slow-reader":
                        client.hold_reading()
                        read_at = position + length
                    case "reconnect":
                        return True
                    case "drop":
                        await client.vanish()
                        return True
                    case _ if not await self._act(client, action):
                        return False
            if position >= resume_at:
                await client.resume()
                resume_at = end + 1
            if position >= read_at:
                client.go_on_reading()
                read_at = end + 1
            if self._wanted:
                self._wanted = False
                return True
            late = int((time.monotonic() - self._origin) * pace) - position
            whole = min(max(1, late // frame) * frame, most)
            limit = min(end, resume_at, read_at, int(actions[0].at_s * rate) if actions else end)
            n_samples = max(1, min(whole, limit - position))
            if not await self._wait(client, self._origin + (position + n_samples) / pace - time.monotonic()):
                return False
            if machine.media is None or machine.paused:
                machine.skip(n_samples, time.monotonic())
            else:
                await client.send_audio(speech.payload(position, n_samples, machine.media, self._l16_byteorder))
            position += n_samples
        return False

    async def _wait(self, client: AudioHookClient, seconds: float) -> bool:
        """Let real time pass; False when the session is not to go on."""
        with anyio.move_on_after(max(0.0, seconds)):
            await client.leaving.wait()
        return not client.leaving.is_set()

    async def _act(self, client: AudioHookClient, action: Action) -> bool:
        """Do what has no place on the timeline; False when the session is not to go on."""
        match action.kind:
            case "stall":
                return await self._wait(client, action.seconds / self._script.speed)
            case "dtmf":
                await client.dtmf(action.value)
            case "update":
                await client.update(action.value)
            case "error":
                await client.error(int(action.value), "as the script says")
            case "garbage":
                await client.send_message(GARBAGE)
            case "wrong-seq":
                client.machine.sent_seq += 1  # a number that is never sent
                await client.update("en-US")
            case "odd-audio":
                await client.send_message(b"\x7f" * 161)
            case "oversize":
                await client.send_message(b"\x7f" * OVERSIZE_OCTETS)
            case "bad-frame":
                await client.send_octets(BAD_FRAME)
            case "vanish":
                await client.vanish()
            case "freeze":
                client.freeze()
                await self._wait(client, action.seconds)
        return not client.silent
