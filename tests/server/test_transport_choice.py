"""Which transport the server takes, by what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcmedia.errors import ConfigError
from gcmedia.transport.accept import choose_transport


@pytest.fixture
def other_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of picows that nobody knows yet is what Python finds first."""
    folder = tmp_path / "picows-2.99.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: picows\nVersion: 2.99.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_picows_is_chosen_by_itself_on_asyncio_only() -> None:
    pytest.importorskip("picows")
    assert choose_transport("auto", "asyncio") == choose_transport("picows", "asyncio") == "picows"
    assert choose_transport("auto", "trio") == "websockets"
    with pytest.raises(ConfigError, match="runs on asyncio only, not on trio"):
        choose_transport("picows", "trio")


def test_another_release_of_picows_is_left_alone(other_release: None) -> None:
    assert choose_transport("auto", "asyncio") == "websockets"
    with pytest.raises(ConfigError, match=r"needs picows 2\.3, not 2\.99\.0"):
        choose_transport("picows", "asyncio")


def test_an_unknown_transport() -> None:
    with pytest.raises(ConfigError, match="'quic', not one of auto, websockets, picows"):
        choose_transport("quic", "asyncio")
