"""What is left of a call: recordings that survive, an exact timeline, transcripts and an audit trail."""

from .audit import AuditLog
from .audit_chain import AuditCheck, check_audit, verify_audit
from .audit_policy import AuditPolicy
from .behind import FolderBehind, Writers
from .folder import CallFolder, RecordedFrame
from .journal import read_journal
from .prune import Pruned, prune_room
from .repair import Repair, call_folders, is_open, repair_call, repair_room, repair_wav
from .settings import RecordConfig
from .timeline import Timeline, manifest_schema
from .transcript import TranscriptLog
from .verify import FolderCheck, Problem, verify_call, verify_room
from .wall import WallMap
from .wav import WavJournal
from .wav_file import WavData, WavInfo, read_wav, wav_info

__all__ = [
    "AuditCheck",
    "AuditLog",
    "AuditPolicy",
    "CallFolder",
    "FolderBehind",
    "FolderCheck",
    "Problem",
    "Pruned",
    "RecordConfig",
    "RecordedFrame",
    "Repair",
    "Timeline",
    "TranscriptLog",
    "WallMap",
    "WavData",
    "WavInfo",
    "WavJournal",
    "Writers",
    "call_folders",
    "check_audit",
    "is_open",
    "manifest_schema",
    "prune_room",
    "read_journal",
    "read_wav",
    "repair_call",
    "repair_room",
    "repair_wav",
    "verify_audit",
    "verify_call",
    "verify_room",
    "wav_info",
]
