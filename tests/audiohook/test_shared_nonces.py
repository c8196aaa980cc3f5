"""The memory of nonces that several processes share: one file, real processes."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import ConfigError, SignatureRefused
from gcmedia.dialects.audiohook import NonceMemory, SharedNonceMemory, SignatureVerifier
from gcmedia.dialects.audiohook.nonces import MemoryFull

from .signing import API_KEY, SECRET, signed, verify


def key(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def test_what_one_verifier_has_taken_another_refuses(tmp_path: Path) -> None:
    path = tmp_path / "nonces"
    one, other = (SignatureVerifier({API_KEY: SECRET}, nonces=SharedNonceMemory(path)) for _ in range(2))
    request = signed()
    assert verify(one, request).signed
    with pytest.raises(SignatureRefused) as refused:
        verify(other, request)
    assert refused.value.outcome == "replayed"
    assert verify(other, signed()).signed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


ADD_ALL = """
import sys
from gcmedia.dialects.audiohook import SharedNonceMemory
memory = SharedNonceMemory(sys.argv[1], 4096)
print(sum(memory.add(i.to_bytes(4, "little") * 4, 100, 0) for i in range(500)))
"""


def test_of_processes_at_the_same_time_one_gets_each(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADD_ALL, str(tmp_path / "nonces")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    taken = [int(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum(taken) == 500


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=100))
@settings(max_examples=40, deadline=None)
def test_it_remembers_what_the_memory_of_one_process_does(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]]
) -> None:
    memory = SharedNonceMemory(tmp_path_factory.mktemp("nonces") / "file", 64)
    reference, now = NonceMemory(64), 1
    for number, step in asked:
        now += step
        assert memory.add(key(number), now + 20, now) == reference.add(key(number), now + 20, now)
    memory.close()


def test_a_full_set_lets_nobody_in_until_its_time_has_passed(tmp_path: Path) -> None:
    memory = SharedNonceMemory(tmp_path / "nonces", 1)
    assert all(memory.add(key(number), 100, 50) for number in range(64))
    with pytest.raises(MemoryFull, match="64 nonces"):
        memory.add(key(64), 100, 100)
    assert not memory.add(key(3), 100, 100)
    assert memory.add(key(64), 130, 101)


def test_a_file_of_another_kind_or_size_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="no memory of 64 nonces"):
        SharedNonceMemory(other, 64)
    assert other.read_bytes() == b"precious"
    SharedNonceMemory(tmp_path / "nonces", 64)
    with pytest.raises(ConfigError, match="no memory of 128 nonces"):
        SharedNonceMemory(tmp_path / "nonces", 128)
    with pytest.raises(ConfigError, match="limit"):
        SharedNonceMemory(tmp_path / "more", 0)
