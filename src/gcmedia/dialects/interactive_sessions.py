"""Interactive sessions over REST: the search that finds an agent's session, its resource, and what an answer means.

Pure functions: paths, bodies, and the reading of answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import AmbiguousCall, ConfigError, NoActiveCall, RemoteProtocolError

__all__ = ["POLICIES", "SEARCH_PATH", "Session", "choose", "mute_body", "read_search", "read_session", "search_body"]

SEARCH_PATH = "/api/v2/flexiblesearch/queries/sessions/details/query"

#: Which of several sessions is meant: the one begun last, or the only one that is connected.
POLICIES = ("newest", "connected")

MAX_SESSIONS = 100


@dataclass(frozen=True, slots=True)
class Session:
    """A session, as far as the server told.  What a field was not there for is None.

    Attributes
    ----------
    id : str
        Good for one connection.
    user_id, type, status : str or None
        Whose; ``"voice"``; ``"active"``.
    state : str or None
        Where the call stands.
    muted : bool or None
        Whether its microphone is muted.
    started : str or None
        ISO 8601.
    """

    id: str
    user_id: str | None
    type: str | None
    status: str | None
    state: str | None
    muted: bool | None
    started: str | None


def search_body(user_id: str, page_size: int = 2) -> dict[str, Any]:
    """The query for the active voice sessions of a user.

    Parameters
    ----------
    user_id : str
        The agent.
    page_size : int
        At least 2, so that a second session is not hidden.
    """
    if not 2 <= page_size <= MAX_SESSIONS:
        raise ConfigError(f"page_size is {page_size}, not in [2, {MAX_SESSIONS}]: with 1 a second session is hidden")
    wanted = (("userId", user_id), ("type", "voice"), ("status", "active"))
    clauses = [{"type": "eq", "field": name, "values": [value]} for name, value in wanted]
    return {"pageSize": page_size, "query": {"type": "and", "clauses": clauses}}


def mute_body(muted: bool) -> dict[str, bool]:
    """The change: this field alone."""
    return {"muted": muted}


def read_session(body: object) -> Session:
    """A session from the answer to a GET or PATCH, or from a search.

    Raises
    ------
    RemoteProtocolError
        If it has no id.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("id"), str) or not body["id"]:
        raise RemoteProtocolError("a session has no id")
    muted = body.get("muted")
    texts = {name: body.get(name) for name in ("userId", "type", "status", "state", "startTime")}
    user_id, kind, status, state, started = (
        value if isinstance(value, str) and value else None for value in texts.values()
    )
    # A field that is missing is not False: nobody knows then.
    return Session(body["id"], user_id, kind, status, state, muted if isinstance(muted, bool) else None, started)


def read_search(body: object) -> list[Session]:
    """The sessions of a search result; at most 100 are read.

    Raises
    ------
    RemoteProtocolError
        If it is no search result.
    """
    entities = body.get("entities", []) if isinstance(body, Mapping) else None
    if entities is None:
        entities = []
    if not isinstance(body, Mapping) or not isinstance(entities, list):
        raise RemoteProtocolError("the search for sessions was answered with no list of entities")
    return [read_session(entity) for entity in entities[:MAX_SESSIONS]]


def choose(sessions: list[Session], user_id: str, policy: str | None = None) -> Session:
    """The session to act on.

    Parameters
    ----------
    sessions : list of Session
        What the search found; those that say themselves that they are not what was searched for are passed over.
    user_id : str
        The agent.
    policy : str, optional
        One of `POLICIES`.

    Raises
    ------
    NoActiveCall
        If there is none.
    AmbiguousCall
        If there are several and the policy does not decide.
    """
    fitting = [
        one
        for one in sessions
        if one.user_id in (None, user_id) and one.type in (None, "voice") and one.status in (None, "active")
    ]
    if not fitting:
        seen = sorted({f"{one.type or 'unknown'} ({one.status or 'unknown'})" for one in sessions})
        also = f"; seen were {', '.join(seen)}" if seen else ""
        raise NoActiveCall(f"No active voice session found for user {user_id}{also}")
    if len(fitting) == 1:
        return fitting[0]
    if policy == "connected":
        connected = [one for one in fitting if one.state == "connected"]
        if len(connected) == 1:
            return connected[0]
    elif policy == "newest" and all(one.started for one in fitting):
        newest = sorted(fitting, key=lambda one: one.started or "")[-2:]
        if newest[0].started != newest[1].started:
            return newest[1]
    ids = ", ".join(one.id for one in fitting)
    how = f"the policy {policy!r} does not tell which" if policy else f"choose a policy ({', '.join(POLICIES)})"
    raise AmbiguousCall(f"user {user_id} has {len(fitting)} active voice sessions ({ids}): {how}, or name the session")
