"""Conversations as the platform's API and its events show them: whose leg is whose, how it stands, how it is muted.

A participant has one of two shapes.  Flat (``/conversations/calls``, topic ``...conversations.calls``): state and
mute are the participant's own.  Nested (``/conversations/{id}``, topic ``...conversations``): they are those of its
calls.  Both are read by the same types; what is not needed, names and numbers above all, is not even decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from ..errors import ApiError, CallEnded, ConfigError, Forbidden, UserContextRequired

__all__ = [
    "ENDPOINTS",
    "MEANINGS",
    "AgentStatus",
    "Busy",
    "Conversation",
    "Leg",
    "Participant",
    "PhoneCall",
    "busy_with_calls",
    "busy_with_sessions",
    "call_state",
    "choose_leg",
    "endings",
    "explain",
    "mute_request",
    "own_calls_path",
    "read_agent_status",
    "read_conversation",
    "read_page",
    "status_path",
    "timestamp_ms",
]

#: Who asks for the mute, and so at which path: see `mute_request`.
ENDPOINTS = ("on_behalf", "self", "generic")

_ENDED = frozenset({"disconnected", "terminated"})
_STATES = {
    "none": "idle",
    "contacting": "connecting",
    "dialing": "connecting",
    "offering": "connecting",
    "alerting": "ringing",
    "connected": "connected",
    "parked": "connected",
    "disconnected": "disconnected",
    "terminated": "disconnected",
}


def call_state(state: str | None) -> str:
    """One of ``idle``, ``connecting``, ``ringing``, ``connected``, ``disconnected`` for a state of the platform's.

    ``"unknown"`` for those of other media, and for what the platform may add.
    """
    return _STATES.get((state or "").lower(), "unknown")


def timestamp_ms(text: str | None) -> int | None:
    """Epoch milliseconds of an ISO 8601 time, UTC where it names no zone; None when it cannot be read."""
    try:
        moment = datetime.fromisoformat(text or "")
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


class _Reference(msgspec.Struct, frozen=True):
    id: str | None = None


class PhoneCall(msgspec.Struct, frozen=True, rename="camel"):
    """One call within a participant of the nested shape."""

    id: str | None = None
    state: str | None = None
    muted: bool | None = None
    held: bool | None = None
    confined: bool | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return (self.state or "").lower() in _ENDED


class Participant(msgspec.Struct, frozen=True, rename="camel"):
    """A party to a conversation, in either shape."""

    id: str | None = None
    user: _Reference | None = None
    user_id: str | None = None
    purpose: str | None = None
    state: str | None = None
    muted: bool | None = None
    held: bool | None = None
    confined: bool | None = None
    start_time: str | None = None
    connected_time: str | None = None
    calls: list[PhoneCall] | None = None
    monitored_participant_id: str | None = None
    coached_participant_id: str | None = None
    barged_participant_id: str | None = None

    @property
    def agent(self) -> str | None:
        """Id of the user behind it."""
        return self.user_id or (self.user.id if self.user else None)

    @property
    def observes(self) -> bool:
        """Whether it monitors, coaches or barges in on another participant, rather than having a call of its own."""
        return bool(self.monitored_participant_id or self.coached_participant_id or self.barged_participant_id)

    def call(self) -> PhoneCall | None:
        """The call that counts: the only one, else the only one not ended, else the last; None without any."""
        calls = self.calls or []
        if len(calls) > 1:
            alive = [call for call in calls if not call.ended]
            return alive[0] if len(alive) == 1 else calls[-1]
        return calls[0] if calls else None


class Conversation(msgspec.Struct, frozen=True):
    """A snapshot of a conversation with all who take or took part."""

    id: str
    participants: list[Participant] | None = None


class _Page(msgspec.Struct, frozen=True):
    entities: list[Conversation] | None = None


class _Session(msgspec.Struct, frozen=True, rename="camel"):
    conversation_id: str | None = None
    media_type: str | None = None
    segment_type: str | None = None
    session_start: str | None = None


class AgentStatus(msgspec.Struct, frozen=True):
    """What an agent is busy with, according to analytics."""

    sessions: list[_Session] | None = None


_conversation = msgspec.json.Decoder(Conversation).decode
_page = msgspec.json.Decoder(_Page).decode
_status = msgspec.json.Decoder(AgentStatus).decode


def read_conversation(body: bytes) -> Conversation:
    """Read the answer to ``GET /conversations/{id}`` or ``GET /conversations/calls/{id}``.

    Raises
    ------
    msgspec.DecodeError
        If it is no such thing.
    """
    return _conversation(body)


def read_page(body: bytes) -> list[Conversation]:
    """Read the answer to ``GET /conversations/calls``; raises `msgspec.DecodeError` if it is no such thing."""
    return _page(body).entities or []


def read_agent_status(body: bytes) -> AgentStatus:
    """Read the answer to ``GET /analytics/agents/{id}/status``; raises as `read_conversation` does."""
    return _status(body)


@dataclass(frozen=True, slots=True)
class Leg:
    """An agent's part in a conversation.

    Attributes
    ----------
    conversation_id, participant_id : str
        What is muted is a participant of a conversation.
    communication_id : str
        The call within the participant, ``""`` in the flat shape.
    purpose : str
        ``"agent"`` for routed work, ``"user"`` for a direct call, ...
    state : str
        As the platform words it; `call_state` translates.
    muted, held, confined : bool or None
        None when the snapshot did not say.
    began_ms : int or None
        Epoch ms at which it began.
    """

    conversation_id: str
    participant_id: str
    communication_id: str
    purpose: str
    state: str
    muted: bool | None
    held: bool | None
    confined: bool | None
    began_ms: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state in _ENDED

    def shows_as(self, other: Leg) -> bool:
        """Whether the two are the same leg in the same state, as far as anyone can see or hear."""
        return (self.participant_id, self.communication_id, call_state(self.state), self.muted, self.held) == (
            other.participant_id,
            other.communication_id,
            call_state(other.state),
            other.muted,
            other.held,
        ) and self.confined == other.confined

    @property
    def connected(self) -> bool:
        """Whether there is a conversation to be heard in."""
        return call_state(self.state) == "connected"


def _leg(conversation: Conversation, participant: Participant) -> Leg:
    call = participant.call()
    # A participant of the nested shape may carry a state of its own, which says less than that of its call.
    subject = call if call is not None else participant
    began = timestamp_ms(participant.start_time)
    return Leg(
        conversation_id=conversation.id,
        participant_id=participant.id or "",
        communication_id=(call.id or "") if call is not None else "",
        purpose=participant.purpose or "",
        state=(subject.state or "").lower(),
        muted=subject.muted,
        held=subject.held,
        confined=subject.confined,
        began_ms=timestamp_ms(participant.connected_time) if began is None else began,
    )


def choose_leg(conversation: Conversation, user_id: str, *, observers: bool = False) -> Leg | None:
    """Find the leg that a user speaks through.

    One user can take part several times: transferred away and back, a consultation, voicemail.  The newest connected
    leg is the one, else the newest that has not ended, else the newest; never one whose purpose is ``voicemail``.

    Parameters
    ----------
    conversation : Conversation
        A snapshot.
    user_id : str
        The user.
    observers : bool
        Whether legs that monitor, coach or barge in count too.

    Returns
    -------
    Leg or None
        None when the user has no part in it.  It may have ended, see `Leg.ended`.
    """
    found: list[tuple[tuple[int, int, int], Leg]] = []
    for position, participant in enumerate(conversation.participants or []):
        if participant.agent != user_id or not participant.id or (participant.purpose or "").lower() == "voicemail":
            continue
        if participant.observes and not observers:
            continue
        leg = _leg(conversation, participant)
        rank = 2 if leg.connected else 0 if leg.ended else 1
        found.append(((rank, -1 if leg.began_ms is None else leg.began_ms, position), leg))
    return max(found, key=lambda one: one[0])[1] if found else None


def own_calls_path() -> str:
    """Where the user of a token finds the calls he is in; not for client credentials."""
    return "/api/v2/conversations/calls"


def status_path(user_id: str) -> str:
    """Where anyone with ``analytics:agentState:view`` finds what an agent is busy with."""
    return f"/api/v2/analytics/agents/{quote(user_id, safe='')}/status"


@dataclass(frozen=True, slots=True)
class Busy:
    """What a user is busy with.

    Attributes
    ----------
    calls : tuple of str
        Conversations of his calls that have not ended, the newest first.
    connected : tuple of str
        Those of them that are connected.
    media : tuple of str
        Media of all that there is, to tell of.
    """

    calls: tuple[str, ...]
    connected: tuple[str, ...]
    media: tuple[str, ...]


def busy_with_sessions(status: AgentStatus) -> Busy:
    """Tell from analytics; sessions that are only being wrapped up are over as calls."""
    began: dict[str, int] = {}
    connected: set[str] = set()
    for session in status.sessions or []:
        segment = (session.segment_type or "").lower()
        name = session.conversation_id
        if (session.media_type or "").lower() != "voice" or segment == "wrapup" or not name:
            continue
        start = timestamp_ms(session.session_start)
        began[name] = max(began.get(name, -1), -1 if start is None else start)
        if segment in ("interact", "hold"):
            connected.add(name)
    calls = tuple(sorted(began, key=lambda name: -began[name]))
    media = {session.media_type.lower() for session in status.sessions or [] if session.media_type}
    return Busy(calls, tuple(name for name in calls if name in connected), tuple(sorted(media)))


def busy_with_calls(calls: list[Conversation], user_id: str, *, observers: bool = False) -> Busy:
    """Tell from the user's own calls."""
    legs = [choose_leg(call, user_id, observers=observers) for call in calls]
    alive = [leg for leg in legs if leg is not None and not leg.ended]
    alive.sort(key=lambda leg: -1 if leg.began_ms is None else leg.began_ms, reverse=True)
    names = tuple(leg.conversation_id for leg in alive)
    return Busy(names, tuple(leg.conversation_id for leg in alive if leg.connected), ("voice",) if names else ())


def endings(conversation: Conversation) -> list[tuple[str, bool]]:
    """Each call in a snapshot, by an id of its own, and whether it is over.  What is over stays so."""
    found = []
    for participant in conversation.participants or []:
        for call in participant.calls or []:
            if call.id:
                found.append((f"{participant.id}/{call.id}", call.ended))
        if not participant.calls and participant.id and participant.state:
            found.append((participant.id, participant.state.lower() in _ENDED))
    return found


def mute_request(endpoint: str, leg: Leg, user_id: str, muted: bool) -> tuple[str, dict[str, bool]]:
    """Compose the PATCH that asks for a mute state: its path and its body.

    Parameters
    ----------
    endpoint : str
        ``"self"`` with a token of the very user; ``"on_behalf"`` with client credentials, which are nobody;
        ``"generic"`` the path of all media, of which nobody has written what it does without a user.
    leg : Leg
        What to mute.
    user_id : str
        Whose leg it is.
    muted : bool
        The state wanted.

    Raises
    ------
    ConfigError
        If ``endpoint`` is unknown.
    """
    conversation, participant = quote(leg.conversation_id, safe=""), quote(leg.participant_id, safe="")
    body = {"muted": muted}  # nothing else: the same request could also hold, record or disconnect
    if endpoint == "on_behalf":
        user = quote(user_id, safe="")
        return f"/api/v2/conversations/calls/{conversation}/participants/{participant}/user/{user}", body
    if endpoint == "self":
        return f"/api/v2/conversations/calls/{conversation}/participants/{participant}", body
    if endpoint == "generic":
        return f"/api/v2/conversations/{conversation}/participants/{participant}", body
    raise ConfigError(f"endpoint is {endpoint!r}, not one of {', '.join(ENDPOINTS)}")


_NO_USER = (
    "the token belongs to no user: use endpoint='on_behalf' with user_id, or a token for which the agent signed in"
)
_NOT_THE_USER = (
    "the token belongs to a user who is not this participant: use the agent's own token, or client credentials"
    " with endpoint='on_behalf'"
)
_PERMISSION = (
    "client credentials need a role with one of conversation:participant:wrapup, conversation:call:record,"
    " conversation:communication:disconnect (for acting on behalf of a user conversation:agentlessCall:add is listed"
    " beside them); user tokens need the scope conversations"
)
_NOT_A_MUTE = "the platform read the request as something other than a mute"

#: What each code that the mute endpoints document means for who asked.
MEANINGS: dict[str, str] = {
    "not.a.user": _NO_USER,
    "conversation.error.user.not.party": _NOT_THE_USER,
    "conversation.error.call.disconnected": "the call is over",
    "conversation.error.participant.no.active.conversations": "the agent's part in the call is over",
    "conversation.error.conversation.not.found": "there is no such conversation, or it has long ended",
    "conversation.error.not.conversation.participant": "the user has no part in this conversation any more",
    "not.found": "there is no such conversation, or the user has no part in it",
    "conversation.error.hold.alerting": "a call that still rings cannot be held",
    "conversation.error.cannot.create.conference": _NOT_A_MUTE,
    "conversation.error.cannot.confine.party": _NOT_A_MUTE,
    "conversation.error.wrapup.code.required": "the call is over and waits for its wrap-up code",
    "conversation.error.wrapup.cannot.skip": "the call is over and its wrap-up cannot be skipped",
    "conversation.participant.update.invalid": "the platform refuses this change of this participant",
    "callback.error.answer.not.alerting": _NOT_A_MUTE,
    "communication.state.required": "this endpoint can only disconnect",
    "conversation.error.forbidden.not.active.participant": (
        "only who takes an active part in the call may change it: " + _NOT_THE_USER
    ),
    "missing.permissions": _PERMISSION,
    "missing.any.permissions": _PERMISSION,
    "missing.division.permission": _PERMISSION + "; the role must cover the division of the call",
    "missing.any.division.permissions": _PERMISSION + "; the role must cover the division of the call",
    "not.authorized": _PERMISSION,
    "app.not.authorized.for.scope": "the OAuth client lacks the scope conversations",
    "authz.policy.denied": "a policy of the organization forbids it",
    "request.conflict": "another change was under way: read again, then decide",
    "conversation.participant.update.failed": "the platform failed to make the change; it may be asked again",
}
_CALL_OVER = frozenset(
    {
        "conversation.error.call.disconnected",
        "conversation.error.participant.no.active.conversations",
        "conversation.error.conversation.not.found",
        "conversation.error.not.conversation.participant",
        "conversation.error.wrapup.code.required",
        "conversation.error.wrapup.cannot.skip",
    }
)
_WRONG_USER = frozenset({"not.a.user", "conversation.error.user.not.party"})


_PERMISSIONS_MISSING = frozenset(code for code, meaning in MEANINGS.items() if meaning.startswith(_PERMISSION))


def explain(error: ApiError, *, needs: str | None = None) -> ApiError:
    """Make of a refusal the error of its kind, with what it means and what to do.

    Parameters
    ----------
    error : ApiError
        As the REST client raised it.
    needs : str, optional
        The permission that was needed, of a request other than a mute; ``""`` where none is documented.

    Returns
    -------
    ApiError
        `CallEnded`, `UserContextRequired` or `Forbidden`, or the error itself when its status says it all.
    """
    code = error.code or ""
    kind: type[ApiError]
    if code in _CALL_OVER or error.status == 404:
        kind = CallEnded
    elif code in _WRONG_USER:
        kind = UserContextRequired
    elif error.status == 403:
        kind = Forbidden
    else:
        kind = type(error)
    meaning = MEANINGS.get(code, _PERMISSION if kind is Forbidden else "")
    if needs is not None and (code in _PERMISSIONS_MISSING or (kind is Forbidden and code not in MEANINGS)):
        meaning = f"the token needs the permission {needs}" if needs else ""
    if not meaning and kind is type(error):
        return error
    return kind(
        f"{error}: {meaning}" if meaning else str(error),
        status=error.status,
        code=error.code,
        params=error.params,
        context_id=error.context_id,
        correlation_id=error.correlation_id,
        retry_after=error.retry_after,
    )
