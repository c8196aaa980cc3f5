"""Frozen settings, checked once, units in the names."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ConfigError

__all__ = [
    "CompressorConfig",
    "ConversationsConfig",
    "GateConfig",
    "InteractiveSessionsConfig",
    "JitterConfig",
    "LoudnessConfig",
    "MediaStreamsConfig",
    "MuteConfig",
    "NotificationsConfig",
    "PlatformMediaConfig",
    "ReconnectConfig",
    "SilenceConfig",
    "WebchatEdgeConfig",
]


def _within(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"{name} is {value}{unit}, not in [{low}, {high}]")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}, not one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Noise gate.

    Attributes
    ----------
    kind : str
        ``"spectral"`` is a short-time Fourier gate with a noise floor per bin; ``"sample"`` scales each sample
        whose own amplitude is under the floor, as the tutorials do.
    floor_db : float
        dB relative to full scale, -60 to 0, of a sample's magnitude or of a sine centred in a bin.  Samples over it
        are left alone.  Bins over it hold no noise, unless the sound has gone on without a pause for more than a
        second over 100 Hz to either side too; so a steady tone far over the floor passes, however long.
    reduction_db : float
        How far noise is turned down, 0 to 60 dB.
    """

    kind: str = "spectral"
    floor_db: float = -45.0
    reduction_db: float = 20.0

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, ("spectral", "sample"))
        _within("floor_db", self.floor_db, -60.0, 0.0, " dB")
        _within("reduction_db", self.reduction_db, 0.0, 60.0, " dB")


@dataclass(frozen=True, slots=True)
class CompressorConfig:
    """Soft-knee compressor; the defaults are those of Web Audio's DynamicsCompressorNode.

    Attributes
    ----------
    threshold_db, knee_db, ratio : float
        Where compression begins, width of the knee above it, and slope beyond.
    attack_s, release_s : float
        Time to change the gain by some 10 dB; the release is the quicker the further it has to go.
    makeup_db : float or None
        Gain added after; None computes it from the curve as Web Audio does.
    lookahead_s : float
        How much later the samples come than the gain that was found for them, 0 to 0.02 s.
    """

    threshold_db: float = -24.0
    knee_db: float = 30.0
    ratio: float = 12.0
    attack_s: float = 0.003
    release_s: float = 0.25
    makeup_db: float | None = None
    lookahead_s: float = 0.006

    def __post_init__(self) -> None:
        _within("threshold_db", self.threshold_db, -100.0, 0.0, " dB")
        _within("knee_db", self.knee_db, 0.0, 40.0, " dB")
        _within("ratio", self.ratio, 1.0, 20.0)
        _within("attack_s", self.attack_s, 0.0, 1.0, " s")
        _within("release_s", self.release_s, 0.0, 1.0, " s")
        if self.makeup_db is not None:
            _within("makeup_db", self.makeup_db, -40.0, 60.0, " dB")
        _within("lookahead_s", self.lookahead_s, 0.0, 0.02, " s")


@dataclass(frozen=True, slots=True)
class LoudnessConfig:
    """Level normaliser for quiet talkers.

    Attributes
    ----------
    target_dbov : float
        Where the loudness of the speech is brought to.
    max_gain_db, max_cut_db : float
        Bounds of the gain, upwards and downwards, 0 to 40 dB.
    rise_db_per_s, fall_db_per_s : float
        How fast the gain may change, in speech; it rests in pauses and noise.
    ceiling_dbov : float
        What no true peak passes.
    """

    target_dbov: float = -22.0
    max_gain_db: float = 24.0
    max_cut_db: float = 12.0
    rise_db_per_s: float = 6.0
    fall_db_per_s: float = 12.0
    ceiling_dbov: float = -1.0

    def __post_init__(self) -> None:
        _within("target_dbov", self.target_dbov, -60.0, -6.0, " dBov")
        _within("max_gain_db", self.max_gain_db, 0.0, 40.0, " dB")
        _within("max_cut_db", self.max_cut_db, 0.0, 40.0, " dB")
        _within("rise_db_per_s", self.rise_db_per_s, 0.1, 60.0, " dB/s")
        _within("fall_db_per_s", self.fall_db_per_s, 0.1, 60.0, " dB/s")
        _within("ceiling_dbov", self.ceiling_dbov, -20.0, 0.0, " dBov")


@dataclass(frozen=True, slots=True)
class SilenceConfig:
    """Silence detection.

    Attributes
    ----------
    threshold : float
        Level under which a frame is silent, as a share of full scale (0.01 is -40 dBov).
    metric : str
        ``"rms"`` or ``"mean_abs"`` (what the tutorials compute and call RMS).
    window_frames : int
        Frames over which the level is averaged, 1 to 64.
    hysteresis_db : float
        How far over the threshold a silent stream must rise to count as speech.
    hangover_frames : int
        Frames still taken as speech after the last loud one.
    """

    threshold: float = 0.01
    metric: str = "rms"
    window_frames: int = 1
    hysteresis_db: float = 0.0
    hangover_frames: int = 0

    def __post_init__(self) -> None:
        _within("threshold", self.threshold, 0.0, 1.0)
        _one_of("metric", self.metric, ("rms", "mean_abs"))
        _within("window_frames", self.window_frames, 1, 64)
        _within("hysteresis_db", self.hysteresis_db, 0.0, 40.0, " dB")
        _within("hangover_frames", self.hangover_frames, 0, 1000)


@dataclass(frozen=True, slots=True)
class JitterConfig:
    """How packets wait for one another.

    Attributes
    ----------
    policy : str
        ``"depth"`` keeps a number of packets in hand that follows loss and packet spacing; ``"window"`` hands
        on what is in order at once and waits a fixed time for what is missing; ``"adaptive"`` hands each packet on
        when it is due, which follows the measured spread of arrival.
    slots : int
        Packets that fit, a power of two from 32 to 1024.
    base_depth, min_depth, max_depth : int
        Packets in hand at the start, and the bounds.
    raise_loss, raise_interval_ms : float
        Above either, the depth becomes ``min(2 * base_depth, max_depth)``.
    lower_loss, lower_interval_ms : float
        Below both for ``dwell_packets``, it becomes ``max(base_depth, min_depth)`` again.
    window_ms, wide_window_ms : float
        How long a missing packet is waited for, and how long while loss is above ``wide_loss``.
    wide_loss, narrow_loss : float
        The wide window begins above the first and ends below the second.
    dwell_packets : int
        Packets for which a better state must last before the policy steps back.
    max_hold_ms : float
        Longest time that the depth policy keeps a packet when no further ones come; infinity for never.
    gap_tolerance : int
        Missing packets in a row that are concealed one by one; more are one flush.
    delay_quantile : float
        Share of the packets that the adaptive policy wants to come in time, 0.5 to 0.9999.
    min_delay_ms, max_delay_ms : float
        Bounds of the adaptive delay, up to 10 s.  Half of ``slots`` must hold it: 500 ms are 25 packets of 20 ms.
    delay_memory_packets : int
        Packets after which the adaptive policy gives one's delay 1/e of its weight, 50 to 1 000 000.

    Notes
    -----
    The adaptive policy: a packet is due at its media time, plus the least transit (arrival minus media time) of
    the last 20 s, plus a delay.  The moving least follows clocks that drift apart.  The delay is a quantile of a
    histogram of transits that forgets exponentially; which quantile is steered by the packets that were late, so
    that they stay about ``1 - delay_quantile`` of all.  A late packet raises the delay to its own at once, within
    the bounds, which refills the buffer after an underrun; the rise falls as the packets that queued behind it come,
    and the rest of it fades in a few tenths of a second.  So a spike costs the packet at its head and not those
    queued behind it.  Spikes that come too often for that are found in the histogram's tail by the steering.

    A missing place is given up when it is due and a later packet waits; what comes for it afterwards is late.
    A packet that comes after it was due, but whose place is still open, is handed on at once and not lost: a run of
    them is counted as one underrun.  When packets waiting would fill more than half the ring, the oldest place is
    decided before it is due.
    """

    policy: str = "depth"
    slots: int = 64
    base_depth: int = 5
    min_depth: int = 3
    max_depth: int = 20
    raise_loss: float = 0.15
    raise_interval_ms: float = 200.0
    lower_loss: float = 0.02
    lower_interval_ms: float = 80.0
    window_ms: float = 50.0
    wide_window_ms: float = 100.0
    wide_loss: float = 0.05
    narrow_loss: float = 0.02
    dwell_packets: int = 50
    max_hold_ms: float = 1000.0
    gap_tolerance: int = 3
    delay_quantile: float = 0.99
    min_delay_ms: float = 10.0
    max_delay_ms: float = 500.0
    delay_memory_packets: int = 2000

    def __post_init__(self) -> None:
        _one_of("policy", self.policy, ("depth", "window", "adaptive"))
        _within("slots", self.slots, 32, 1024, " packets")
        if self.slots & (self.slots - 1):
            raise ConfigError(f"slots is {self.slots}, not a power of two")
        _within("max_depth", self.max_depth, 1, self.slots // 2, " packets")
        _within("min_depth", self.min_depth, 1, self.max_depth, " packets")
        _within("base_depth", self.base_depth, 1, self.max_depth, " packets")
        for name in ("raise_loss", "lower_loss", "wide_loss", "narrow_loss"):
            _within(name, getattr(self, name), 0.0, 1.0)
        if self.lower_loss > self.raise_loss:
            raise ConfigError(f"lower_loss is {self.lower_loss}, above raise_loss {self.raise_loss}")
        if self.narrow_loss > self.wide_loss:
            raise ConfigError(f"narrow_loss is {self.narrow_loss}, above wide_loss {self.wide_loss}")
        _within("window_ms", self.window_ms, 0.0, 10_000.0, " ms")
        _within("wide_window_ms", self.wide_window_ms, self.window_ms, 10_000.0, " ms")
        _within("dwell_packets", self.dwell_packets, 1, 1_000_000)
        _within("max_hold_ms", self.max_hold_ms, 0.0, float("inf"), " ms")
        _within("gap_tolerance", self.gap_tolerance, 0, self.slots)
        _within("delay_quantile", self.delay_quantile, 0.5, 0.9999)
        _within("max_delay_ms", self.max_delay_ms, 1.0, 10_000.0, " ms")
        _within("min_delay_ms", self.min_delay_ms, 0.0, self.max_delay_ms, " ms")
        _within("delay_memory_packets", self.delay_memory_packets, 50, 1_000_000, " packets")


@dataclass(frozen=True, slots=True)
class ReconnectConfig:
    """When and how often a lost connection is made again.

    The n-th wait is ``min(base_s * factor**n, cap_s)`` times a random share between ``jitter_low`` and 1, and
    never less than what the server asked for.

    Attributes
    ----------
    attempts : int
        Attempts in a row without a media message between them.
    base_s, factor, cap_s : float
        First wait, growth, and ceiling.
    jitter_low : float
        Least random share, 0 to 1.
    """

    attempts: int = 5
    base_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 30.0
    jitter_low: float = 0.5

    def __post_init__(self) -> None:
        _within("attempts", self.attempts, 0, 1_000_000)
        _within("base_s", self.base_s, 0.0, 3600.0, " s")
        _within("factor", self.factor, 1.0, 10.0)
        _within("cap_s", self.cap_s, self.base_s, 86_400.0, " s")
        _within("jitter_low", self.jitter_low, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class PlatformMediaConfig:
    """Profile of the platform media WebSocket.

    Attributes
    ----------
    format, sample_rate, n_channels : str, int, int
        What is asked for: ``"raw"``, ``"pcmu"`` or ``"pcma"``; Hz; 1 for both parties mixed, 2 for each apart.
    layout : str
        Header of binary packets: ``"padded16"``, ``"packed12"`` or ``"auto"``.
    path : str
        Path of the WebSocket below the region's media URL.
    token_in : str
        ``"header"``, or ``"query"`` for servers that demand it; URLs get logged by others.
    refresh_margin_s : float
        How long before its end a token is renewed.
    open_timeout_s, ack_timeout_s : float
        Time for the upgrade, and from subscribing to the acknowledgement or the first packet.
    idle_timeout_s : float
        A connection on which no message has come for so long is given up.
    ping_interval_s, pong_timeout_s : float
        Keep-alive.
    metrics_period_s : float
        Time between QA records.
    max_message_octets : int
        A longer message ends the connection.
    """

    format: str = "raw"
    sample_rate: int = 16_000
    n_channels: int = 1
    layout: str = "padded16"
    path: str = "/api/v2/platform/media"
    token_in: str = "header"  # noqa: S105 -- a place, not a password
    refresh_margin_s: float = 5.0
    open_timeout_s: float = 10.0
    ack_timeout_s: float = 5.0
    idle_timeout_s: float = 10.0
    ping_interval_s: float = 30.0
    pong_timeout_s: float = 20.0
    metrics_period_s: float = 2.0
    max_message_octets: int = 1 << 20

    def __post_init__(self) -> None:
        _one_of("format", self.format, ("raw", "pcmu", "pcma"))
        _one_of("layout", self.layout, ("padded16", "packed12", "auto"))
        _one_of("token_in", self.token_in, ("header", "query"))
        _within("sample_rate", self.sample_rate, 8000, 48_000, " Hz")
        _within("n_channels", self.n_channels, 1, 2)
        _within("refresh_margin_s", self.refresh_margin_s, 0.0, 3600.0, " s")
        for name in ("open_timeout_s", "ack_timeout_s", "idle_timeout_s", "ping_interval_s", "pong_timeout_s"):
            _within(name, getattr(self, name), 0.001, 86_400.0, " s")
        _within("metrics_period_s", self.metrics_period_s, 0.01, 86_400.0, " s")
        _within("max_message_octets", self.max_message_octets, 1024, 1 << 30, " octets")


@dataclass(frozen=True, slots=True)
class MediaStreamsConfig:
    """Profile of the media streams WebSocket: many interactions over few connections.

    Attributes
    ----------
    codecs : tuple of str
        What is asked for, the best first: ``"pcmu"``, ``"pcma"``, ``"opus"``.  Opus is decoded where the extra
        ``codecs`` is installed, and passed on as it is otherwise.
    assumed_codec : str
        What a stream is taken for when the server does not say.
    media_type : str
        Kind of media asked for.
    url : str
        Of the WebSocket; ``{media_url}``, ``{aws}``, ``{domain}`` and ``{code}`` are the region's.
    sequence_bits : int
        Width of the sequence numbers, 16 (as RTP has it) or 32.  A number beyond 16 bits shows 32.
    timestamp_unit : str
        ``"samples"`` of the codec's clock, as RTP has it, or ``"ms"``.
    binary_packets : bool
        Whether a binary message that is no JSON is audio without a header; only where a connection has one interaction.
    max_interactions : int
        Interactions of one connection at a time.
    max_connections : int
        Connections over which more interactions are spread.
    availability_window_s : float
        How long after its end the media of an interaction can be had, by the server's clock.
    check_availability : bool
        Whether each interaction is looked up before it is subscribed to.
    max_checks, check_timeout_s : int, float
        Look-ups at once, and time for each request.
    rechecks, recheck_delay_s : int, float
        How often an interaction that the server refuses as not available is looked up and asked for again, and the
        wait before.
    ack_timeout_s : float
        A connection that says nothing for so long after the first subscription is given up; a single interaction is
        then no longer waited for, and looked up.
    idle_timeout_s : float
        An interaction without media for so long is looked up, and is over if the platform says so.
    refresh_margin_s : float
        How long before its end a token is renewed.
    open_timeout_s, ping_interval_s, pong_timeout_s : float
        Time for the upgrade; keep-alive.
    throughput_period_s : float
        Time between throughput records.
    audit_period_s : float
        Media time between the audit records of one interaction.
    max_message_octets : int
        A longer message ends the connection.
    """

    codecs: tuple[str, ...] = ("pcmu", "pcma")
    assumed_codec: str = "pcmu"
    media_type: str = "voice"
    url: str = "{media_url}/api/v2/media/streams"
    sequence_bits: int = 16
    timestamp_unit: str = "samples"
    binary_packets: bool = False
    max_interactions: int = 50
    max_connections: int = 20
    availability_window_s: float = 60.0
    check_availability: bool = True
    max_checks: int = 8
    check_timeout_s: float = 15.0
    rechecks: int = 3
    recheck_delay_s: float = 2.0
    ack_timeout_s: float = 5.0
    idle_timeout_s: float = 10.0
    refresh_margin_s: float = 300.0
    open_timeout_s: float = 10.0
    ping_interval_s: float = 30.0
    pong_timeout_s: float = 20.0
    throughput_period_s: float = 5.0
    audit_period_s: float = 10.0
    max_message_octets: int = 1 << 18

    def __post_init__(self) -> None:
        if not self.codecs or isinstance(self.codecs, str):
            raise ConfigError(f"codecs is {self.codecs!r}, not a tuple of at least one codec")
        for codec in (*self.codecs, self.assumed_codec):
            _one_of("codec", codec, ("pcmu", "pcma", "opus"))
        _one_of("timestamp_unit", self.timestamp_unit, ("samples", "ms"))
        if self.sequence_bits not in (16, 32):
            raise ConfigError(f"sequence_bits is {self.sequence_bits}, not 16 or 32")
        _within("max_interactions", self.max_interactions, 1, 10_000)
        _within("max_connections", self.max_connections, 1, 1000)
        _within("max_checks", self.max_checks, 1, 100)
        _within("rechecks", self.rechecks, 0, 1000)
        _within("availability_window_s", self.availability_window_s, 0.0, 86_400.0, " s")
        _within("recheck_delay_s", self.recheck_delay_s, 0.0, 3600.0, " s")
        _within("refresh_margin_s", self.refresh_margin_s, 0.0, 3600.0, " s")
        _within("audit_period_s", self.audit_period_s, 0.02, 86_400.0, " s")
        _within("throughput_period_s", self.throughput_period_s, 0.01, 86_400.0, " s")
        for name in ("ack", "idle", "open", "pong", "check"):
            _within(f"{name}_timeout_s", getattr(self, f"{name}_timeout_s"), 0.001, 86_400.0, " s")
        _within("ping_interval_s", self.ping_interval_s, 0.001, 86_400.0, " s")
        _within("max_message_octets", self.max_message_octets, 1024, 1 << 30, " octets")


@dataclass(frozen=True, slots=True)
class NotificationsConfig:
    """Profile of the notification channel; the defaults are those of the platform and its own clients.

    Attributes
    ----------
    open_timeout_s : float
        Time for the upgrade.
    watchdog_s : float
        A socket on which nothing has come for so long is dead; the server's heartbeats are 30 s apart.
    ping_interval_s : float
        Silence after which the server is asked for a sign of life, and time between two such questions.
    renew_after_s : float
        A channel is renewed at this age, or at 23/24 of the life that the server gave it when that is earlier.
    max_reuses : int
        Reconnects to one channel before another is made.
    handover_s : float
        How long the old socket is still read beside the new one when the server announces its end.
    resync_interval_s : float
        Time between the rounds in which all consumers are asked to read the truth over REST: a channel may be open,
        alive and yet tell nothing.
    max_retry_after_s : float
        A server that asks for a longer wait is not waited for.
    max_message_octets : int
        A longer message ends the connection.
    """

    open_timeout_s: float = 15.0
    watchdog_s: float = 35.0
    ping_interval_s: float = 15.0
    renew_after_s: float = 82_800.0
    max_reuses: int = 10
    handover_s: float = 60.0
    resync_interval_s: float = 300.0
    max_retry_after_s: float = 180.0
    max_message_octets: int = 1 << 20

    def __post_init__(self) -> None:
        for name in ("open_timeout_s", "watchdog_s", "ping_interval_s", "handover_s", "resync_interval_s"):
            _within(name, getattr(self, name), 0.001, 86_400.0, " s")
        _within("renew_after_s", self.renew_after_s, 1.0, 86_000.0, " s")
        _within("max_reuses", self.max_reuses, 0, 1000)
        _within("max_retry_after_s", self.max_retry_after_s, 0.0, 86_400.0, " s")
        _within("max_message_octets", self.max_message_octets, 1024, 1 << 30, " octets")


@dataclass(frozen=True, slots=True)
class MuteConfig:
    """How a state of the microphone is asked for, and how it is made sure of.

    The n-th retry waits ``min(base_s * factor**(n - 1), cap_s)`` times a random share between ``jitter_low`` and 1,
    and never less than the server asked for.

    Attributes
    ----------
    mutable_states : tuple of str
        States of the call that allow muting; ``("connected",)`` is the strict choice.
    attempts : int
        Attempts altogether, the first included.
    base_s, factor, cap_s, jitter_low : float
        First wait, growth, ceiling, and least random share.  ``base_s=2.0`` suits a congested server.
    max_retry_after_s : float
        A server that asks for a longer wait is not waited for.
    request_timeout_s : float
        Time for one request or read.
    coalesce_s : float
        How long the first of several wishes waits for others, of which the last is sent.
    min_interval_s : float
        Time between two requests, whatever they ask for.
    read_interval_s : float
        Time between two reads.
    confirm_timeout_s : float
        Time from the acceptance of a request to its confirmation.
    poll_first_s, poll_factor, poll_cap_s : float
        First gap between reads for a confirmation, growth, and ceiling.
    event_patience_s : float
        Time for an event to confirm before reads begin, where the server tells of changes by itself.
    fresh_s : float
        Where reading is possible: age up to which what the server said suffices to do nothing, or to refuse.
    late_event_s : float
        How late an event may be.  One that tells of a state which was there, or was asked for, so recently may be an
        old one; it confirms nothing until a read agrees.
    verify_events : bool
        Let a read follow on every event that would confirm, where reading is possible.
    resync_s : float
        A state that nothing has been heard of for so long is read again; infinity for never.
    """

    mutable_states: tuple[str, ...] = ("connected", "ringing")
    attempts: int = 3
    base_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 30.0
    jitter_low: float = 0.5
    max_retry_after_s: float = 180.0
    request_timeout_s: float = 15.0
    coalesce_s: float = 0.05
    min_interval_s: float = 0.25
    read_interval_s: float = 0.2
    confirm_timeout_s: float = 5.0
    poll_first_s: float = 0.25
    poll_factor: float = 1.5
    poll_cap_s: float = 2.0
    event_patience_s: float = 1.0
    fresh_s: float = 2.0
    late_event_s: float = 30.0
    verify_events: bool = False
    resync_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.mutable_states:
            raise ConfigError("mutable_states is empty: nothing could ever be muted")
        for state in self.mutable_states:
            _one_of("mutable_states", state, ("idle", "connecting", "ringing", "connected"))
        _within("attempts", self.attempts, 1, 1000)
        _within("base_s", self.base_s, 0.0, 3600.0, " s")
        _within("factor", self.factor, 1.0, 10.0)
        _within("cap_s", self.cap_s, self.base_s, 86_400.0, " s")
        _within("jitter_low", self.jitter_low, 0.0, 1.0)
        for name in ("max_retry_after_s", "coalesce_s", "min_interval_s", "read_interval_s", "fresh_s", "late_event_s"):
            _within(name, getattr(self, name), 0.0, 86_400.0, " s")
        for name in ("request_timeout_s", "confirm_timeout_s", "poll_first_s", "event_patience_s"):
            _within(name, getattr(self, name), 0.001, 86_400.0, " s")
        _within("poll_factor", self.poll_factor, 1.0, 10.0)
        _within("poll_cap_s", self.poll_cap_s, self.poll_first_s, 86_400.0, " s")
        _within("resync_s", self.resync_s, 0.1, float("inf"), " s")

    @classmethod
    def interactive_sessions(cls) -> MuteConfig:
        """For a server that tells nothing by itself: read more often, and with the published waits of 1, 2 and 4 s."""
        return cls(attempts=4, jitter_low=1.0, resync_s=30.0)


@dataclass(frozen=True, slots=True)
class ConversationsConfig:
    """Profile of muting over the platform's own conversations.

    Attributes
    ----------
    endpoint : str
        ``"on_behalf"`` with client credentials; ``"self"`` with the agent's own token; ``"generic"``, the endpoint of
        all media, of which it is not documented what it does for client credentials.
    confirmed_by : str
        ``"event"``: the notification of a change, over a channel that is held open.  ``"read"``: no channel.
    policy : str or None
        Which of several calls of the agent is meant: ``"newest"``, ``"connected"`` (the only one that is), or None for
        an error.
    shape : str
        ``"flat"`` reads ``/conversations/calls/{id}``, which needs no permission; ``"nested"`` reads
        ``/conversations/{id}``, which needs ``conversation:communication:view``.  The topics are those of the shape.
    observers : bool
        Whether a leg that monitors, coaches or barges in may be the one.
    starved_after_s : float
        A channel is taken for starved when reading has shown for so long what no event has told.
    leg_max_age_s : float
        A leg known for longer, without events in between, is looked up again before it is muted.
    """

    endpoint: str = "on_behalf"
    confirmed_by: str = "event"
    policy: str | None = None
    shape: str = "flat"
    observers: bool = False
    starved_after_s: float = 10.0
    leg_max_age_s: float = 2.0

    def __post_init__(self) -> None:
        _one_of("endpoint", self.endpoint, ("on_behalf", "self", "generic"))
        _one_of("confirmed_by", self.confirmed_by, ("event", "read"))
        if self.policy is not None:
            _one_of("policy", self.policy, ("newest", "connected"))
        _one_of("shape", self.shape, ("flat", "nested"))
        for name in ("starved_after_s", "leg_max_age_s"):
            _within(name, getattr(self, name), 0.0, 3600.0, " s")


@dataclass(frozen=True, slots=True)
class WebchatEdgeConfig:
    """Profile of the web chat edge WebSocket.

    Attributes
    ----------
    stream_id : str or None
        The stream to act on; None leaves it out, and the server takes the default one.
    send_conversation_id : bool
        Whether commands name the conversation, which the published ones do not.
    confirm : str
        ``"event"`` where the server answers with an event; ``"none"`` where it is told and forgets.
    refresh_margin_s : float
        How long before its end a token is renewed.
    open_timeout_s, auth_timeout_s : float
        Time for the upgrade, and from the token to the server's answer; then the socket is closed.
    ping_interval_s, pong_timeout_s : float
        Keep-alive.
    max_message_octets : int
        A longer message ends the connection.
    """

    stream_id: str | None = None
    send_conversation_id: bool = False
    confirm: str = "event"
    refresh_margin_s: float = 60.0
    open_timeout_s: float = 10.0
    auth_timeout_s: float = 5.0
    ping_interval_s: float = 30.0
    pong_timeout_s: float = 20.0
    max_message_octets: int = 1 << 16

    def __post_init__(self) -> None:
        if self.stream_id == "":
            raise ConfigError("stream_id is empty; None leaves it out")
        _one_of("confirm", self.confirm, ("event", "none"))
        _within("refresh_margin_s", self.refresh_margin_s, 0.0, 3600.0, " s")
        for name in ("open_timeout_s", "auth_timeout_s", "ping_interval_s", "pong_timeout_s"):
            _within(name, getattr(self, name), 0.001, 86_400.0, " s")
        _within("max_message_octets", self.max_message_octets, 1024, 1 << 30, " octets")


@dataclass(frozen=True, slots=True)
class InteractiveSessionsConfig:
    """Profile of interactive sessions.

    Attributes
    ----------
    session_id : str or None
        The session to act on; None searches for the user's.
    policy : str or None
        Which of several sessions is meant: ``"newest"``, ``"connected"``, or None for an error.
    lookup_ttl_s : float
        How long a session that was found is used without searching again.
    search_method : str
        ``"POST"``, as the published code has it, or ``"GET"``, as its heading says.
    page_size : int
        Sessions asked for, at least 2.
    """

    session_id: str | None = None
    policy: str | None = None
    lookup_ttl_s: float = 2.0
    search_method: str = "POST"
    page_size: int = 10

    def __post_init__(self) -> None:
        if self.session_id == "":
            raise ConfigError("session_id is empty; None searches for it")
        if self.policy is not None:
            _one_of("policy", self.policy, ("newest", "connected"))
        _within("lookup_ttl_s", self.lookup_ttl_s, 0.0, 3600.0, " s")
        _one_of("search_method", self.search_method, ("POST", "GET"))
        _within("page_size", self.page_size, 2, 100)
