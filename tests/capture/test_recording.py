"""The call folder beside a running call: whole whatever happens, and never in the way of the call."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gcmedia import CompressorConfig, ConfigError, GateConfig, RemoteProtocolError
from gcmedia.capture import capture
from gcmedia.config import PlatformMediaConfig
from gcmedia.record import read_wav
from gcmedia.record.audit import AuditPolicy, verify_audit
from gcmedia.record.folder import FIXED_NAMES
from gcmedia.record.timeline import Timeline
from gcmedia.simulator import Call, Disconnect, Faults
from tests.reference.g711 import ulaw_decode, ulaw_encode

from .conftest import ScriptedServer
from .running import run
from .scripts import ACK, ENDED, cuts, packets, plays

pytestmark = pytest.mark.anyio

Scripted = Callable[..., ScriptedServer]
CALL = Call.demo(seconds=4)
MONO = PlatformMediaConfig(format="pcmu", sample_rate=8000)
TEXTS = {"transcript.json", "transcript.vtt", "audit.jsonl", "timeline.json", "metrics.jsonl", "series.jsonl"}
RAW = {"raw-external.wav", "raw-internal.wav"}
CLEAN = {"clean-external.wav", "clean-internal.wav"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("processing", "wavs"),
    [({}, RAW), ({"gate": GateConfig()}, RAW | CLEAN), ({"compressor": CompressorConfig()}, RAW | CLEAN)],
)
async def test_a_folder_holds_the_whole_call(processing: dict[str, object], wavs: set[str], tmp_path: Path) -> None:
    faults = Faults(seed=2, loss=0.05, disconnects=(Disconnect(2000, "abnormal", 300),))
    folder = tmp_path / "call"
    found = await run(CALL, faults, folder=folder, **processing)  # type: ignore[arg-type]
    assert names(folder) == wavs | TEXTS
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    timeline = Timeline.load(folder / "timeline.json")
    assert timeline.n_samples == found.stats.total_samples == CALL.n_samples
    for name in wavs:
        wav = read_wav(folder / name)
        assert (wav.sample_rate, wav.n_channels, wav.encoding) == (8000, 1, "L16")
        assert len(wav.data) == 2 * CALL.n_samples
    for channel, name in enumerate(("external", "internal")):
        assert read_wav(folder / f"raw-{name}.wav").data == found.raw(channel).tobytes()
    for name, about in timeline.files.items():
        octets = (folder / name).read_bytes()
        assert about == {"sha256": hashlib.sha256(octets).hexdigest(), "n_octets": len(octets)}
    assert set(timeline.files) == names(folder) - {"timeline.json"}
    assert timeline.stats["packets_lost"] == found.stats.packets_lost
    assert timeline.identity["balanced"]
    assert timeline.identity["text"] == found.stats.identity()
    assert verify_audit(folder / "audit.jsonl") > 3
    assert timeline.conversation_id == "conv"
    assert len(json.loads((folder / "transcript.json").read_text())) == len(found.transcripts)


async def test_everything_that_a_capture_does_is_known_to_the_audit(tmp_path: Path) -> None:
    faults = Faults(seed=2, malformed=0.3, disconnects=(Disconnect(2000, "abnormal", 300),))
    await run(CALL, faults, folder=tmp_path / "call")
    records = [json.loads(line) for line in (tmp_path / "call" / "audit.jsonl").read_text().splitlines()]
    actions = {record["action"] for record in records}
    assert {"connected", "reconnecting", "reconnected", "malformed_message", "unknown_message", "ended"} <= actions
    policy = AuditPolicy(consent=True, purpose="quality")
    assert {action: policy.violations(action) for action in actions} == {action: [] for action in actions}


async def test_a_call_in_the_folder_is_not_replaced_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "call"
    await run(CALL, folder=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = await run(CALL, folder=folder)
    assert isinstance(found.error, ConfigError)
    assert "overwrite=True" in str(found.error)
    assert found.frames == []
    assert found.call.state == "failed"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "notes.txt").write_text("mine")
    found = await run(Call.demo(seconds=1), folder=folder, overwrite=True, gate=GateConfig())
    assert found.error is None
    assert names(folder) == RAW | CLEAN | TEXTS | {"notes.txt"}
    assert Timeline.load(folder / "timeline.json").n_samples == 8000


async def test_a_place_that_cannot_be_written_is_told_before_the_call(scripted: Scripted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    server = scripted(plays(ACK, *packets(0, 5), ENDED))
    with pytest.raises(OSError, match="file"):
        async with capture("c", token="t", region=server.url, profile=MONO, folder=tmp_path / "file" / "call"):
            pass


async def test_record_to_names_the_folder_for_the_conversation(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(plays(ACK, *packets(0, 5), ENDED))
    async with capture("a/../b c", token="t", region=server.url, profile=MONO, record_to=tmp_path) as call:
        assert len([frame async for frame in call]) == 5
    assert call.folder == tmp_path / "a%2F..%2Fb%20c"
    assert names(tmp_path) == {"a%2F..%2Fb%20c"}
    assert names(call.folder) == TEXTS | {"raw-mixed.wav"}


async def test_the_folder_is_complete_when_the_context_is_left_or_the_loop_has_ended(
    scripted: Scripted, tmp_path: Path
) -> None:
    server = scripted(plays(ACK, *packets(0, 5), ENDED))
    folder = tmp_path / "call"
    async with capture("c", token="t", region=server.url, profile=MONO, folder=folder) as call:
        frames = [frame async for frame in call]
        assert Timeline.load(folder / "timeline.json").n_samples == 160 * len(frames)
        assert not any(name.endswith(".part") for name in names(folder))


async def test_a_call_that_fails_leaves_a_folder_that_says_so(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(cuts(ACK, *packets(0, 50)), plays('{"type": "error", "status": 404, "message": "gone"}'))
    folder = tmp_path / "call"
    with pytest.raises(RemoteProtocolError, match="gone"):  # noqa: PT012
        async with capture("c", token="t", region=server.url, profile=MONO, folder=folder) as call:
            async for _ in call:
                pass
    timeline = Timeline.load(folder / "timeline.json")
    assert timeline.n_samples == 8000
    assert [event["kind"] for event in timeline.events] == ["connected", "reconnecting", "failed"]
    assert "gone" in timeline.events[-1]["cause"]
    assert timeline.identity["balanced"]


def test_names_are_those_of_the_record() -> None:
    assert set(FIXED_NAMES) >= TEXTS


FULL_DISK = """
import resource, sys, json
import anyio
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.capture.running import run, Call
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
frames = 0
def full(frame):
    global frames
    frames += 1
    if frames == 100:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    if frames == 1500:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
async def main():
    return await run(Call.demo(seconds=20), folder=Path(sys.argv[1]), on_frame=full, max_frames=4)
found = anyio.run(main, backend=sys.argv[3])
assert found.error is None, found.error
assert len(found.frames) == 2000 and found.stats.balanced
print(json.dumps(found.events))
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_full_disk_does_not_end_the_call(backend: str, tmp_path: Path) -> None:
    """Writes fail for a while, as on a full disk; the call goes on, and the recording keeps its timeline."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path / "call", root, backend],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["connected", "storage_failed", "storage_resumed", "ended"]
    assert done.stderr.count("the call goes on") == 1
    timeline = Timeline.load(tmp_path / "call" / "timeline.json")
    assert timeline.n_samples == 160_000
    assert [e["kind"] for e in timeline.events] == ["connected", "storage_failed", "storage_resumed", "ended"]
    spoken = ulaw_decode(ulaw_encode(Call.demo(seconds=20).pcm(8000, 2)))
    for channel, name in enumerate(("external", "internal")):
        track = timeline.tracks[f"raw-{name}.wav"]
        assert track["incomplete"]
        raw = np.frombuffer(read_wav(tmp_path / "call" / f"raw-{name}.wav").data, np.int16)
        kept = np.ones(len(raw), bool)
        for position, n_samples in track["unwritten"]:
            kept[position : position + n_samples] = False
        assert 0 < np.count_nonzero(~kept) == track["n_unwritten"]
        assert not raw[~kept].any()
        assert np.array_equal(raw[kept], spoken[kept, channel])
