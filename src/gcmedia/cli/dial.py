"""``gcmedia dial``: call an AudioHook server as the platform does, and say what it does wrong."""

from __future__ import annotations

import json
import os
import wave
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import anyio
import typer
from rich.markup import escape

from .._core.g711 import ulaw_decode
from ..dialects.audiohook import AudioHookClientConfig, Open, Participant
from ..errors import ConfigError, GcmediaError, HandshakeError
from ..simulator.audiohook import (
    ACTIONS,
    FAULTS,
    Action,
    AudioHookClient,
    Caller,
    Dialer,
    DialReport,
    Line,
    Script,
    SessionReport,
    Speech,
    offer_of,
    probe_of,
)
from .run import run_async, stop_on_signal
from .show import console

__all__ = ["API_KEY", "CLIENT_SECRET", "dial_command"]

API_KEY = "AUDIOHOOK_API_KEY"
CLIENT_SECRET = "AUDIOHOOK_CLIENT_SECRET"  # noqa: S105 - the name of a variable

#: Beside those of every command: the server breaks the protocol; it ended the session for an error or rejected it.
NOT_CONFORMING = 5
ENDED_BY_SERVER = 6

_NAMES = ", ".join(kind + (f":{value.upper()}" if value else "") for kind, value in FAULTS.items())


class _Transcript:
    """Prints what goes over the wire; runs of audio in one line."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._run: tuple[int, Line, int, int] | None = None  # session, first of it, frames, octets

    def __call__(self, session: int, line: Line) -> None:
        if self._as_json:
            self._print_json(session, line)
            return
        if line.kind == "audio":
            if self._run and self._run[0] == session and self._run[1].sent == line.sent:
                _, first, frames, octets = self._run
                self._run = session, first, frames + 1, octets + line.n_octets
                return
            self.flush()
            self._run = session, line, 1, line.n_octets
            return
        self.flush()
        self._print(session, line, f"{line.kind:<18} {_told(line.text)}")

    def flush(self) -> None:
        """Print the run of audio that has not been."""
        if self._run is not None:
            session, first, frames, octets = self._run
            self._run = None
            self._print(session, first, f"audio              {frames} x, {octets} octets")

    def _print(self, session: int, line: Line, text: str) -> None:
        print(f"{session}  {line.at_s:9.3f}  {'->' if line.sent else '<-'}  {text}", flush=True)

    def _print_json(self, session: int, line: Line) -> None:
        entry: dict[str, Any] = {
            "session": session,
            "at_s": round(line.at_s, 6),
            "direction": "sent" if line.sent else "received",
            "type": line.kind,
            "octets": line.n_octets,
        }
        if line.kind != "audio":
            try:
                entry["message"] = json.loads(line.text)
            except ValueError:
                entry["text"] = line.text
        print(json.dumps({"kind": "message", **entry}), flush=True)


def _told(text: str) -> str:
    """A message without what is the same in all of them."""
    try:
        message = json.loads(text)
        numbers = " ".join(f"{name} {message[name]}" for name in ("seq", "serverseq", "clientseq") if name in message)
        position = message.get("position")
        parameters = json.dumps(message.get("parameters"), ensure_ascii=False)
        return f"{numbers}{f' at {position}' if position else ''}  {parameters}"
    except (ValueError, TypeError, AttributeError):
        return repr(text[:200])


def _actions(listed: Iterable[tuple[str, list[str]]], faults: list[str]) -> tuple[Action, ...]:
    found = [Action.parse(kind, text) for kind, texts in listed for text in texts]
    for text in faults:
        kind, at, rest = text.partition("@")
        if kind not in FAULTS or not at:
            raise ConfigError(f"fault is {text!r}, not NAME@AT or NAME@AT:SECONDS with one of {', '.join(FAULTS)}")
        found.append(Action.parse(kind, rest))
    return tuple(found)


def _object(name: str, text: str) -> Any:
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{name} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is no JSON object")
    return value


async def _dial(dialer: Dialer) -> DialReport:
    failure: GcmediaError | None = None
    async with anyio.create_task_group() as tasks:

        async def stop() -> None:
            dialer.stop()

        await tasks.start(stop_on_signal, stop)
        try:
            await dialer.run()
        except GcmediaError as error:
            failure = error  # raised outside, where it is no group
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return dialer.report


def dial_command(
    url: Annotated[str, typer.Argument(help="ws:// or wss:// URL of the AudioHook server.")],
    wav: Annotated[
        list[Path] | None, typer.Option(help="PCM, mu-law or A-law; twice for the two parties, the customer first.")
    ] = None,
    api_key: Annotated[str, typer.Option(envvar=API_KEY, help="API key of the integration.")] = "",
    secret: Annotated[str, typer.Option(envvar=CLIENT_SECRET, help="Client secret, base64; none signs nothing.")] = "",
    probe: Annotated[
        bool, typer.Option("--probe", help="Only test the connection, as the administrator's page does.")
    ] = False,
    seconds: Annotated[float | None, typer.Option(help="Length of the call; the audio's by default.")] = None,
    speed: Annotated[float, typer.Option(help="Times real time.")] = 1.0,
    frame_ms: Annotated[float, typer.Option(help="Audio in one message.")] = 200.0,
    channels: Annotated[str, typer.Option(help="Offered, in order: external,internal or one of them.")] = "",
    formats: Annotated[str, typer.Option("--format", help="Offered: PCMU, L16, or both by comma.")] = "PCMU",
    l16_byteorder: Annotated[str, typer.Option(help="little or big.")] = "little",
    burst: Annotated[float, typer.Option(help="Seconds of audio that are there when the session opens.")] = 0.0,
    pause: Annotated[list[str] | None, typer.Option(help="AT:SECONDS this end holds the audio.")] = None,
    discard: Annotated[list[str] | None, typer.Option(help="AT:SECONDS of audio dropped.")] = None,
    stall: Annotated[list[str] | None, typer.Option(help="AT:SECONDS nothing is sent, then all at once.")] = None,
    dtmf: Annotated[list[str] | None, typer.Option(help="AT:KEY pressed.")] = None,
    update: Annotated[list[str] | None, typer.Option(help="AT:LANGUAGE told.")] = None,
    reconnect: Annotated[list[str] | None, typer.Option(help="AT which another session takes over.")] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="AT which the connection is lost, and another takes over.")
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help=f"NAME@AT[:SECONDS], misbehave: {_NAMES}.")] = None,
    language: Annotated[str, typer.Option(help="Told in open.")] = "en-US",
    supported_languages: Annotated[bool, typer.Option("--supported-languages", help="Ask for them.")] = False,
    custom_config: Annotated[str, typer.Option(help="JSON object told in open.")] = "",
    input_variables: Annotated[str, typer.Option(help="JSON object told in open (Audio Connector).")] = "",
    two_way: Annotated[bool, typer.Option("--two-way", help="Audio Connector: the server may send audio.")] = False,
    keep: Annotated[Path | None, typer.Option(help="WAV file for the server's audio.")] = None,
    organization: Annotated[str, typer.Option(help="UUID; a new one by default.")] = "",
    conversation: Annotated[str, typer.Option(help="UUID; a new one by default.")] = "",
    ani: Annotated[str, typer.Option(help="Who calls.")] = "tel:+15551234567",
    dnis: Annotated[str, typer.Option(help="Who is called.")] = "tel:+18005556789",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: messages, then the report.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only findings and the summary.")] = False,
    backend: Annotated[str, typer.Option(help="asyncio or trio.")] = "asyncio",
) -> None:
    """Call an AudioHook server, print what is said, and check every answer.

    Exit codes: 0 the server conforms; 2 wrong usage; 3 not authorised; 4 no connection; 5 the server breaks the
    protocol; 6 it ended the session for an error, or rejected it.
    """
    speech = Speech.from_wavs(wav) if wav else Speech.shipped()
    offered = channels or ("external" if wav and speech.n_channels == 1 else "external,internal")
    organization_id = organization or str(uuid4())
    offer = Open(
        organization_id,
        conversation or str(uuid4()),
        Participant(str(uuid4()), ani, "", dnis),
        offer_of(offered, tuple(part.strip() for part in formats.split(","))),
        language=language or None,
        supported_languages=supported_languages,
        custom_config=_object("custom-config", custom_config),
        input_variables=_object("input-variables", input_variables) or {},
    )
    listed = {
        "pause": pause,
        "discard": discard,
        "stall": stall,
        "dtmf": dtmf,
        "update": update,
        "reconnect": reconnect,
        "drop": drop,
    }
    assert set(listed) <= set(ACTIONS)
    script = Script(
        _actions(((kind, texts or []) for kind, texts in listed.items()), fault or []),
        seconds=seconds,
        frame_ms=frame_ms,
        speed=speed,
        burst_s=burst,
    )
    transcript = _Transcript(as_json)
    dialer = Dialer(
        url,
        probe_of(offer) if probe else offer,
        speech,
        script=script,
        caller=Caller(api_key, secret, organization_id),
        config=AudioHookClientConfig(two_way=two_way),
        l16_byteorder=l16_byteorder,
        on_line=None if quiet else transcript,
    )
    try:
        report = run_async(partial(_dial, dialer), backend)
    except HandshakeError as error:
        if error.status not in (401, 403):
            raise
        console.print(f"gcmedia: {escape(str(error))}")
        raise typer.Exit(3) from None
    transcript.flush()
    if keep is not None:
        _keep(keep, dialer.clients[-1])
    if as_json:
        print(json.dumps({"kind": "report", **report.as_dict()}))
    else:
        for number, session in enumerate(report.sessions, 1):
            _summarise(number, session)
    if report.disconnect == "unauthorized":
        raise typer.Exit(3)
    if not report.conforming:
        raise typer.Exit(NOT_CONFORMING)
    if report.disconnect in ("error", "rejected"):
        raise typer.Exit(ENDED_BY_SERVER)


def _summarise(number: int, session: SessionReport) -> None:
    told = session.as_dict()
    rtt = told["rtt_s"]
    for finding in session.conformity.findings:
        colour = "bold red" if finding.severity == "error" else "yellow"
        console.print(f"[{colour}]session {number}: {escape(str(finding))}[/]", soft_wrap=True)
    opened = "never" if session.opened_s is None else f"{session.opened_s * 1e3:.1f} ms"
    pongs = f", pong {rtt['median'] * 1e3:.1f} ms (most {rtt['max'] * 1e3:.1f})" if rtt["n"] else ""
    how = session.reason + (f" ({session.disconnect})" if session.disconnect else "")
    console.print(
        f"session {number}: {escape(session.media) or 'no media'}; opened {opened}{pongs}; sent {session.sent_samples}"
        f" samples in {session.sent_frames} frames, dropped {session.dropped_samples}, ended at {session.position};"
        f" {escape(how)}, {'clean' if session.clean else 'not clean'}, close code {session.close_code}:"
        f" {'conforms' if session.conformity.conforming else 'does not conform'}",
        soft_wrap=True,
    )


def _keep(path: Path, client: AudioHookClient) -> None:
    """Write the server's audio as a WAV file."""
    media = client.machine.media
    octets = bytes(client.playback.audio)
    pcm = ulaw_decode(octets) if media is None or media.format == "PCMU" else octets
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(len(media.channels) if media else 1)
        file.setsampwidth(2)
        file.setframerate(client.machine.sample_rate)
        file.writeframes(pcm)
