"""What the rings say of the frames, against the frames themselves; counters of many streams against `stats`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import gcmedia
from gcmedia._core.counters import COUNTERS, read_counters, tally_counters
from gcmedia._core.meter import Meter
from gcmedia._core.stream import StreamReceiver

from .packets import packet

SILENT, CONCEALED, PEAKS, CLIPPED = 1, 2, 4, 8


def columns(meter: Meter, first: int = 0, most: int = 10_000) -> tuple[int, NDArray[np.uint8]]:
    at, octets = meter.read(first, most)
    return at, np.frombuffer(octets, np.uint8).reshape(-1, meter.n_channels, 4)


def play(receiver: gcmedia.Receiver, payloads: dict[int, bytes], batch: bool = False) -> Iterator[gcmedia.Frame]:
    for number, payload in payloads.items():
        receiver.push(packet(number, 20 * number, payload), number * 0.02)
        yield from receiver.frames(number * 0.02)
    receiver.flush()
    yield from receiver.frames(1e6)


def dbov(level: int) -> float:
    return (level - 255) * 0.3763 if level else -math.inf


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_columns_are_what_the_frames_are(data: st.DataObject) -> None:
    """Any loss, any audio, one or two channels, with and without the gate that makes frames wait."""
    n_channels = data.draw(st.sampled_from([1, 2]))
    n = data.draw(st.integers(2, 60))
    seed = data.draw(st.integers(0, 2**32 - 1))
    there = data.draw(st.sets(st.integers(0, n - 1), min_size=1))
    gate = gcmedia.GateConfig() if data.draw(st.booleans()) else None
    rng = np.random.default_rng(seed)
    loud = rng.integers(1, 256, n)
    payloads = {}
    for number in sorted(there):
        pcm = (rng.integers(-100, 100, 160 * n_channels) * loud[number]).clip(-32768, 32767).astype(np.int16)
        payloads[number] = gcmedia.ulaw_encode(pcm)
    receiver = gcmedia.Receiver(n_channels=n_channels, gate=gate)
    meter = receiver.meter(64)
    meter.watch()
    frames = list(play(receiver, payloads))
    by_place = {(frame.position // 160, frame.channel): frame for frame in frames}
    first, found = columns(meter)
    assert first + len(found) == meter.columns == len({place for place, _ in by_place}) // 2
    for index, column in enumerate(found, first):
        for channel, (level, flags, low, high) in enumerate(column):
            pair = [by_place[2 * index + i, channel] for i in range(2)]
            loudest = max(frame.level_dbov for frame in pair)
            if loudest > -95:
                assert abs(dbov(int(level)) - loudest) < 1.0
            assert bool(flags & SILENT) == all(frame.silent for frame in pair)
            assert bool(flags & CONCEALED) == any(frame.concealed for frame in pair)
            assert flags & PEAKS
            raw = np.concatenate([np.frombuffer(frame.raw, np.int16) for frame in pair])
            ends = np.array([min(0, raw.min()), max(0, raw.max())], np.int16)
            assert bytes([low, high]) == bytes(gcmedia.ulaw_encode(ends))
            assert bool(flags & CLIPPED) == bool((np.abs(raw.astype(int)) >= 32124).any())


@pytest.mark.parametrize("way", ["frames", "read_into", "push_into", "bank"])
def test_every_way_out_leaves_the_same_marks(way: str) -> None:
    rng = np.random.default_rng(5)
    sent = [packet(n, 20 * n, rng.bytes(160)) for n in range(80) if n % 7 != 3]
    reference = gcmedia.Receiver()
    expected = reference.meter()
    for octets in sent:
        reference.push(octets, 0.0)
        for _ in reference.frames(0.0):
            pass
    out = bytearray(160 * 2 * 100)
    bank = gcmedia.ReceiverBank(1)
    receiver = bank[0] if way == "bank" else gcmedia.Receiver()
    meter = receiver.meter()
    for octets in sent:
        if way == "bank":
            bank.push(
                np.zeros(1, np.int64),
                octets,
                np.array([0, len(octets)]),
                0.0,
                np.zeros((1, 16000), np.int16),
                np.zeros(1, np.int64),
            )
        elif way == "push_into":
            receiver.push_into(octets, 0.0, out)
        else:
            receiver.push(octets, 0.0)
            if way == "frames":
                for _ in receiver.frames(0.0):
                    pass
            else:
                receiver.read_into(out, 0.0)
    assert meter.columns > 30
    assert meter.read(0) == expected.read(0)


def test_a_ring_forgets_the_oldest_and_says_from_where_it_goes_on() -> None:
    receiver = gcmedia.Receiver()
    meter = receiver.meter(64)
    for _ in play(receiver, {n: bytes([n % 256]) * 160 for n in range(1000)}):
        pass
    first, found = columns(meter)
    assert 0 < first <= meter.columns - 20
    assert first + len(found) == meter.columns == 500
    assert len(found) <= 32
    assert columns(meter, 490)[0] == 490
    assert meter.read(10**9) == (500, b"")
    assert len(meter.read(0, 3)[1]) == 3 * 4


def test_peaks_are_worked_out_only_while_somebody_watches() -> None:
    receiver = gcmedia.Receiver()
    meter = receiver.meter()
    assert receiver.meter() is meter
    numbers = iter(range(1000))

    def go_on() -> None:
        for number in [next(numbers) for _ in range(20)]:
            receiver.push(packet(number, 20 * number, bytes(range(160))), number * 0.02)
            for _ in receiver.frames(number * 0.02):
                pass

    go_on()
    meter.watch()
    meter.watch()
    go_on()
    meter.unwatch()
    go_on()
    meter.unwatch()
    assert not meter.watched
    meter.unwatch()  # once too often harms nobody
    go_on()
    flags = columns(meter)[1][:, 0, 1] & PEAKS
    assert flags[:8].sum() == 0
    assert (flags[10:26] == PEAKS).all()
    assert flags[-8:].sum() == 0


def test_it_begins_where_the_stream_is() -> None:
    receiver = gcmedia.Receiver(n_channels=2)
    frames = play(receiver, {n: bytes(320) for n in range(40)})
    assert next(frames).channel == 0
    with pytest.raises(gcmedia.StateError, match="up to channel 1 of 2"):
        receiver.meter()
    next(frames)
    meter = receiver.meter()
    assert meter.start == 160
    assert (meter.n_channels, meter.frame_samples, meter.sample_rate) == (2, 160, 8000)
    for _ in frames:
        pass
    assert meter.columns == 39 // 2


def test_it_begins_where_a_steady_stretch_is() -> None:
    receiver = gcmedia.Receiver()
    for number in range(100):
        receiver.push(packet(number, 20 * number, bytes(160)), number * 0.02)
        for _ in receiver.frames(number * 0.02):
            pass
    assert receiver.meter().start == receiver.position > 80 * 160


def test_frames_of_a_recording_can_be_noted() -> None:
    meter = Meter(1, 160, 8000)
    meter.watch()
    pcm = np.full(320, 1000, np.int16)
    meter.note(0, pcm, silent=True, concealed=True)
    _, found = columns(meter)
    assert found[0, 0, 1] == SILENT | CONCEALED | PEAKS
    assert abs(dbov(int(found[0, 0, 0])) - 20 * math.log10(1000 / 32768)) < 1.0
    with pytest.raises(IndexError, match=r"channel is 1, not in \[0, 1\)"):
        meter.note(1, pcm)


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"n_frames": 100}, "not a power of two"),
        ({"n_frames": 32}, "not a power"),
        ({"start": 0, "n_frames": 1 << 21}, "power"),
    ],
)
def test_a_ring_of_another_size_is_refused(settings_: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Meter(1, 160, 8000, **settings_)
    with pytest.raises(ValueError, match="n_channels is 9"):
        Meter(9, 160, 8000)


def rough(seed: int, n_channels: int = 1) -> gcmedia.Receiver:
    """A receiver after a bad minute."""
    rng = np.random.default_rng(seed)
    receiver = gcmedia.Receiver(n_channels=n_channels)
    for number in range(200):
        for _ in range(int(rng.choice([0, 1, 1, 1, 1, 1, 2]))):
            receiver.push(
                packet(number, 20 * number, rng.bytes(160 * n_channels)), number * 0.02 + rng.uniform(0, 0.03)
            )
        if rng.random() < 0.05:
            receiver.push(b"short", number * 0.02)
        for _ in receiver.frames(number * 0.02 + 0.05):
            pass
    return receiver


def test_counters_are_those_of_stats() -> None:
    receivers: list[gcmedia.Receiver | gcmedia.JitterBuffer] = [rough(seed) for seed in range(5)]
    buffer = gcmedia.JitterBuffer()
    buffer.push(1, 0, b"x", 0.0)
    table = np.frombuffer(read_counters([*receivers, buffer]), np.float64).reshape(6, len(COUNTERS))
    for stream, row in zip([*receivers, buffer], table, strict=True):
        told = stream.stats().as_dict()
        for name, value in zip(COUNTERS, row, strict=True):
            if name in told:
                assert value == told[name], name
    assert read_counters([]) == b""
    with pytest.raises(TypeError, match="a stream is a int"):
        read_counters([3])  # type: ignore[list-item]


@pytest.mark.parametrize("gate", [None, gcmedia.GateConfig()], ids=["plain", "gate"])
def test_counters_are_right_amid_a_steady_stretch(gate: gcmedia.GateConfig | None) -> None:
    """Packet by packet, of a stream that nobody else looks at, against a twin that is asked for its stats each time."""
    watched, twin = gcmedia.Receiver(gate=gate), gcmedia.Receiver(gate=gate)
    lost = {10, 11, 12, 50, 400}
    for number in range(700):
        if number in lost:
            continue
        for receiver in (watched, twin):
            receiver.push(packet(number, 20 * number, bytes([number % 251]) * 160), number * 0.02)
            for _ in receiver.frames(number * 0.02):
                pass
        told = twin.stats().as_dict() | {"position": twin.position}
        for name, value in zip(COUNTERS, np.frombuffer(read_counters([watched]), np.float64), strict=True):
            if name in told:
                assert math.isclose(value, told[name], abs_tol=1e-12), (number, name)


def test_levels_are_the_loudest_of_the_last_second() -> None:
    receiver = gcmedia.Receiver(n_channels=2)
    meter = receiver.meter()
    loud, quiet = bytes([0x80, 0xFF] * 160), bytes([0xF0, 0x90] * 160)
    for _ in play(receiver, dict(enumerate([loud] * 10 + [quiet] * 100))):
        pass
    row = dict(zip(COUNTERS, np.frombuffer(read_counters([receiver], levels=True), np.float64), strict=True))
    _, found = columns(meter)
    assert row["level_first"] == found[-25:, 0, 0].max() < found[0, 0, 0]
    assert row["level_second"] == found[-25:, 1, 0].max()


def test_a_tally_is_the_sum_by_group() -> None:
    streams: list[gcmedia.Receiver | StreamReceiver | gcmedia.JitterBuffer] = [rough(seed) for seed in range(7)]
    groups = [0, 1, 0, 1, 2, 0, 1]
    jitters, losses = (0.001, 0.01, 0.02), (0.0, 0.1)
    table = np.frombuffer(read_counters(streams), np.float64).reshape(7, len(COUNTERS))
    found = np.frombuffer(tally_counters(streams, groups, 4, jitters, losses), np.float64).reshape(4, -1)
    for group in range(4):
        rows = table[[place == group for place in groups]]
        sums, rest = found[group, : len(COUNTERS)], found[group, len(COUNTERS) :]
        assert np.allclose(sums, rows.sum(axis=0))
        jitter, loss = rows[:, COUNTERS.index("jitter")], rows[:, COUNTERS.index("loss_rate")]
        assert list(rest[:4]) == list(np.bincount(np.searchsorted(jitters, jitter), minlength=4))
        assert list(rest[4:7]) == list(np.bincount(np.searchsorted(losses, loss), minlength=3))
        assert list(rest[7:]) == [0, len(rows)]
    with pytest.raises(IndexError, match=r"groups\[1\] is 5"):
        tally_counters(streams[:2], [0, 5], 1, jitters, losses)
    with pytest.raises(ValueError, match="2 streams and 1 groups"):
        tally_counters(streams[:2], [0], 1, jitters, losses)


def a_stream_of(pieces: list[bytes | int], way: str) -> StreamReceiver:
    """A stream of payloads and holes, of both channels, metered and taken one way or the other."""
    receiver = StreamReceiver("PCMU", 8000, 2)
    receiver.meter().watch()
    out = bytearray(2 * 320)
    for piece in pieces:
        if isinstance(piece, bytes):
            receiver.push(piece)
        else:
            receiver.hole(piece, "discarded")
        if way == "frames":
            for _ in receiver.frames():
                pass
        elif way == "read_into":
            while receiver.read_into(out):
                pass
        else:
            receiver.block()
    return receiver


@given(st.lists(st.one_of(st.binary(max_size=900), st.integers(0, 2000)), max_size=12))
@settings(max_examples=40, deadline=None)
def test_a_stream_without_headers_leaves_the_same_marks_every_way_and_its_counters_are_its_stats(
    pieces: list[bytes | int],
) -> None:
    reference = a_stream_of(pieces, "frames")
    for way in ("read_into", "block"):
        assert a_stream_of(pieces, way).meter().read(0) == reference.meter().read(0)
    reference.push(b"")  # refused
    reference.push(bytes(7))  # waits
    row = dict(zip(COUNTERS, np.frombuffer(read_counters([reference], levels=True), np.float64), strict=True))
    stats = reference.stats()
    for name in COUNTERS:
        if hasattr(stats, name):
            assert row[name] == getattr(stats, name), name
    assert stats.balanced
    assert (row["position"], row["sample_rate"]) == (reference.position, 8000)
    assert row["level_first"] == max((column[0, 0] for column in columns(reference.meter())[1][-25:]), default=0) or (
        reference.meter().columns * 2 != reference.position // 160  # an odd frame is in no column yet
    )


def test_one_stream_goes_on_where_another_has_ended() -> None:
    first = StreamReceiver("PCMU", 8000, 2, position=800)
    meter = first.meter()
    for payload in (bytes(3200), b"", bytes(800 + 160)):  # loud as can be; the last frame is short
        first.push(payload)
    with pytest.raises(gcmedia.StateError, match="not over"):
        StreamReceiver("PCMU", 8000, 2, position=20_000, after=first)
    first.flush()
    with pytest.raises(gcmedia.StateError, match="not over"):
        StreamReceiver("PCMU", 8000, 2, position=20_000, after=first)
    assert first.block() is not None
    with pytest.raises(ValueError, match="position is 100, the stream before ends at 2880"):
        StreamReceiver("PCMU", 8000, 2, position=100, after=first)
    with pytest.raises(ValueError, match="1 channels at 8000 Hz"):
        StreamReceiver("PCMU", 8000, 1, position=20_000, after=first)
    second = StreamReceiver("PCMU", 8000, 2, position=800 + 100 * 160, after=first)
    assert second.meter() is meter
    second.push(bytes(3200))
    second.block()
    stats = second.stats()
    assert (stats.packets_received, stats.packets_refused, stats.packets_played) == (4, 1, 3)
    assert (stats.bytes_received, stats.malformed, stats.balanced) == (3200 + 960 + 3200, {"empty": 1}, True)
    assert second.last_refusal == first.last_refusal
    at, found = columns(meter)
    assert (at, len(found)) == (0, 55)
    assert (found[:6, :, 0] > 240).all()
    assert (found[8:50, :, :2] == (0, SILENT | CONCEALED)).all()
    assert (found[50:, :, 0] > 240).all()
    assert not (found[50:, :, 1] & (SILENT | CONCEALED)).any()


def test_a_stream_that_goes_on_much_later_keeps_its_place() -> None:
    first = StreamReceiver("PCMU", 8000, 2)
    meter = first.meter(64)
    first.push(bytes(3200))
    first.flush()
    first.block()
    second = StreamReceiver("PCMU", 8000, 2, position=10_000 * 160, after=first)
    assert meter.columns == 5000
    _, found = columns(meter)
    assert (found[:, :, :2] == (0, SILENT | CONCEALED)).all()
    second.push(bytes(3200))
    second.block()
    assert meter.columns == 5005
    assert (columns(meter, 5000)[1][:, :, 0] > 240).all()
