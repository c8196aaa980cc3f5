"""Muting on the real platform: a PATCH of the agent's participant, confirmed by a notification or by reading."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import anyio
import anyio.abc
import msgspec

from ..backoff import delay
from ..clock import Clock
from ..config import ConversationsConfig, NotificationsConfig, ReconnectConfig
from ..dialects import conversations as dialect
from ..dialects.conversations import Conversation, Leg
from ..dialects.notifications import conversation_calls_topic, conversations_topic
from ..errors import (
    AmbiguousCall,
    ApiError,
    CallEnded,
    ConfigError,
    Conflict,
    Forbidden,
    GcmediaError,
    NoActiveCall,
    NotFound,
    RemoteProtocolError,
    StateError,
    TransportError,
)
from ..notifications import Gap, Notification, Notifications
from ..transport.api import ApiClient, api_path
from .strategy import CallState, Observation

__all__ = ["ConversationsStrategy"]

T = TypeVar("T")

_READS = ReconnectConfig(attempts=8, base_s=0.5, factor=2.0, cap_s=30.0)
_MAX_ENDED = 1000  # legs known to have ended; the oldest is forgotten beyond
_MAX_RETRY_AFTER_S = 180.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class ConversationsStrategy:
    """Mute one call of an agent over ``/api/v2/conversations``.

    Parameters
    ----------
    api : ApiClient
        The REST API of the region.
    profile : ConversationsConfig, optional
        Which endpoint, which call, and what confirms.
    user_id : str, optional
        The agent.  May be left out with ``endpoint="self"``, where the token tells.
    conversation_id : str, optional
        The call.  When left out, the agent's call is looked up: by analytics, or with ``endpoint="self"`` among the
        user's own calls.
    notifications : Notifications, optional
        A channel to share, entered; by default one is opened for the time of `run`.
    notifications_config : NotificationsConfig, optional
        For an own channel.
    clock, rng : Clock, random.Random, optional
        Sources of time and of the jitter.

    Attributes
    ----------
    leg : Leg or None
        The agent's part in the call as last seen; after a transfer away and back it is another.
    stale_events, duplicate_events : int
        Events that told of an earlier state than was known, and those that told nothing new.
    """

    name = "conversations"
    readable = True

    def __init__(
        self,
        api: ApiClient,
        profile: ConversationsConfig | None = None,
        *,
        user_id: str | None = None,
        conversation_id: str | None = None,
        notifications: Notifications | None = None,
        notifications_config: NotificationsConfig | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        profile = profile or ConversationsConfig()
        if not user_id and profile.endpoint != "self":
            raise ConfigError(f"user_id is needed with endpoint={profile.endpoint!r}: client credentials are no user")
        self.confirmed_by = profile.confirmed_by
        self.leg: Leg | None = None
        self.stale_events = 0
        self.duplicate_events = 0
        self._api = api
        self._user_id = user_id or ""
        self._given = bool(conversation_id)
        self._conversation_id = conversation_id or None
        self._profile = profile
        self._shared = notifications
        self._notifications: Notifications | None = None  # in use
        self._notifications_config = notifications_config
        self._clock = clock or Clock()
        self._rng = rng or random.Random()
        self._observe: Callable[[Observation], None] | None = None
        self._live = False  # events come
        self._seen_at = float("-inf")  # when the leg was last seen, in an event or an answer
        self._told: Leg | None = None  # the leg as events have it; nothing while some may be missing
        self._untold_since: float | None = None  # since when reading shows something else
        self._ended: dict[str, None] = {}
        self._events = 0  # about the call, taken in so far
        self._was_there = False  # the agent has had a part in the call

    # The contract

    async def run(self, observe: Callable[[Observation], None], ready: Callable[[], None]) -> None:
        """Find the call and hold what is needed until cancelled; see `MuteStrategy.run`.

        Raises
        ------
        NoActiveCall, AmbiguousCall
            If there is no one call to mute.
        Forbidden
            If the token may not have the events; ``confirmed_by="read"`` does without.
        ApiError, AuthError, TransportError
            If the platform cannot be asked.
        """
        if self._observe is not None:
            raise StateError("this strategy is running already")
        self._observe = observe
        try:
            await self._persistently(self._identify)
            if self.confirmed_by == "read":
                observe(await self._persistently(self.read))
                ready()
                await anyio.sleep_forever()
            async with AsyncExitStack() as stack:
                notifications = self._shared
                if notifications is None:
                    notifications = await stack.enter_async_context(
                        Notifications(self._api, config=self._notifications_config, clock=self._clock, rng=self._rng)
                    )
                await self._follow(notifications, ready)
        finally:
            self._observe = None
            self._live = False

    async def request(self, muted: bool) -> None:
        """Ask once; 202 is an acceptance, and no more.  See `MuteStrategy.request`.

        A call that has ended meanwhile is looked up once more, and so is a leg after a conflict.

        Raises
        ------
        CallEnded
            If the call, or the agent's part in it, is over.
        UserContextRequired, Forbidden
            If this token may not; the message says which would.
        NoActiveCall, AmbiguousCall
            If there is no one call to mute.
        """
        leg = self.leg
        fresh = self._live or self._clock.now() - self._seen_at <= self._profile.leg_max_age_s
        located = leg is None or leg.ended or not fresh
        if located:
            leg = await self._locate(look_up=True)
        if leg is None:
            raise self._nobody()
        refusal = await self._patch(leg, muted)
        if isinstance(refusal, Conflict) or (isinstance(refusal, CallEnded) and not located):
            again = await self._locate(look_up=True)
            if again is not None and isinstance(refusal, Conflict) and again.muted == muted:
                return  # what the other change was about
            if again is not None and not again.ended and (isinstance(refusal, Conflict) or again != leg):
                refusal = await self._patch(again, muted)
        if refusal is not None:
            raise refusal

    async def read(self) -> Observation:
        """Ask how the leg stands; see `MuteStrategy.read`."""
        leg = await self._locate()
        self._compare(leg)
        if leg is None and self._was_there:
            return Observation(CallState.DISCONNECTED, None, "read")
        return _observation(leg, "read")

    def _compare(self, leg: Leg | None) -> None:
        """Hold what was read against what events have told: a channel may live and tell nothing."""
        if not self._live or leg is None:
            return
        if self._told is None:
            self._told = leg  # to begin with
        elif leg.shows_as(self._told):
            self._untold_since = None
        elif self._untold_since is None:
            self._untold_since = self._clock.now()
        elif (
            self._clock.now() - self._untold_since >= self._profile.starved_after_s and self._notifications is not None
        ):
            self._untold_since = None
            self._told = leg
            self._notifications.missed()

    # Finding the leg

    async def _identify(self) -> str:
        """The user whose token it is, where none was named."""
        if not self._user_id:
            user = _decode(msgspec.json.decode, await self._get(api_path("users", "me")))
            user_id = user.get("id") if isinstance(user, dict) else None
            if not isinstance(user_id, str) or not user_id:
                raise RemoteProtocolError("the answer to GET /api/v2/users/me names no user")
            self._user_id = user_id
        return self._user_id

    async def _locate(self, *, look_up: bool = False) -> Leg | None:
        """Read the call and choose the leg; with ``look_up`` find the user's next call if this one is over."""
        await self._identify()
        events = self._events
        leg = None
        if self._conversation_id is not None:
            leg = await self._read_leg(self._conversation_id)
        if self._conversation_id is None or (look_up and not self._given and (leg is None or leg.ended)):
            found = await self._look_up()
            if found is not None and found != self._conversation_id:
                self._conversation_id = found
                leg = await self._read_leg(found)
        if events == self._events:  # else the event is the newer of the two, or as good
            self.leg, self._seen_at = leg, self._clock.now()
        self._was_there = self._was_there or leg is not None
        return leg

    async def _read_leg(self, conversation_id: str) -> Leg | None:
        flat, events = self._profile.shape == "flat", self._events
        where = ("conversations", "calls") if flat else ("conversations",)
        needs = "" if flat else "conversation:communication:view"
        try:
            answer = await self._get(api_path(*where, conversation_id), needs)
        except NotFound:
            return None
        conversation = _decode(dialect.read_conversation, answer)
        self._remember(conversation, forget=events == self._events)
        return dialect.choose_leg(conversation, self._user_id, observers=self._profile.observers)

    async def _look_up(self) -> str | None:
        """The conversation in which the user has a call now; None when there is none and one was known before."""
        if self._profile.endpoint == "self":
            busy = dialect.busy_with_calls(
                _decode(dialect.read_page, await self._get(dialect.own_calls_path())),
                self._user_id,
                observers=self._profile.observers,
            )
        else:
            status = await self._get(dialect.status_path(self._user_id), "analytics:agentState:view")
            busy = dialect.busy_with_sessions(_decode(dialect.read_agent_status, status))
        names = list(busy.calls)
        if len(names) > 1 and self._profile.policy == "connected" and len(busy.connected) == 1:
            names = list(busy.connected)
        if len(names) > 1 and self._profile.policy != "newest":
            raise AmbiguousCall(
                f"user {self._user_id} is in {len(names)} calls ({', '.join(names[:5])}): name one by conversation_id,"
                " or choose policy='newest' or 'connected'"
            )
        seen = busy.media
        if not names and self._conversation_id is None:
            raise self._nobody(seen)
        return names[0] if names else None

    def _nobody(self, seen: tuple[str, ...] = ()) -> NoActiveCall:
        if self._conversation_id is not None:
            return NoActiveCall(f"user {self._user_id} has no part in conversation {self._conversation_id}")
        busy = f"; there is: {', '.join(seen)}" if seen else ""
        return NoActiveCall(f"user {self._user_id} is in no call{busy}")

    async def _get(self, path: str, needs: str = "") -> bytes:
        try:
            return (await self._api.request("GET", path)).body
        except NotFound:
            raise
        except ApiError as error:
            problem = dialect.explain(error, needs=needs)
        raise problem

    async def _patch(self, leg: Leg, muted: bool) -> ApiError | None:
        """Ask; returns the refusal with what it means, None when there is none."""
        path, body = dialect.mute_request(self._profile.endpoint, leg, self._user_id, muted)
        try:
            await self._api.request("PATCH", path, body)
        except ApiError as error:
            return dialect.explain(error)
        return None

    async def _persistently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer, or an error that waiting does not mend, or enough of it."""
        attempts = 0
        while True:
            try:
                return await ask()
            except (TransportError, ApiError) as error:
                problem: GcmediaError = error
            asked = getattr(problem, "retry_after", None)
            may_pass = isinstance(problem, TransportError) or getattr(problem, "status", 0) in _TRANSIENT
            if not may_pass or attempts >= _READS.attempts or (asked or 0.0) > _MAX_RETRY_AFTER_S:
                raise problem
            await self._clock.sleep(delay(_READS, attempts, self._rng, asked))
            attempts += 1

    # Events

    async def _follow(self, notifications: Notifications, ready: Callable[[], None]) -> None:
        topic = (conversation_calls_topic if self._profile.shape == "flat" else conversations_topic)(self._user_id)
        (state,) = await self._persistently(lambda: notifications.add(topic))
        stream = notifications.listen(topic)
        try:
            if not state.permitted:
                raise _no_events(state.reason)
            self._live = notifications.connected
            self._notifications = notifications
            observation = await self._persistently(self.read)
            self._tell(observation)
            ready()
            async for item in stream:
                if isinstance(item, Gap):
                    self._bridge(item.cause, notifications, topic)
                elif isinstance(item, Notification) and isinstance(item.body, Conversation):
                    self._take(item.body)
            raise StateError("the notification channel was left while a mute still needed it")
        finally:
            self._notifications = None
            stream.close()
            if self._shared is not None:
                await notifications.release(topic)

    def _bridge(self, cause: str, notifications: Notifications, topic: str) -> None:
        """Take note that events may be missing."""
        if cause == "refused":
            raise _no_events(notifications.rejected[topic].reason)
        heard, self._live = self._live, notifications.connected and cause not in ("lost", "taken")
        if cause != "resync" or not heard:  # a resync alone is a reminder to compare, as every read does
            self._told = self._untold_since = None
            self._tell(Observation(CallState.UNKNOWN, None, "lost"))

    def _take(self, conversation: Conversation) -> None:
        """Take an event in: a full snapshot of a conversation of this user, maybe of another one."""
        if conversation.id != self._conversation_id:
            return
        if self._older(conversation):
            self.stale_events += 1
            return
        self._events += 1
        self._remember(conversation, forget=False)
        leg = dialect.choose_leg(conversation, self._user_id, observers=self._profile.observers)
        self.leg, self._seen_at = leg, self._clock.now()
        before, self._told, self._untold_since = self._told, leg, None
        if leg is not None and before is not None and leg.shows_as(before):
            self.duplicate_events += 1
            return
        self._tell(_observation(leg, "event"))

    def _older(self, conversation: Conversation) -> bool:
        """Whether a snapshot is of before what is known: somebody who left is back, or we have not come yet."""
        ids = {participant.id for participant in conversation.participants or []}
        if self.leg is not None and self.leg.participant_id not in ids:
            return True
        return any(name in self._ended and not over for name, over in dialect.endings(conversation))

    def _remember(self, conversation: Conversation, *, forget: bool) -> None:
        if forget:
            self._ended.clear()
        self._ended.update((name, None) for name, over in dialect.endings(conversation) if over)
        while len(self._ended) > _MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def _tell(self, observation: Observation) -> None:
        if self._observe is not None:
            self._observe(observation)


def _observation(leg: Leg | None, source: str) -> Observation:
    if leg is None:
        return Observation(CallState.IDLE, None, source)
    return Observation(CallState(dialect.call_state(leg.state)), leg.muted, source)


def _no_events(reason: str) -> Forbidden:
    return Forbidden(
        f"the platform does not let this token have the events of the agent's conversations: {reason};"
        " confirmed_by='read' does without them",
        status=403,
        code="notification.unauthorized.topic",
    )


def _decode(read: Callable[[bytes], T], body: bytes) -> T:
    try:
        return read(body)
    except msgspec.DecodeError as error:
        problem = str(error)
    raise RemoteProtocolError(f"a conversation cannot be read: {problem}")
