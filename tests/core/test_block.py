"""Blocks: the same frames as one by one, in one piece."""

from __future__ import annotations

from array import array
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import CompressorConfig, GateConfig, SilenceConfig, StateError
from gcmedia._core.block import Block
from gcmedia._core.stream import StreamReceiver

SETTINGS = [
    pytest.param({}, id="plain"),
    pytest.param({"gate": GateConfig(), "compressor": CompressorConfig()}, id="cleaned"),
]


def noise(seed: int, n_octets: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, n_octets, np.uint8).tobytes()


@pytest.mark.parametrize("options", SETTINGS)
@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.one_of(st.integers(1, 3000), st.integers(-3000, -1), st.integers(8000, 20_000)), min_size=1, max_size=12
    ),
    n_channels=st.sampled_from([1, 2]),
    position=st.sampled_from([0, 160, 12_345]),
)
def test_a_block_is_its_frames_whatever_the_payloads(
    options: dict[str, object], steps: list[int], n_channels: int, position: int
) -> None:
    quiet = SilenceConfig(threshold=0.3)
    one_by_one, in_blocks = (
        StreamReceiver("PCMU", 8000, n_channels, silence=quiet, position=position, **options)  # type: ignore[arg-type]
        for _ in range(2)
    )
    blocks: list[Block | None] = []
    frames = []
    for seed, step in enumerate(steps):
        for receiver in (one_by_one, in_blocks):
            if step > 0:
                receiver.push(noise(seed, step * n_channels))
            else:
                receiver.hole(-step, "paused")
        frames += list(one_by_one.frames())
        blocks.append(in_blocks.block())
    one_by_one.flush()
    in_blocks.flush()
    frames += list(one_by_one.frames())
    blocks.append(in_blocks.block())
    assert in_blocks.block() is None
    found = [block for block in blocks if block is not None]
    again = [frame for block in found for frame in block.frames()]
    told = [
        [(f.channel, f.position, f.n_samples, f.silent, f.concealed_samples, f.level_dbov, bytes(f.raw), bytes(f.pcm))
         for f in some] for some in (frames, again)
    ]  # fmt: skip
    assert told[0] == told[1]
    for block in found:
        mine = block.frames()
        assert (block.n_channels, len(block)) == (n_channels, len(mine))
        assert block.silent_frames == sum(frame.silent for frame in mine)
        assert block.concealed_frames == sum(frame.concealed for frame in mine)
        for channel in range(n_channels):
            of = [frame for frame in mine if frame.channel == channel]
            assert b"".join(bytes(frame.raw) for frame in of) == bytes(block.raw(channel)) == block.raw_bytes(channel)
            assert b"".join(bytes(frame.pcm) for frame in of) == bytes(block.pcm(channel)) == block.pcm_bytes(channel)
            assert block.level_dbov(channel) == of[-1].level_dbov
            for runs, wanted in (
                (block.silent_runs(channel), [frame.silent for frame in of]),
                (block.concealed_runs(channel), [frame.concealed for frame in of]),
            ):
                marked = np.zeros(block.n_samples, bool)
                for start, length in runs:
                    assert length > 0
                    assert not marked[start - block.position : start - block.position + length].any()
                    marked[start - block.position : start - block.position + length] = True
                assert [bool(marked[frame.position - block.position]) for frame in of] == wanted


def test_long_payloads_on_several_threads_at_once() -> None:
    """From a second on the GIL is let go; each stream is as if it were alone."""

    def through(seed: int) -> bytes:
        receiver = StreamReceiver("PCMU", 8000, 2, gate=GateConfig(), compressor=CompressorConfig())
        out = b""
        for piece in range(4):
            receiver.push(noise(100 * seed + piece, 2 * 16_001))
            block = receiver.block()
            assert block is not None
            out += block.pcm_bytes(0) + block.pcm_bytes(1) + repr(block.silent_runs(1)).encode()
        return out

    alone = [through(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(through, range(6))) == alone


def test_a_block_wants_no_half_taken_moment() -> None:
    receiver = StreamReceiver("PCMU", 8000, 2)
    receiver.push(noise(1, 640))
    next(iter(receiver.frames()))
    with pytest.raises(StateError, match="channel 1 of 2"):
        receiver.block()


@pytest.mark.parametrize("channel", [-1, 2])
def test_a_block_has_no_other_channels(channel: int) -> None:
    receiver = StreamReceiver("PCMU", 8000, 2)
    receiver.push(noise(1, 640))
    block = receiver.block()
    assert block is not None
    for ask in (
        block.level_dbov,
        block.raw,
        block.pcm,
        block.raw_bytes,
        block.pcm_bytes,
        block.silent_runs,
        block.concealed_runs,
    ):
        with pytest.raises(IndexError, match=f"channel is {channel}, there are 2"):
            ask(channel)


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("n_octets", [3200, 5002])
def test_a_masked_block_is_its_frames_masked(options: dict[str, object], n_octets: int) -> None:
    receiver = StreamReceiver("PCMU", 8000, 2, silence=SilenceConfig(threshold=0.3), **options)  # type: ignore[arg-type]
    receiver.push(noise(7, n_octets))
    receiver.hole(400, "paused")
    receiver.flush()
    block = receiver.block()
    assert block is not None
    for n_frames in (0, 1, block.n_frames - 1, block.n_frames):
        n_samples = min(n_frames * block.frame_samples, block.n_samples)
        pcm = array("h", [n % 160 for n in range(n_samples)])
        masked = block.masked(n_frames, pcm)
        frames = [
            frame.masked(pcm[at : at + frame.n_samples])
            if (at := frame.position - block.position) < n_samples
            else frame
            for frame in block.frames()
        ]
        told = [
            [(f.channel, f.position, f.n_samples, f.silent, f.concealed_samples, f.level_dbov, f.raw.tobytes(),
              f.pcm.tobytes()) for f in some] for some in (frames, masked.frames())
        ]  # fmt: skip
        assert told[0] == told[1]
        assert masked.silent_frames == sum(frame.silent for frame in frames)
        assert masked.concealed_frames == sum(frame.concealed for frame in frames)
        assert bytes(masked.raw(1))[2 * n_samples :] == bytes(block.raw(1))[2 * n_samples :]


def test_a_mask_has_to_fit_its_block() -> None:
    receiver = StreamReceiver("PCMU", 8000, 1)
    receiver.push(noise(1, 320))
    block = receiver.block()
    assert block is not None
    with pytest.raises(ValueError, match=r"n_frames is 3, not in \[0, 2\]"):
        block.masked(3, array("h", bytes(960)))
    with pytest.raises(ValueError, match="pcm has 159 samples, 1 frames have 160"):
        block.masked(1, array("h", bytes(318)))
