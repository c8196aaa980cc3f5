"""Header parser and layout detector; rows 004-13 and 004-14."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia import FormatError, LayoutDetector, PacketError, Receiver, parse_header

numbers = st.integers(0, 2**32 - 1)
timestamps = st.integers(-(2**63), 2**63 - 1)


@given(numbers, timestamps, st.binary(max_size=40))
def test_padded16_round_trip(number: int, timestamp: int, audio: bytes) -> None:
    header = parse_header(struct.pack("<I4sq", number, b"junk", timestamp) + audio)
    assert (header.sequence_number, header.timestamp, header.payload_offset) == (number, timestamp, 16)


@given(numbers, timestamps, st.binary(max_size=40))
def test_packed12_round_trip(number: int, timestamp: int, audio: bytes) -> None:
    header = parse_header(struct.pack("<Iq", number, timestamp) + audio, "packed12")
    assert (header.sequence_number, header.timestamp, header.payload_offset) == (number, timestamp, 12)


def test_004_13_the_commented_layout_loses_no_audio() -> None:
    wire = struct.pack("<Iq", 7, 1_700_000_000_000) + b"audio..."
    assert parse_header(wire, "packed12").timestamp == 1_700_000_000_000
    assert wire[parse_header(wire, "packed12").payload_offset :] == b"audio..."


def test_004_14_timestamps_keep_all_64_bits() -> None:
    beyond_a_double = 2**53 + 1
    assert parse_header(struct.pack("<I4xq", 0, beyond_a_double)).timestamp == beyond_a_double


@pytest.mark.parametrize(("layout", "size"), [("padded16", 16), ("packed12", 12)])
def test_004_13_short_packets_are_an_error_with_sizes(layout: str, size: int) -> None:
    for n in range(size):
        with pytest.raises(PacketError, match=rf"packet has {n} octets, the {layout} header alone takes {size}"):
            parse_header(bytes(n), layout)
    assert parse_header(bytes(size), layout).payload_offset == size


def test_any_buffer_will_do() -> None:
    wire = struct.pack("<I4xq", 5, 6) + b"x"
    parsed = {parse_header(kind(wire)) for kind in (bytes, bytearray, memoryview)}
    assert len(parsed) == 1
    assert repr(parsed.pop()) == "Header(sequence_number=5, timestamp=6, payload_offset=16)"


def test_what_is_no_packet_is_refused() -> None:
    with pytest.raises(TypeError, match="packet must be bytes or a C-contiguous buffer, not str"):
        parse_header("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="C-contiguous buffer, not this memoryview"):
        parse_header(memoryview(bytes(80))[::2])
    with pytest.raises(ValueError, match="layout is 'rtp', not one of padded16, packed12, auto"):
        parse_header(bytes(20), "rtp")
    with pytest.raises(ValueError, match="parse_header sees one"):
        parse_header(bytes(20), "auto")


def stream(layout: str, n: int = 20, start: int = 0, first: int = 1_700_000_000_000) -> list[bytes]:
    form = "<I4xq" if layout == "padded16" else "<Iq"
    return [struct.pack(form, (start + i) % 2**32, first + 20 * i) + bytes([i]) * 160 for i in range(n)]


@pytest.mark.parametrize("layout", ["padded16", "packed12"])
@pytest.mark.parametrize("start", [0, 77, 2**32 - 3])
@pytest.mark.parametrize("first", [0, 1_700_000_000_000])
def test_004_13_auto_locks_once_packets_agree(layout: str, start: int, first: int) -> None:
    detector = LayoutDetector()
    found = [detector.push(wire) for wire in stream(layout, start=start, first=first)]
    assert found[3] is None
    assert found[-1] == layout
    assert {name for name in found if name} == {layout}


def test_004_13_auto_never_guesses() -> None:
    detector = LayoutDetector()
    noise = [struct.pack("<IqI", i * 1_000_003 % 2**32, i * 77_777_777_777, i) + b"noise" * 30 for i in range(16)]
    assert {detector.push(wire) for wire in noise[:15]} == {None}
    with pytest.raises(FormatError, match="no header layout explains the first 16 packets: padded16 agrees with 0"):
        detector.push(noise[15])


@pytest.mark.parametrize("layout", ["padded16", "packed12"])
def test_receiver_with_auto_layout_loses_nothing(layout: str) -> None:
    named, found = Receiver(layout=layout), Receiver(layout="auto")
    for receiver in (named, found):
        for i, wire in enumerate(stream(layout, 50)):
            receiver.push(wire, i * 0.02)
        receiver.flush()
    assert found.layout == layout
    frames, expected = list(found.frames(1.0)), list(named.frames(1.0))
    assert [bytes(f.pcm) for f in frames] == [bytes(f.pcm) for f in expected]
    assert found.stats() == named.stats()


def test_receiver_with_auto_layout_and_nonsense_says_so_and_counts() -> None:
    receiver = Receiver(layout="auto")
    for _ in range(15):
        receiver.push(b"\xff" * 100, 0.0)
    with pytest.raises(FormatError, match="no header layout explains"):
        receiver.push(b"\xff" * 100, 0.0)
    stats = receiver.stats()
    assert stats.malformed == {"unreadable": 16}
    assert stats.balanced, stats.identity()
