"""Audio without headers: payloads and holes in, the same frames out however they are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gcmedia
from gcmedia import CompressorConfig, FormatError, GateConfig, StateError
from gcmedia._core.stream import StreamReceiver
from gcmedia.types import Hole

RATE = 8000
Piece = bytes | tuple[int, str]


def octets(n: int, seed: int = 1) -> bytes:
    """Octets that no two samples nearby share."""
    return bytes((seed * 31 + i * i + i * 7) & 0xFF for i in range(n))


def decoded(encoding: str, payload: bytes) -> list[int]:
    if encoding == "PCMU":
        return list(memoryview(gcmedia.ulaw_decode(payload)).cast("h"))
    byteorder = "little" if encoding == "L16LE" else "big"
    return list(memoryview(gcmedia.l16_decode(payload, byteorder)).cast("h"))


def expected(encoding: str, n_channels: int, pieces: list[Piece]) -> list[list[int]]:
    """Each channel's timeline, sample by sample."""
    block = (1 if encoding == "PCMU" else 2) * n_channels
    line: list[int] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            line += decoded(encoding, piece[: len(piece) // block * block])
        else:
            line += [0] * (piece[0] * n_channels)
    return [line[channel::n_channels] for channel in range(n_channels)]


def run(receiver: StreamReceiver, pieces: list[Piece], *, every: int = 1) -> list[list[int]]:
    """Push and take frames, at every so many pieces; check that they follow one another."""
    lines: list[list[int]] = [[] for _ in range(receiver.n_channels)]
    start = receiver.position

    def take() -> int:
        taken = 0
        for frame in receiver.frames():
            assert frame.position == start + len(lines[frame.channel])
            assert frame.n_samples == receiver.frame_samples or ended
            lines[frame.channel] += frame.raw
            taken += 1
        return taken

    ended = False
    for at, piece in enumerate(pieces):
        ready = receiver.push(piece) if isinstance(piece, bytes) else receiver.hole(*piece)
        if at % every == 0:
            assert take() == ready
    ready = receiver.flush()
    ended = True
    assert take() == ready
    return lines


pieces_of_audio = st.lists(
    st.one_of(
        st.integers(0, 2000).map(octets),
        st.sampled_from([160, 320, 1600, 3200]).map(octets),
        st.tuples(st.integers(0, 1000), st.sampled_from(["paused", "discarded"])),
    ),
    max_size=12,
)


@given(
    pieces_of_audio,
    st.sampled_from(["PCMU", "L16", "L16LE"]),
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(0, 10**9),
)
@settings(max_examples=150, deadline=None)
def test_the_timeline_is_exact_to_the_sample(
    pieces: list[Piece], encoding: str, n_channels: int, every: int, position: int
) -> None:
    receiver = StreamReceiver(encoding, RATE, n_channels, position=position)
    lines = run(receiver, pieces, every=every)
    assert lines == expected(encoding, n_channels, pieces)
    assert receiver.end == receiver.position == position + len(lines[0])
    stats = receiver.stats()
    assert stats.balanced
    assert stats.packets_buffered == 0
    assert stats.packets_received == sum(isinstance(piece, bytes) for piece in pieces)


@given(pieces_of_audio, st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_any_cut_gives_the_same_frames(pieces: list[Piece], step: int) -> None:
    whole = run(
        StreamReceiver("PCMU", RATE, 2), [piece if not isinstance(piece, bytes) else even(piece) for piece in pieces]
    )
    cut: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            size = 2 * (1 + step * 37 % 113)
            cut += [piece[at : at + size] for at in range(0, len(piece), size)]
        else:
            cut += [(piece[0] // 2, piece[1]), (piece[0] - piece[0] // 2, piece[1])]
    assert run(StreamReceiver("PCMU", RATE, 2), cut, every=step) == whole


def even(piece: bytes) -> bytes:
    return piece[: len(piece) // 2 * 2]


@pytest.mark.parametrize(
    "processing",
    [{}, {"gate": GateConfig()}, {"gate": GateConfig(), "compressor": CompressorConfig()}],
    ids=["plain", "gate", "both"],
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_frames_are_those_of_a_receiver_with_headers(processing: dict[str, Any], n_channels: int) -> None:
    size = 160 * n_channels
    stream = StreamReceiver("PCMU", RATE, n_channels, **processing)
    receiver = gcmedia.Receiver(n_channels=n_channels, **processing)
    audio = octets(size * 25 + 33 * n_channels)
    for at in range(0, len(audio), size):
        receiver.push_media(at // size, at // size * 20, audio[at : at + size], at / size * 0.02)
    receiver.flush()
    for at in range(0, len(audio), 10 * size):
        stream.push(audio[at : at + 10 * size])
    stream.flush()
    ours, theirs = list(stream.frames()), list(receiver.frames(10.0))
    assert len(ours) == len(theirs) == 26 * n_channels
    for one, other in zip(ours, theirs, strict=True):
        assert (one.channel, one.position, one.n_samples, one.silent) == (
            other.channel,
            other.position,
            other.n_samples,
            other.silent,
        )
        assert bytes(one.raw) == bytes(other.raw)
        assert bytes(one.pcm) == bytes(other.pcm)
    assert stream.delay_samples == receiver.delay_samples


@given(pieces_of_audio, st.integers(1, 7), st.integers(1, 2))
@settings(max_examples=50, deadline=None)
def test_a_buffer_is_filled_with_the_same_samples(pieces: list[Piece], room: int, n_channels: int) -> None:
    reference = run(StreamReceiver("PCMU", RATE, n_channels), pieces)
    receiver = StreamReceiver("PCMU", RATE, n_channels)
    for piece in pieces:
        if isinstance(piece, bytes):
            receiver.push(piece)
        else:
            receiver.hole(*piece)
    receiver.flush()
    out = bytearray(room * 320 * n_channels)
    lines: list[list[int]] = [[] for _ in range(n_channels)]
    while n := receiver.read_into(out):
        samples = memoryview(out).cast("h")
        at = 0
        while n:
            size = min(n, 160)
            for line in lines:
                line += samples[at : at + size]
                at += size
            n -= size
    assert lines == reference


def test_holes_are_told_with_their_causes() -> None:
    receiver = StreamReceiver("PCMU", RATE, 1)
    receiver.hole(8000, "discarded")
    receiver.push(octets(160))
    receiver.hole(100, "paused")
    receiver.hole(60, "paused")
    receiver.hole(0, "lost")
    receiver.hole(1, "lost")
    assert receiver.holes() == [Hole(0, 8000, "discarded"), Hole(8160, 160, "paused"), Hole(8320, 1, "lost")]
    assert receiver.holes() == []
    assert receiver.end == 8321


def test_no_more_than_64_holes_wait() -> None:
    receiver = StreamReceiver("PCMU", RATE, 1)
    for at in range(100):
        receiver.hole(1, f"cause {at}")
    holes = receiver.holes()
    assert (len(holes), holes[0].cause, holes[-1].cause) == (64, "cause 36", "cause 99")
    assert receiver.end == 100


def test_a_paused_stream_costs_no_memory() -> None:
    receiver = StreamReceiver("PCMU", RATE, 1)
    for _ in range(100_000):
        receiver.hole(1600, "paused")
    assert receiver.holes() == [Hole(0, 160_000_000, "paused")]
    assert receiver.stats().packets_buffered == 0


def test_what_nobody_takes_is_discarded_at_the_bound_and_its_place_kept() -> None:
    receiver = StreamReceiver("PCMU", RATE, 1, max_ready_s=1.0)
    for at in range(8):
        receiver.push(octets(1600, at))
    stats = receiver.stats()
    assert (stats.packets_buffered, stats.packets_discarded, stats.overruns, stats.balanced) == (5, 3, 3, True)
    assert receiver.holes() == [Hole(8000, 4800, "overrun")]
    lines = run(receiver, [])
    assert lines == expected("PCMU", 1, [*(octets(1600, at) for at in range(5)), (4800, "overrun")])
    assert receiver.stats().balanced


def test_a_burst_is_taken_whole() -> None:
    receiver = StreamReceiver("PCMU", RATE, 2)
    burst = [octets(64_000, seed) for seed in range(8)]  # 32 s
    assert [receiver.push(piece) for piece in burst][-1] == 8 * 200 * 2
    assert run(receiver, []) == expected("PCMU", 2, list(burst))


def test_bad_payloads_are_counted_and_told() -> None:
    receiver = StreamReceiver("L16", RATE, 2)
    assert receiver.last_refusal is None
    receiver.push(b"")
    receiver.push(b"abc")
    assert receiver.last_refusal == "payload has 3 octets, one sample takes 4"
    receiver.push(octets(7))
    receiver.refuse("no audio at all")
    assert receiver.last_refusal == "no audio at all"
    stats = receiver.stats()
    assert stats.malformed == {"empty": 2, "ragged": 1, "unreadable": 1}
    assert (stats.packets_received, stats.packets_refused, stats.balanced, receiver.end) == (4, 3, True, 1)


def test_other_buffers_are_copied_and_a_wrong_one_refused() -> None:
    receiver = StreamReceiver("PCMU", RATE, 1)
    scratch = bytearray(octets(160))
    receiver.push(scratch)
    receiver.push(memoryview(scratch)[:80])
    scratch[:] = bytes(160)
    assert run(receiver, []) == expected("PCMU", 1, [octets(160), octets(160)[:80]])
    with pytest.raises(TypeError, match="payload"):
        StreamReceiver().push("text")  # type: ignore[arg-type]


def test_a_flushed_stream_takes_nothing_more() -> None:
    receiver = StreamReceiver("PCMU", RATE, 1)
    receiver.push(octets(100))
    assert receiver.flush() == 1
    assert receiver.flush() == 1
    with pytest.raises(StateError):
        receiver.push(b"a")
    with pytest.raises(StateError):
        receiver.hole(1, "lost")
    assert [frame.n_samples for frame in receiver.frames()] == [100]


def test_frames_left_between_channels_are_not_mixed_with_a_buffer() -> None:
    receiver = StreamReceiver("PCMU", RATE, 2)
    receiver.push(octets(640))
    first = next(iter(receiver.frames()))
    assert first.channel == 0
    with pytest.raises(StateError, match="channel 1 of 2"):
        receiver.read_into(bytearray(640))
    assert [frame.channel for frame in receiver.frames()] == [1, 0, 1]
    with pytest.raises(ValueError, match="room for 1 samples"):
        receiver.read_into(bytearray(2))


@pytest.mark.parametrize(
    ("settings_", "error"),
    [
        ({"encoding": "GSM"}, FormatError),
        ({"position": -1}, ValueError),
        ({"max_ready_s": float("nan")}, ValueError),
        ({"n_channels": 0}, ValueError),
        ({"frame_ms": 0}, ValueError),
        ({"sample_rate": 7999}, ValueError),
    ],
)
def test_settings_out_of_range_are_refused(settings_: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        StreamReceiver(**settings_)


def test_holes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        StreamReceiver().hole(-1, "lost")
    with pytest.raises(ValueError, match="beyond"):
        StreamReceiver(position=1 << 61).hole(1 << 61, "lost")


def test_what_is_known_of_the_stream() -> None:
    receiver = StreamReceiver("L16LE", 16_000, 2)
    assert (receiver.encoding, receiver.sample_rate, receiver.n_channels, receiver.frame_samples) == (
        "L16LE",
        16_000,
        2,
        320,
    )
    assert receiver.silent
    assert receiver.level_dbov == float("-inf")
    receiver.push(b"\x00\x40" * 640)
    assert len(list(receiver.frames())) == 2
    assert not receiver.silent
    assert receiver.level_dbov == pytest.approx(-6.02, abs=0.01)
