"""What is left of a call: recordings that survive, an exact timeline, transcripts and an audit trail."""

from .audit import AuditLog, AuditPolicy, verify_audit
from .folder import CallFolder, RecordedFrame
from .journal import read_journal
from .timeline import Timeline
from .transcript import TranscriptLog
from .wav import WavData, WavInfo, WavJournal, read_wav, wav_info

__all__ = [
    "AuditLog",
    "AuditPolicy",
    "CallFolder",
    "RecordedFrame",
    "Timeline",
    "TranscriptLog",
    "WavData",
    "WavInfo",
    "WavJournal",
    "read_journal",
    "read_wav",
    "verify_audit",
    "wav_info",
]
