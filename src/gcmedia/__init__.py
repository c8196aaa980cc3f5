"""gcmedia: capture Genesys Cloud call audio, clean, ordered and accounted for.

The core is here at once; what needs a network library is imported when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._core.bank import ReceiverBank
from ._core.conceal import Concealer
from ._core.cpu import cpu_features
from ._core.dynamics import Compressor
from ._core.frame import Frame
from ._core.g711 import alaw_decode, alaw_encode, ulaw_decode, ulaw_encode
from ._core.gate import SpectralGate
from ._core.gate_bank import SpectralGateBank
from ._core.jitter import JitterBuffer, Packet
from ._core.loudness import LoudnessNormalizer
from ._core.packet import Header, LayoutDetector, parse_header
from ._core.pcm import extract_channel, interleave, l16_decode, l16_encode, level_dbov, mean_abs, peak, rms
from ._core.receiver import Receiver
from ._core.sequence import SequenceValidator, Verdict
from ._core.silence import SilenceDetector
from ._core.stream import StreamReceiver
from .config import (
    CompressorConfig,
    ConversationsConfig,
    GateConfig,
    InteractiveSessionsConfig,
    JitterConfig,
    LoudnessConfig,
    MediaStreamsConfig,
    MuteConfig,
    NotificationsConfig,
    PlatformMediaConfig,
    ReconnectConfig,
    SilenceConfig,
    WebchatEdgeConfig,
)
from .errors import (
    AmbiguousCall,
    ApiError,
    AuthError,
    CallEnded,
    ConfigError,
    Conflict,
    ConnectionLost,
    Forbidden,
    FormatError,
    GcmediaError,
    HandshakeError,
    InvalidAudioStateError,
    LocalProtocolError,
    MediaError,
    MediaNotAvailable,
    MissingCredentials,
    MuteError,
    NoActiveCall,
    NotFound,
    PacketError,
    ProtocolError,
    RateLimited,
    ReconnectExhausted,
    RemoteProtocolError,
    RetryExhausted,
    SignatureRefused,
    StateError,
    StreamNotFound,
    TooManyRequests,
    TooManyStreams,
    TransportError,
    UserContextRequired,
)
from .types import CpuFeatures, Hole, MediaFormat, SequenceStats, Stats, Transcript

if TYPE_CHECKING:
    from .auth import Credentials, TokenProvider
    from .capture import Capture, capture
    from .dialects.audiohook import AudioHookClientConfig, AudioHookConfig, SignatureConfig
    from .live import LiveCalls
    from .media_streams import MediaStreams, capture_streams
    from .monitor import MonitorConfig, serve_monitor
    from .mute import AudioControl, MuteControl, MuteResult, MuteState, open_mute
    from .notifications import Notifications
    from .record import RecordConfig
    from .regions import Region, resolve_region
    from .resample import FrameResampler, ResampledFrame, Resampler
    from .server import AudioHookServer, HookCall, ServerConfig, serve

#: Imported when first asked for, with the libraries that they need.
_LAZY = {
    "AudioControl": "mute",
    "AudioHookClientConfig": "dialects.audiohook",
    "AudioHookConfig": "dialects.audiohook",
    "AudioHookServer": "server",
    "Capture": "capture",
    "Credentials": "auth",
    "FrameResampler": "resample",
    "HookCall": "server",
    "LiveCalls": "live",
    "MediaStreams": "media_streams",
    "MonitorConfig": "monitor",
    "MuteControl": "mute",
    "MuteResult": "mute",
    "MuteState": "mute",
    "Notifications": "notifications",
    "RecordConfig": "record",
    "Region": "regions",
    "ResampledFrame": "resample",
    "Resampler": "resample",
    "ServerConfig": "server",
    "SignatureConfig": "dialects.audiohook",
    "TokenProvider": "auth",
    "capture": "capture",
    "capture_streams": "media_streams",
    "open_mute": "mute",
    "resolve_region": "regions",
    "serve": "server",
    "serve_monitor": "monitor",
}

__version__ = "0.1.0"

__all__ = [
    "AmbiguousCall",
    "ApiError",
    "AudioControl",
    "AudioHookClientConfig",
    "AudioHookConfig",
    "AudioHookServer",
    "AuthError",
    "CallEnded",
    "Capture",
    "Compressor",
    "CompressorConfig",
    "Concealer",
    "ConfigError",
    "Conflict",
    "ConnectionLost",
    "ConversationsConfig",
    "CpuFeatures",
    "Credentials",
    "Forbidden",
    "FormatError",
    "Frame",
    "FrameResampler",
    "GateConfig",
    "GcmediaError",
    "HandshakeError",
    "Header",
    "Hole",
    "HookCall",
    "InteractiveSessionsConfig",
    "InvalidAudioStateError",
    "JitterBuffer",
    "JitterConfig",
    "LayoutDetector",
    "LiveCalls",
    "LocalProtocolError",
    "LoudnessConfig",
    "LoudnessNormalizer",
    "MediaError",
    "MediaFormat",
    "MediaNotAvailable",
    "MediaStreams",
    "MediaStreamsConfig",
    "MissingCredentials",
    "MonitorConfig",
    "MuteConfig",
    "MuteControl",
    "MuteError",
    "MuteResult",
    "MuteState",
    "NoActiveCall",
    "NotFound",
    "Notifications",
    "NotificationsConfig",
    "Packet",
    "PacketError",
    "PlatformMediaConfig",
    "ProtocolError",
    "RateLimited",
    "Receiver",
    "ReceiverBank",
    "ReconnectConfig",
    "ReconnectExhausted",
    "RecordConfig",
    "Region",
    "RemoteProtocolError",
    "ResampledFrame",
    "Resampler",
    "RetryExhausted",
    "SequenceStats",
    "SequenceValidator",
    "ServerConfig",
    "SignatureConfig",
    "SignatureRefused",
    "SilenceConfig",
    "SilenceDetector",
    "SpectralGate",
    "SpectralGateBank",
    "StateError",
    "Stats",
    "StreamNotFound",
    "StreamReceiver",
    "TokenProvider",
    "TooManyRequests",
    "TooManyStreams",
    "Transcript",
    "TransportError",
    "UserContextRequired",
    "Verdict",
    "WebchatEdgeConfig",
    "alaw_decode",
    "alaw_encode",
    "capture",
    "capture_streams",
    "cpu_features",
    "extract_channel",
    "interleave",
    "l16_decode",
    "l16_encode",
    "level_dbov",
    "mean_abs",
    "open_mute",
    "parse_header",
    "peak",
    "resolve_region",
    "rms",
    "serve",
    "serve_monitor",
    "ulaw_decode",
    "ulaw_encode",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return value


class _Package(ModuleType):
    """Keeps `gcmedia.capture` the function, also where the import of the module of that name would replace it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _LAZY and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
