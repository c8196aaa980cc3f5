"""AudioHook, protocol version 2, both ends without I/O.  How to drive them is told in docs/audiohook-protocol.md.

============= =========================================================================================
module        holds
============= =========================================================================================
server        `ServerMachine`: the server's end of a session
client        `ClientMachine`: the client's end, as the platform plays it
events        what the machines tell of
entities      transcripts, agent assist, barge-in and bot turns for `ServerMachine.send_event`
open, media   what a client offers, and the choice from it
timeline      counted samples, holes, and the client's own positions beside them
durations     ``PT1.5S`` and samples
signature     `SignatureVerifier` for upgrade requests, `sign` for clients
keys, nonces  where secrets come from; what was accepted before
settings      `AudioHookConfig`, `AudioHookClientConfig`, `SignatureConfig`
============= =========================================================================================
"""

from __future__ import annotations

from . import entities, events
from .client import ClientMachine
from .keys import Keys, KeySource
from .media import Media
from .nonces import NonceMemory, Nonces, SharedNonceMemory
from .open import NIL_ID, ContinuedSession, Open, Participant
from .server import Answer, ServerMachine
from .settings import AudioHookClientConfig, AudioHookConfig, SignatureConfig
from .signature import SignatureVerifier, sign
from .upgrade import Identity, UpgradeRequest

__all__ = [
    "NIL_ID",
    "Answer",
    "AudioHookClientConfig",
    "AudioHookConfig",
    "ClientMachine",
    "ContinuedSession",
    "Identity",
    "KeySource",
    "Keys",
    "Media",
    "NonceMemory",
    "Nonces",
    "Open",
    "Participant",
    "ServerMachine",
    "SharedNonceMemory",
    "SignatureConfig",
    "SignatureVerifier",
    "UpgradeRequest",
    "entities",
    "events",
    "sign",
]
