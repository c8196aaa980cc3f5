"""Conversations of the platform, read: whose leg it is, how it stands, and what refusals mean."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import ApiError, CallEnded, ConfigError, Conflict, Forbidden, UserContextRequired
from gcmedia.dialects import conversations as dialect
from gcmedia.dialects.conversations import Conversation, Leg, choose_leg, explain, mute_request


def read(*participants: dict[str, Any]) -> Conversation:
    return dialect.read_conversation(json.dumps({"id": "c", "participants": participants}).encode())


def flat(name: str, state: str, start: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": name, "purpose": "agent", "user": {"id": "u"}, "state": state, "startTime": start, **more}


def chosen(*participants: dict[str, Any], observers: bool = False) -> str | None:
    leg = choose_leg(read(*participants), "u", observers=observers)
    return None if leg is None else leg.participant_id


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("none", "idle"),
        ("contacting", "connecting"),
        ("dialing", "connecting"),
        ("offering", "connecting"),
        ("alerting", "ringing"),
        ("connected", "connected"),
        ("CONNECTED", "connected"),
        ("parked", "connected"),
        ("disconnected", "disconnected"),
        ("terminated", "disconnected"),
        ("converting", "unknown"),
        ("uploading", "unknown"),
        ("transmitting", "unknown"),
        ("scheduled", "unknown"),
        ("brand-new", "unknown"),
        (None, "unknown"),
    ],
)
def test_each_state_of_the_platform_has_its_place(state: str | None, expected: str) -> None:  # 000-17, 000-18
    assert dialect.call_state(state) == expected


def test_the_newest_connected_leg_is_the_one_after_a_transfer_away_and_back() -> None:
    assert (
        chosen(
            flat("first", "terminated", "2026-11-20T10:00:00.000Z"),
            flat("back", "connected", "2026-11-20T10:05:00.000Z"),
            flat("consult", "alerting", "2026-11-20T10:06:00.000Z"),
        )
        == "back"
    )
    assert chosen(flat("new", "connected", "2026-11-20T10:05:00Z"), flat("old", "connected", "2026-11-20T10:00:00Z"))
    assert chosen(flat("ended", "disconnected"), flat("rings", "alerting"), flat("over", "terminated")) == "rings"
    assert chosen(flat("a", "terminated"), flat("b", "disconnected")) == "b"
    assert chosen() is None


def test_voicemail_and_other_users_are_never_the_one() -> None:
    assert chosen(flat("vm", "connected", purpose="voicemail")) is None
    assert chosen({"id": "x", "user": {"id": "other"}, "state": "connected"}) is None
    assert chosen({"id": "x", "purpose": "customer", "state": "connected"}) is None
    assert chosen(flat("direct", "connected", purpose="user")) == "direct"


@pytest.mark.parametrize("field", ["monitoredParticipantId", "coachedParticipantId", "bargedParticipantId"])
def test_who_observes_is_left_out_unless_asked_for(field: str) -> None:
    observer = flat("observer", "connected", "2026-11-20T11:00:00Z", **{field: "x"})
    own = flat("own", "connected", "2026-11-20T10:00:00Z")
    assert chosen(own, observer) == "own"
    assert chosen(observer) is None
    assert chosen(own, observer, observers=True) == "observer"


def nested(*calls: dict[str, Any]) -> Leg:
    leg = choose_leg(read({"id": "p", "userId": "u", "state": "connected", "calls": list(calls)}), "u")
    assert leg is not None
    return leg


def test_within_a_participant_the_only_call_that_lives_counts() -> None:
    over, alive = {"id": "1", "state": "terminated", "muted": True}, {"id": "2", "state": "connected", "muted": False}
    assert nested(over).communication_id == "1"
    assert nested(over).ended
    assert nested(over, alive, over).communication_id == "2"
    assert nested(alive, {"id": "3", "state": "connected", "muted": True}).communication_id == "3"
    assert nested({"id": "4", "state": "disconnected"}, over).communication_id == "1"
    assert nested(alive).muted is False
    assert nested({"id": "5", "state": "connected"}).muted is None  # 002-18


MOMENTS = [None, "garbage", "2026-11-20T10:00:00.000Z", "2026-11-20T10:00:01.000Z", "2026-11-20T10:00:02.000+00:00"]
participants = st.fixed_dictionaries(
    {
        "userId": st.sampled_from(["u", "u", "u", "v"]),
        "purpose": st.sampled_from(["agent", "user", "voicemail"]),
        "state": st.sampled_from(["connected", "alerting", "terminated", "disconnected", "parked", "dialing"]),
        "startTime": st.sampled_from(MOMENTS),
        "connectedTime": st.sampled_from(MOMENTS),
        "monitoredParticipantId": st.sampled_from([None, None, "x"]),
    }
)


@settings(max_examples=400, deadline=None)
@given(drawn=st.lists(participants, max_size=6))
def test_the_leg_is_that_of_an_obvious_oracle(drawn: list[dict[str, Any]]) -> None:
    numbered = [{**one, "id": str(number)} for number, one in enumerate(drawn)]

    def age(one: dict[str, Any]) -> tuple[int, int]:
        known = [MOMENTS.index(one[name]) for name in ("startTime", "connectedTime") if MOMENTS.index(one[name]) > 1]
        return (known[0] if known else 0, int(one["id"]))

    own = [
        one
        for one in numbered
        if one["userId"] == "u" and one["purpose"] != "voicemail" and one["monitoredParticipantId"] is None
    ]
    connected = [one for one in own if one["state"] in ("connected", "parked")]
    alive = [one for one in own if one["state"] not in ("terminated", "disconnected")]
    candidates = connected or alive or own
    expected = max(candidates, key=age)["id"] if candidates else None
    assert chosen(*numbered) == expected


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("on_behalf", "/api/v2/conversations/calls/c%2F1/participants/p%20q/user/u%3F"),
        ("self", "/api/v2/conversations/calls/c%2F1/participants/p%20q"),
        ("generic", "/api/v2/conversations/c%2F1/participants/p%20q"),
    ],
)
def test_the_request_names_only_what_is_to_change(endpoint: str, path: str) -> None:  # 002-15
    leg = Leg("c/1", "p q", "m", "agent", "connected", False, False, False)
    assert mute_request(endpoint, leg, "u?", True) == (path, {"muted": True})
    assert mute_request(endpoint, leg, "u?", False) == (path, {"muted": False})


def test_an_unknown_endpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match="on_behalf, self, generic"):
        mute_request("tutorial", Leg("c", "p", "", "", "", None, None, None), "u", True)


#: Every code that the platform documents for the three endpoints, and what it is taken for.
DOCUMENTED: list[tuple[int, str, type[ApiError]]] = [
    (400, "not.a.user", UserContextRequired),
    (400, "conversation.error.user.not.party", UserContextRequired),
    (400, "conversation.error.call.disconnected", CallEnded),
    (400, "conversation.error.participant.no.active.conversations", CallEnded),
    (400, "conversation.error.wrapup.code.required", CallEnded),
    (400, "conversation.error.wrapup.cannot.skip", CallEnded),
    (400, "conversation.error.hold.alerting", ApiError),
    (400, "conversation.error.cannot.create.conference", ApiError),
    (400, "conversation.error.cannot.confine.party", ApiError),
    (400, "conversation.participant.update.invalid", ApiError),
    (400, "callback.error.answer.not.alerting", ApiError),
    (400, "communication.state.required", ApiError),
    (403, "conversation.error.forbidden.not.active.participant", Forbidden),
    (403, "missing.permissions", Forbidden),
    (403, "missing.any.permissions", Forbidden),
    (403, "missing.division.permission", Forbidden),
    (403, "missing.any.division.permissions", Forbidden),
    (403, "not.authorized", Forbidden),
    (403, "app.not.authorized.for.scope", Forbidden),
    (403, "authz.policy.denied", Forbidden),
    (404, "conversation.error.conversation.not.found", CallEnded),
    (404, "conversation.error.not.conversation.participant", CallEnded),
    (404, "not.found", CallEnded),
    (409, "request.conflict", Conflict),
    (500, "conversation.participant.update.failed", ApiError),
]


@pytest.mark.parametrize(("status", "code", "kind"), DOCUMENTED, ids=[code for _, code, _ in DOCUMENTED])
def test_each_documented_code_says_what_it_means(status: int, code: str, kind: type[ApiError]) -> None:  # 002-13
    base = {403: Forbidden, 409: Conflict}.get(status, ApiError)
    error = base("asked and refused", status=status, code=code, params={"p": "x"}, context_id="c", correlation_id="i")
    explained = explain(error)
    assert type(explained) is kind
    assert str(explained) == f"asked and refused: {dialect.MEANINGS[code]}"
    assert (explained.status, explained.code, explained.params) == (status, code, {"p": "x"})
    assert (explained.context_id, explained.correlation_id) == ("c", "i")


def test_the_wrong_kind_of_token_is_told_which_would_do() -> None:  # 000-11
    assert "endpoint='on_behalf'" in str(explain(ApiError("x", status=400, code="not.a.user")))
    refused = explain(ApiError("x", status=400, code="conversation.error.user.not.party"))
    assert "the agent's own token" in str(refused)
    assert "conversation:participant:wrapup" in str(explain(Forbidden("x", status=403, code="something.new")))


def test_an_error_that_says_enough_is_left_as_it_is() -> None:
    error = ApiError("unavailable", status=503, code="service.unavailable", retry_after=2.0)
    assert explain(error) is error


def test_analytics_tells_the_calls_of_an_agent() -> None:  # 002-12, 002-26
    sessions = [
        {"conversationId": "old", "mediaType": "voice", "segmentType": "hold", "sessionStart": "2026-11-20T10:00:00Z"},
        {"conversationId": "new", "mediaType": "Voice", "segmentType": "alert", "sessionStart": "2026-11-20T11:00:00Z"},
        {"conversationId": "over", "mediaType": "voice", "segmentType": "wrapup"},
        {"conversationId": "chat", "mediaType": "message", "segmentType": "interact"},
        {"mediaType": "voice"},
    ]
    busy = dialect.busy_with_sessions(dialect.read_agent_status(json.dumps({"sessions": sessions}).encode()))
    assert busy.calls == ("new", "old")
    assert busy.connected == ("old",)
    assert busy.media == ("message", "voice")
    assert dialect.busy_with_sessions(dialect.read_agent_status(b"{}")).calls == ()


def test_what_is_no_conversation_is_an_error_without_its_content() -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        dialect.read_conversation(b'{"id": "c", "participants": [{"state": ["CANARY"]}]}')
    assert "CANARY" not in str(caught.value)
