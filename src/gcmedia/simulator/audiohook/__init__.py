"""Genesys Cloud as it calls an AudioHook server: the client's end, well behaved or not, and what it thinks of a server.

::

    async with AudioHookClient(url, open, caller=Caller(api_key, secret)) as session:   # one session, by hand
        if await session.opened():
            await session.send_audio(speech.payload(0, 1600, session.machine.media))
    print(session.report.conformity.findings)

    report = await Dialer(url, open, speech, script=Script((Action(2.0, "pause", "1.5"),))).run()   # a whole call

What a caller may do, and do wrong, is listed in `ACTIONS` and `FAULTS`.
"""

from .caller import Caller
from .client import AudioHookClient
from .conformity import Conformity, Finding
from .dial import Dialer, DialReport, offer_of, probe_of
from .outcome import Line, SessionReport
from .script import ACTIONS, FAULTS, Action, Script
from .speech import Speech

__all__ = [
    "ACTIONS",
    "FAULTS",
    "Action",
    "AudioHookClient",
    "Caller",
    "Conformity",
    "DialReport",
    "Dialer",
    "Finding",
    "Line",
    "Script",
    "SessionReport",
    "Speech",
    "offer_of",
    "probe_of",
]
