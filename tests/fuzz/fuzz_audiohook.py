"""Drive both machines of AudioHook, and the verifier, with whatever octets say, and hold them to their promises.

    python -m tests.fuzz.fuzz_audiohook [--plain] [SECONDS]
    python -m tests.fuzz.fuzz_audiohook FINDING...

The octets are a program: one of settings, then operations (`OPERATIONS`).  Guided by libFuzzer where atheris is
installed, by plain mutation otherwise or with ``--plain``; what is found goes to ``out/fuzz/``.

Held after every program: nothing is raised but what is documented; what is sent is in order and well formed; a
session fails once, ends once, and says nothing after it; audio and holes make up the timeline; a deadline that has
passed does not stay.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

from gcmedia import LocalProtocolError, SignatureRefused
from gcmedia.dialects.audiohook import (
    AudioHookClientConfig,
    AudioHookConfig,
    ClientMachine,
    Identity,
    Media,
    Open,
    Participant,
    ServerMachine,
    SignatureVerifier,
    UpgradeRequest,
)
from gcmedia.dialects.audiohook.events import Audio, Closing, Discarded, Ended, Failed, Resumed

from .fuzz_packets import MAX_OCTETS, OUT, Octets, mutate

SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
IDS = (SESSION, SESSION.upper(), ORGANIZATION, "00000000-0000-0000-0000-000000000000", "x", "")
TYPES = (
    "open",
    "close",
    "ping",
    "paused",
    "resumed",
    "discarded",
    "update",
    "error",
    "dtmf",
    "playback_started",
    "playback_completed",
    "novelty",
)
ANSWERS = ("opened", "closed", "pong", "pause", "resume", "event", "updated", "disconnect", "reconnect", "novelty")
DURATIONS: tuple[object, ...] = ("PT0S", "PT0.1S", "PT1S", "PT1.000125S", "PT99999S", "PT1E3S", "", None, 7, "PT9" * 40)
MEDIA: tuple[object, ...] = (
    {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000},
    {"type": "audio", "format": "PCMU", "channels": ["internal"], "rate": 8000},
    {"type": "audio", "format": "L16", "channels": ["internal", "external"], "rate": 8000},
    {"type": "audio", "format": "L16", "channels": ["internal", "internal"], "rate": 16_000},
    {"type": "audio", "channels": "external"},
    None,
)
VALUES: tuple[object, ...] = ("", "end", "x" * 3000, 0, -1, 1 << 70, 0.5, True, None, [], [[]], {}, {"a": 1}, "\ud800")
SETTINGS = (
    AudioHookConfig(),
    AudioHookConfig(holes="declared", two_way=True, final_events_s=1.0),
    AudioHookConfig(start_paused=True, reconnect=True, supported_languages=("en-US",)),
    AudioHookConfig(channels=("external",), formats=("L16",), max_hole_s=1.0, max_text_octets=1024),
)
OFFER = Open(
    ORGANIZATION,
    SESSION,
    Participant(SESSION),
    (Media("PCMU", ("external", "internal")), Media("PCMU", ("internal",)), Media("L16", ("internal", "external"))),
)


class Watch:
    """One machine, what it has said and what it has told."""

    def __init__(self, machine: ServerMachine | ClientMachine) -> None:
        self.machine = machine
        self.events: list[Any] = []
        self.sent: list[dict[str, Any]] = []
        self.closed = 0

    def take(self, events: list[Any]) -> None:
        self.events += events
        was_over = bool(self.events) and isinstance(self.events[-1], Ended) and not events
        for message in self.machine.messages_to_send():
            assert not was_over, f"said after the end: {message!r}"
            if isinstance(message, str):
                self.sent.append(json.loads(message))
                assert self.sent[-1]["seq"] == len(self.sent)
                assert isinstance(self.sent[-1]["parameters"], dict)
                assert self.sent[-1]["version"] == "2"
            else:
                assert 0 < len(message) <= 64_000
        assert sum(isinstance(event, Ended) for event in self.events) <= 1
        assert sum(isinstance(event, Failed) for event in self.events) <= 1
        assert self.machine.over == any(isinstance(event, Ended) for event in self.events)
        assert sum(message["type"] in ("closed", "close") for message in self.sent) <= 1
        assert sum(message["type"] == "disconnect" for message in self.sent) <= 1
        assert len(self.machine.anomalies) <= 64

    def tiles(self) -> None:
        """Audio and holes follow one another."""
        at = None
        for event in self.events:
            spans = [(hole.position, hole.n_samples) for hole in getattr(event, "holes", ())]
            if isinstance(event, Audio):
                spans = [(event.position, event.n_samples)]
            elif not isinstance(event, Discarded | Resumed | Closing):
                continue
            for position, n_samples in spans:
                assert at is None or position == at, (position, at)
                assert n_samples > 0
                at = position + n_samples
        if at is not None and isinstance(self.machine, ServerMachine):
            assert self.machine.position == at
            n_all = self.machine.received_samples + self.machine.missing_samples
            assert self.machine.offer is not None
            assert n_all <= at


@contextmanager
def documented() -> Iterator[None]:
    """What the machines may raise at their own side's mistakes."""
    try:
        yield
    except LocalProtocolError:
        pass


class Run:
    """A server and a client, each by itself, fed with what the program says."""

    def __init__(self, program: Octets) -> None:
        one = program.unsigned(1)
        identity = Identity("key", ORGANIZATION, SESSION) if one & 4 else None
        self.program = program
        self.now = 10.0
        self.server = ServerMachine(SETTINGS[one & 3], now=self.now, identity=identity)
        self.client = ClientMachine(
            OFFER, session_id=SESSION, config=AudioHookClientConfig(two_way=bool(one & 8), strict=not one & 16)
        )
        self.watches = (Watch(self.server), Watch(self.client))
        self.verifier = SignatureVerifier({"key": "AAAA", "open": ""})
        self.at = 0

    def to_server(self, message: str | bytes) -> None:
        self.watches[0].take(self.server.receive(message, self.now))

    def to_client(self, message: str | bytes) -> None:
        self.watches[1].take(self.client.receive(message, self.now))

    def any_of(self, values: tuple[Any, ...]) -> Any:
        return values[self.program.unsigned(1) % len(values)]

    def parameters(self) -> dict[str, object]:
        """Parameters of some message, right or wrong."""
        return {
            "organizationId": ORGANIZATION,
            "conversationId": self.any_of(IDS),
            "participant": {"id": self.any_of(IDS)},
            "media": [self.any_of(MEDIA) for _ in range(self.program.unsigned(1) % 4)],
            "start": self.any_of(DURATIONS),
            "discarded": self.any_of(DURATIONS),
            "discardTo": self.any_of(DURATIONS),
            "startPaused": bool(self.program.unsigned(1) & 1),
            "rtt": self.any_of(DURATIONS),
            "reason": "end",
            "entities": [{"type": "x"}],
            self.any_of(("language", "digit", "entities", "code", "media", "participant", "more")): self.any_of(VALUES),
        }

    def say(self) -> None:
        """A well-formed message of the client, its numbers right."""
        self.to_server(self.composed(self.any_of(TYPES), self.server, "serverseq"))

    def answer(self) -> None:
        """A well-formed message of the server, its numbers right."""
        self.to_client(self.composed(self.any_of(ANSWERS), self.client, "clientseq"))

    def composed(self, type_: str, machine: ServerMachine | ClientMachine, ack: str) -> str:
        whole: dict[str, object] = {
            "version": "2",
            "type": type_,
            "id": SESSION,
            "seq": machine.peer_seq + 1,
            ack: machine.sent_seq,
            "position": self.any_of(DURATIONS),
            "parameters": self.parameters(),
        }
        return json.dumps(whole)

    def spoil(self) -> None:
        """A message of either end with one thing wrong."""
        for type_, machine, ack, send in (
            (self.any_of(TYPES), self.server, "serverseq", self.to_server),
            (self.any_of(ANSWERS), self.client, "clientseq", self.to_client),
        ):
            whole = json.loads(self.composed(type_, machine, ack))
            whole[self.any_of(("version", "type", "id", "seq", ack, "parameters"))] = self.any_of(VALUES)
            send(json.dumps(whole))

    def text(self) -> None:
        octets = self.program.take(self.program.unsigned(1))
        for text in (octets.decode("latin-1"), octets.decode("utf-8", "surrogateescape")):
            self.to_server(text)
            self.to_client(text)
        self.server.receive_text(octets, self.now)
        self.watches[0].take(self.server.events())

    def binary(self) -> None:
        self.to_server(bytes(self.program.unsigned(2) << (self.program.unsigned(1) & 1)))

    def binary_back(self) -> None:
        self.to_client(bytes(self.program.unsigned(2)))

    def wait(self) -> None:
        self.now += self.program.unsigned(2) / 256
        for watch in self.watches:
            watch.take(watch.machine.advance(self.now))
            assert watch.machine.next_deadline > self.now or watch.machine.next_deadline == inf

    def act(self) -> None:
        """Something that the server does of its own accord."""
        server, now = self.server, self.now
        actions: tuple[Callable[[], object], ...] = (
            lambda: server.pause(now),
            lambda: server.resume(now),
            lambda: server.send_event([{"type": "x", "data": "y" * self.program.unsigned(2)}], now),
            lambda: server.updated(now),
            lambda: server.reconnect("x", now),
            lambda: server.send_audio(bytes(self.program.unsigned(2)), now),
            lambda: server.disconnect("completed", now),
            lambda: server.disconnect("unauthorized", now, info="x"),
            lambda: server.finish(now),
            lambda: server.checkpoint,
        )
        with documented():
            self.any_of(actions)()
        self.watches[0].take(server.events())

    def act_back(self) -> None:
        """Something that the client does of its own accord."""
        client, now = self.client, self.now
        actions: tuple[Callable[[], object], ...] = (
            lambda: client.start(now) if client.state == "new" else None,
            lambda: client.audio(bytes(self.program.unsigned(2)), now),
            lambda: client.discard(self.program.unsigned(2), now),
            lambda: client.skip(self.program.unsigned(2), now),
            lambda: client.pause(now),
            lambda: client.resume(now),
            lambda: client.update("en", now),
            lambda: client.playback(True, now),
            lambda: client.error(429, "x", now, retry_after_s=0.1),
            lambda: client.close("end", now),
        )
        with documented():
            self.any_of(actions)()
        self.watches[1].take(client.events())

    def converse(self) -> None:
        """What each has said reaches the other, the other's number allowing."""
        for watch, machine, send in (
            (self.watches[0], self.client, self.to_client),
            (self.watches[1], self.server, self.to_server),
        ):
            for message in watch.sent[machine.peer_seq : machine.peer_seq + 1]:
                send(json.dumps(message))

    def upgrade(self) -> None:
        """An upgrade request of octets."""
        names = ("Signature", "Signature-Input", "X-API-KEY", "Audiohook-Session-Id", "Host", "x")
        fields = [
            ("Audiohook-Organization-Id", ORGANIZATION),
            ("Audiohook-Session-Id", SESSION),
            ("X-API-KEY", "key"),
        ]
        for _ in range(self.program.unsigned(1) % 5):
            fields.append((self.any_of(names), self.program.take(self.program.unsigned(1)).decode("latin-1")))
        try:
            asyncio.run(self.verifier.verify(UpgradeRequest.of("/", fields), 1e9))
        except SignatureRefused:
            pass
        else:
            raise AssertionError(f"let in: {fields}")

    def finish(self) -> set[str]:
        for watch in self.watches:
            watch.take(watch.machine.transport_closed(self.now))
            watch.tiles()
            assert isinstance(watch.events[-1], Ended)
            assert watch.machine.next_deadline == inf
            watch.take(watch.machine.advance(self.now + 1e6))
        found = {type(event).__name__ for watch in self.watches for event in watch.events}
        found |= {kind for watch in self.watches for kind in watch.machine.anomalies}
        found |= {message["type"] for watch in self.watches for message in watch.sent}
        return found | {f"{watch.machine.state} {len(watch.sent).bit_length()}" for watch in self.watches}


OPERATIONS: tuple[Callable[[Run], None], ...] = (
    Run.say,
    Run.answer,
    Run.spoil,
    Run.text,
    Run.binary,
    Run.binary_back,
    Run.wait,
    Run.act,
    Run.act_back,
    Run.converse,
    Run.upgrade,
)


def run(octets: bytes) -> set[str]:
    """Run one program; what it returns tells how far it came."""
    program = Octets(octets[:MAX_OCTETS])
    state = Run(program)
    while program.more():
        OPERATIONS[program.unsigned(1) % len(OPERATIONS)](state)
    return state.finish()


def seeds() -> dict[str, bytes]:
    """A few sessions with each kind of trouble."""
    zero = bytes(11)
    say = {name: bytes([0, at]) + zero for at, name in enumerate(TYPES)}
    answer = {name: bytes([1, at]) + zero for at, name in enumerate(ANSWERS)}
    # open: position, conversation, participant, and one entry of media
    opening = bytes([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6, 0])
    opened = bytes([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6, 0])
    start, audio, wait = b"\x08\x00", b"\x04\x40\x06\x00", b"\x06\x00\x01"
    plain = b"\x04" + opening + (audio + wait) * 3
    return {
        "plain": plain + say["ping"] + say["close"],
        "novelty": plain + say["novelty"] + say["update"] + say["error"] + say["dtmf"] + say["playback_started"],
        "holes": plain + say["paused"] + say["resumed"] + audio + say["discarded"] + say["close"],
        "declared": b"\x05" + opening + audio + bytes([0, 5, 2, 0, 0, 0, 2, 2]) + bytes(5) + audio + say["close"],
        "late": b"\x04" + (b"\x06\xff\xff") * 3,
        "acts": plain + b"".join(bytes([7, at]) + b"\x10\x00" for at in range(10)),
        "client": b"\x00" + start + opened + b"".join(bytes([8, at]) + b"\x10\x00" for at in range(1, 10)),
        "converse": b"\x04" + start + b"\x09" * 4 + (b"\x06\x00\x02" + b"\x09" * 4) * 3 + b"\x08\x09" + b"\x09" * 4,
        "answers": b"\x18" + start + opened + b"".join(answer.values()),
        "spoiled": plain + b"".join(bytes([2, at, at]) + bytes(32) for at in range(8)),
        "garbage": b"\x00\x03\x10" + bytes(range(16)) + b"\x03\x02{}" + b"\x05\x40\x00",
        "upgrade": b"\x00\x0a\x02\x01\x20" + b'sig1=("@authority");keyid="key" ' + b"\x00\x0csig1=:AAAA:x",
    }


def by_mutation(
    programs: list[bytes],
    seed: int,
    until: Callable[[int], bool],
    run: Callable[[bytes], set[str]] = run,
    target: str = "audiohook",
) -> tuple[int, set[str], dict[str, bytes]]:
    """Mutate, and keep what brings about something new; runs, what was seen, and findings."""
    rng = random.Random(seed)
    programs = list(programs)
    seen: set[str] = set()
    findings: dict[str, bytes] = {}
    runs = 0
    while until(runs):
        program = programs[runs] if runs < len(programs) else mutate(rng.choice(programs), programs, rng)
        runs += 1
        try:
            found = run(program)
        except Exception as problem:
            last = traceback.extract_tb(problem.__traceback__)[-1]
            kind = f"{target}-{type(problem).__name__}-{last.name}-{last.lineno}"
            if kind not in findings or len(program) < len(findings[kind]):
                print(f"finding {kind}: {problem}", flush=True)
                findings[kind] = program
            continue
        if found - seen:
            seen |= found
            programs.append(program)
    return runs, seen, findings


def by_atheris(atheris: Any, seconds: int) -> None:
    """Let libFuzzer do it, guided by the branches of the dialect."""
    for name, module in list(sys.modules.items()):
        if name.startswith("gcmedia.dialects.audiohook."):
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__ == name:
                    for attribute, method in list(vars(value).items()):
                        if callable(method) and hasattr(method, "__code__"):
                            setattr(value, attribute, atheris.instrument_func(method))
    grown = OUT / "corpus_audiohook"
    grown.mkdir(exist_ok=True)
    for name, program in seeds().items():
        (grown / name).write_bytes(program)
    arguments = [f"-max_total_time={seconds}", f"-artifact_prefix={OUT}/", f"-max_len={MAX_OCTETS}", "-timeout=10"]
    atheris.Setup([sys.argv[0], *arguments, "-print_final_stats=1", str(grown)], lambda octets: run(octets) and None)
    atheris.Fuzz()  # ends the process


def main() -> int:
    """Take the arguments."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--plain"]
    if arguments and not arguments[0].isdigit():
        for path in arguments:
            print(path, sorted(run(Path(path).read_bytes())))
        return 0
    seconds = int(arguments[0]) if arguments else 60
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        atheris = None if "--plain" in sys.argv else importlib.import_module("atheris")
    except ImportError:
        atheris = None
    if atheris is not None:
        by_atheris(atheris, seconds)
        return 0
    end, seed = time.monotonic() + seconds, int(time.time())
    runs, seen, findings = by_mutation(list(seeds().values()), seed, lambda _: time.monotonic() < end)
    for kind, program in findings.items():
        (OUT / kind).write_bytes(program)
    print(f"{runs} programs, {len(seen)} features, {len(findings)} findings, seed {seed}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
