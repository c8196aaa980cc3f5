"""What is chosen from an offer, and what the settings allow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia import ConfigError, MediaFormat
from gcmedia.dialects.audiohook import AudioHookClientConfig, AudioHookConfig, Media, SignatureConfig
from gcmedia.dialects.audiohook.media import choose
from gcmedia.dialects.audiohook.parameters import read_media

BOTH, TURNED = Media("PCMU", ("external", "internal")), Media("PCMU", ("internal", "external"))
EXTERNAL, INTERNAL = Media("PCMU", ("external",)), Media("PCMU", ("internal",))
L16 = Media("L16", ("external", "internal"))
OFFER = (EXTERNAL, L16, TURNED, BOTH, INTERNAL)


def chosen(offer: tuple[Media, ...], **changes: Any) -> Media | None:
    config = AudioHookConfig(**changes)
    return choose(offer, formats=config.formats, channels=config.channels, rates=config.rates)


def test_the_choice_follows_the_settings_and_among_equals_the_offer() -> None:
    assert chosen(OFFER) is TURNED
    assert chosen((BOTH, TURNED)) is BOTH
    assert chosen(OFFER, formats=("L16", "PCMU")) is L16
    assert chosen(OFFER, channels=("internal", "both")) is INTERNAL
    assert chosen((EXTERNAL, L16), channels=("both", "external")) is L16
    assert chosen((EXTERNAL,), channels=("internal",)) is None
    assert chosen(()) is None


def test_only_what_can_be_told_apart_is_chosen() -> None:
    for media in (
        Media("OPUS", ("external",)),
        Media("PCMU", ()),
        Media("PCMU", ("external", "external")),
        Media("PCMU", ("external", "agent")),
        Media("PCMU", ("external", "internal", "mixed")),
        Media("PCMU", ("external",), 16_000),
        Media("PCMU", ("external",), 8000, "video"),
        Media("PCMU", ("external",), 0),
    ):
        assert chosen((media,)) is None
        assert chosen((media, EXTERNAL)) is EXTERNAL


def test_another_rate_is_taken_when_the_settings_have_it() -> None:
    wide = Media("L16", ("external",), 16_000)
    assert chosen((EXTERNAL, wide), rates=(16_000, 8000), formats=("L16", "PCMU")) is wide


def test_formats_are_those_of_the_core() -> None:
    assert BOTH.to_format() == MediaFormat("PCMU", 8000, ("external", "internal"))
    assert L16.to_format() == MediaFormat("L16LE", 8000, ("external", "internal"))
    assert L16.to_format("big") == MediaFormat("L16", 8000, ("external", "internal"))
    assert [media.block_octets for media in (EXTERNAL, BOTH, L16)] == [1, 2, 4]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": json_values, "format": json_values, "channels": json_values, "rate": json_values}
        )
        | json_values
    )
    | json_values
)
def test_any_offer_is_read(offer: object) -> None:
    assert all(isinstance(media, Media) for media in read_media(offer))
    chosen(read_media(offer))


@given(st.lists(st.sampled_from(OFFER)))
def test_an_offer_is_read_as_it_was_written(offer: list[Media]) -> None:
    assert read_media([media.to_wire() for media in offer]) == tuple(offer)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (AudioHookConfig, {"formats": ()}),
        (AudioHookConfig, {"formats": ("PCMU", "PCMU")}),
        (AudioHookConfig, {"formats": ("OPUS",)}),
        (AudioHookConfig, {"channels": ("agent",)}),
        (AudioHookConfig, {"rates": (8001,)}),
        (AudioHookConfig, {"rates": ()}),
        (AudioHookConfig, {"l16_byteorder": "middle"}),
        (AudioHookConfig, {"holes": "guessed"}),
        (AudioHookConfig, {"idle_timeout_s": 0.0}),
        (AudioHookConfig, {"idle_timeout_s": float("nan")}),
        (AudioHookConfig, {"final_events_s": 9.5}),
        (AudioHookConfig, {"max_binary_octets": 10}),
        (AudioHookClientConfig, {"paused_position": "floats"}),
        (AudioHookClientConfig, {"ping_interval_s": -1.0}),
        (SignatureConfig, {"skew_s": -1}),
        (SignatureConfig, {"max_nonces": 0}),
        (SignatureConfig, {"authority": "https://example.net"}),
        (SignatureConfig, {"authority": "ex\u00e4mple.net"}),
        (SignatureConfig, {"failure_delay_s": float("inf")}),
    ],
)
def test_settings_out_of_range_are_refused(kind: type, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        kind(**changes)
