"""Interactive sessions: search, change and verification over REST (rows 002-*)."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import httpx
import pytest

from gcmedia.auth import BearerAuth, StaticToken
from gcmedia.clock import Clock
from gcmedia.config import InteractiveSessionsConfig, MuteConfig
from gcmedia.dialects.interactive_sessions import (
    SEARCH_PATH,
    Session,
    choose,
    mute_body,
    read_search,
    read_session,
    search_body,
)
from gcmedia.errors import (
    AmbiguousCall,
    AuthError,
    CallEnded,
    ConfigError,
    Forbidden,
    MuteError,
    NoActiveCall,
    RemoteProtocolError,
)
from gcmedia.mute import CallState, InteractiveSessions, MuteControl, MuteState, MuteStatus, organization_region
from gcmedia.simulator import MuteFaults
from gcmedia.transport.api import ApiClient
from tests.mute.conftest import AGENT, CloudMaker, agent_leg, until

pytestmark = pytest.mark.anyio

QUICK = MuteConfig(coalesce_s=0.0, min_interval_s=0.0, read_interval_s=0.0, base_s=0.02, jitter_low=1.0, attempts=4)


# The dialect


def test_002_11_the_search_is_as_printed_but_shows_a_second_session() -> None:
    assert search_body("u-1") == {
        "pageSize": 2,
        "query": {
            "type": "and",
            "clauses": [
                {"type": "eq", "field": "userId", "values": ["u-1"]},
                {"type": "eq", "field": "type", "values": ["voice"]},
                {"type": "eq", "field": "status", "values": ["active"]},
            ],
        },
    }
    with pytest.raises(ConfigError, match="a second session is hidden"):
        search_body("u-1", 1)


def test_002_15_the_change_is_this_field_alone() -> None:
    assert json.dumps(mute_body(True)) == '{"muted": true}'


def test_002_18_a_missing_field_is_unknown_and_no_session_without_an_id() -> None:
    assert read_session({"id": "s"}) == Session("s", None, None, None, None, None, None)
    assert read_session({"id": "s", "muted": "yes"}).muted is None
    bodies: list[Any] = [None, [], {}, {"id": ""}, {"id": 7}, "s"]
    for body in bodies:
        with pytest.raises(RemoteProtocolError):
            read_session(body)
    assert read_search({}) == []
    answers: list[Any] = [None, [], {"entities": {}}, {"entities": [7]}]
    for answer in answers:
        with pytest.raises(RemoteProtocolError):
            read_search(answer)


def found(name: str, **fields: Any) -> Session:
    return read_session({"id": name, "userId": AGENT, "type": "voice", "status": "active"} | fields)


def test_002_12_hits_that_are_not_what_was_searched_for_are_passed_over() -> None:
    hits = [found("a", status="ended"), found("b", userId="another"), found("c", type="chat"), found("d")]
    assert choose(hits, AGENT).id == "d"


def test_002_26_no_session_says_what_was_seen() -> None:
    with pytest.raises(
        NoActiveCall, match=rf"No active voice session found for user {AGENT}; seen were chat \(active\)"
    ):
        choose([found("c", type="chat")], AGENT)


def test_002_12_several_sessions_are_an_error_unless_a_policy_tells_which() -> None:
    old = found("old", startTime="2026-01-01T10:00:00Z", state="ringing")
    new = found("new", startTime="2026-01-01T11:00:00Z", state="connected")
    with pytest.raises(AmbiguousCall, match="old, new"):
        choose([old, new], AGENT)
    assert choose([new, old], AGENT, "newest").id == "new"
    assert choose([old, new], AGENT, "connected").id == "new"
    with pytest.raises(AmbiguousCall, match="'newest' does not tell"):
        choose([found("x"), found("y")], AGENT, "newest")
    with pytest.raises(AmbiguousCall, match="'connected' does not tell"):
        choose([found("x", state="connected"), found("y", state="connected")], AGENT, "connected")


def test_002_04_the_organisation_is_one_label_of_a_host_name() -> None:
    region = organization_region("MyOrg")
    assert region.api_url == "https://myorg.mygen.com"
    assert region.token_url == "https://myorg.mygen.com/oauth/token"
    for name in ("evil.example/", "a.b", "", "-a", "a#", "a@b", "x" * 64):
        with pytest.raises(ConfigError, match="label"):
            organization_region(name)


@pytest.mark.parametrize(
    "setting", [{"session_id": ""}, {"policy": "oldest"}, {"page_size": 1}, {"search_method": "PUT"}]
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        InteractiveSessionsConfig(**setting)


# Muting


async def test_002_01_002_16_mute_and_unmute_confirmed_by_reading(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(effect_delay_s=(0.02, 0.3))) as place:
        async with MuteControl(InteractiveSessions(place.api, AGENT), QUICK) as control:
            for muted in (True, False, True):
                result = await control.set_muted(muted)
                assert result.status is MuteStatus.CONFIRMED
                assert place.muted is muted  # 002-17: the agent's own side
                assert 0.0 < result.latency_s < 5.0  # 002-19: measured
            assert control.state == MuteState(CallState.CONNECTED, True, None, True)
        statuses = {one.status for one in place.simulator.journal.requests if one.method == "PATCH"}
        assert statuses <= {200, 204}


async def test_002_18_what_is_so_already_is_not_sent(cloud: CloudMaker) -> None:
    async with cloud(agent_leg(muted=True)) as place:
        async with MuteControl(InteractiveSessions(place.api, AGENT), QUICK) as control:
            assert (await control.mute()).status is MuteStatus.ALREADY
        assert not place.leg.asked


async def test_000_32_a_supervisors_change_is_seen_by_reading_again(cloud: CloudMaker) -> None:
    config = MuteConfig(coalesce_s=0.0, resync_s=0.1)
    async with cloud() as place, MuteControl(InteractiveSessions(place.api, AGENT), config) as control:
        assert (await control.mute()).ok
        place.supervise(False)
        await until(lambda: control.state.confirmed is False)


async def test_002_12_ambiguity_is_told_and_a_policy_resolves_it(cloud: CloudMaker) -> None:
    legs = agent_leg("old", started_at=1e9), agent_leg("new", started_at=2e9)
    async with cloud(*legs) as place:
        async with MuteControl(InteractiveSessions(place.api, AGENT), QUICK) as control:
            with pytest.raises(AmbiguousCall, match="old, new"):
                await control.mute()
        newest = InteractiveSessions(place.api, AGENT, InteractiveSessionsConfig(policy="newest"))
        async with MuteControl(newest, QUICK) as control:
            assert (await control.mute()).ok
        named = InteractiveSessions(place.api, "", InteractiveSessionsConfig(session_id="old"))
        async with MuteControl(named, QUICK) as control:
            assert (await control.unmute()).status is MuteStatus.ALREADY
        now = place.simulator.agents.now()
        assert [leg.read(now).muted for leg in legs] == [False, True]


async def test_002_12_002_26_no_call_is_no_active_call(cloud: CloudMaker) -> None:
    async with cloud(agent_leg(media_type="chat")) as place:
        way = InteractiveSessions(place.api, AGENT)
        async with MuteControl(way, QUICK) as control:
            with pytest.raises(NoActiveCall, match="No active voice session"):
                await control.mute()
            assert control.state.call_state is CallState.IDLE


async def test_002_09_002_20_002_21_a_session_that_has_gone_is_looked_up_once_more(cloud: CloudMaker) -> None:
    before, after = agent_leg("before"), agent_leg("after", state="idle")
    async with cloud(before) as place:
        way = InteractiveSessions(place.api, AGENT, InteractiveSessionsConfig(lookup_ttl_s=60.0))
        assert (await way.read()).state is CallState.CONNECTED
        place.move("disconnected")
        after.move("connected", 0.0)
        place.simulator.agents.legs.append(after)
        await way.request(True)
        assert after.read(place.simulator.agents.now()).muted
        after.move("disconnected", place.simulator.agents.now())
        with pytest.raises(CallEnded, match="after not found or ended"):
            await way.request(False)
        with pytest.raises(NoActiveCall):
            await way.read()


class HandClock(Clock):
    """A clock that is moved by hand."""

    time = 0.0

    def now(self) -> float:
        return self.time


async def test_002_21_a_session_is_looked_up_anew_when_it_is_older_than_two_seconds(cloud: CloudMaker) -> None:
    async with cloud() as place:

        def searches() -> int:
            return len([one for one in place.simulator.journal.requests if one.path == SEARCH_PATH])

        clock = HandClock()
        way = InteractiveSessions(place.api, AGENT, clock=clock)
        for at, expected in ((0.0, 1), (1.9, 1), (2.1, 2), (4.0, 2), (4.2, 3)):
            clock.time = at
            await way.read()
            assert searches() == expected


async def test_002_10_the_search_is_a_post_and_a_get_where_the_profile_says_so(cloud: CloudMaker) -> None:
    for method in ("POST", "GET"):
        async with cloud() as place:
            way = InteractiveSessions(place.api, AGENT, InteractiveSessionsConfig(search_method=method))
            async with MuteControl(way, QUICK) as control:
                assert (await control.mute()).ok
            used = {one.method for one in place.simulator.journal.requests if one.path == SEARCH_PATH}
        assert used == {method}
    assert InteractiveSessionsConfig().search_method == "POST"


async def test_002_17_the_other_party_is_muted_by_the_session_of_its_own(cloud: CloudMaker) -> None:
    agent, customer = agent_leg("agent-side"), agent_leg("customer-side", user_id="customer")
    async with cloud(agent, customer) as place:
        way = InteractiveSessions(place.api, "", InteractiveSessionsConfig(session_id="customer-side"))
        async with MuteControl(way, QUICK) as control:
            assert (await control.mute()).status is MuteStatus.CONFIRMED
        now = place.simulator.agents.now()
        assert [leg.read(now).muted for leg in (agent, customer)] == [False, True]
        async with MuteControl(InteractiveSessions(place.api, AGENT), QUICK) as control:
            assert (await control.mute()).status is MuteStatus.CONFIRMED  # the agent's was another
            assert (await control.unmute()).status is MuteStatus.CONFIRMED
        assert customer.read(place.simulator.agents.now()).muted


async def test_002_20_the_end_of_the_call_is_a_result(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(effect_loss=1.0)) as place:
        way = InteractiveSessions(place.api, AGENT)
        async with MuteControl(way, QUICK) as control, anyio.create_task_group() as tasks:

            async def hang_up() -> None:
                await until(lambda: bool(place.leg.asked))
                place.move("disconnected")

            tasks.start_soon(hang_up)
            result = await control.mute()
        assert result.status is MuteStatus.CALL_ENDED
        with pytest.raises(MuteError):
            result.check()


async def test_002_24_three_refusals_are_waited_out_with_1_2_4_units(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(failed=1.0)) as place:
        way = InteractiveSessions(place.api, AGENT)
        waits: list[float] = []
        async with MuteControl(way, QUICK) as control:
            control.subscribe(lambda event: waits.append(event.wait_s) if event.kind == "retry" else None)
            with pytest.raises(MuteError, match="gave up after 4 failed attempts") as caught:
                await control.mute()
        assert waits == pytest.approx([0.02, 0.04, 0.08])
        assert getattr(caught.value.__cause__, "status", None) == 503


async def test_000_36_a_policys_refusal_carries_its_code(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(denies=(True,))) as place:
        async with MuteControl(InteractiveSessions(place.api, AGENT), QUICK) as control:
            result = await control.mute()
        assert result.status is MuteStatus.REJECTED
        assert isinstance(result.error, Forbidden)
        assert result.error.code == "authz.policy.denied"
        assert result.error.context_id
        assert len(place.leg.asked) == 1


async def test_000_09_002_13_002_14_002_25_401_and_403_are_told_apart(cloud: CloudMaker) -> None:
    async with cloud() as place:
        async with ApiClient(place.simulator.base_url, BearerAuth(StaticToken("made-up"))) as api:
            way = InteractiveSessions(api, AGENT)
            async with MuteControl(way, QUICK) as control:
                with pytest.raises(AuthError) as caught:
                    await control.mute()
        assert caught.value.status == 401


async def test_000_35_a_revoked_token_is_renewed_within_the_request(cloud: CloudMaker) -> None:
    async with cloud() as place:
        async with MuteControl(InteractiveSessions(place.api, AGENT), QUICK) as control:
            await control.refresh()
            place.simulator.revoke_tokens()
            result = await control.mute()
        assert (result.status, result.attempts) == (MuteStatus.CONFIRMED, 1)
        assert place.simulator.journal.token_requests == 2


async def test_002_15_002_28_ids_are_opaque_and_encoded_into_the_path(cloud: CloudMaker) -> None:
    async with cloud(agent_leg("a b%c")) as place:
        async with MuteControl(InteractiveSessions(place.api, AGENT), QUICK) as control:
            assert (await control.mute()).ok
        assert place.muted


async def test_000_17_a_state_that_is_not_known_is_unknown_and_no_error() -> None:
    answers = {"id": "s", "muted": False, "state": "parked"}, {"id": "s", "status": "ended"}, {"id": "s"}

    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=left.pop(0))

    profile = InteractiveSessionsConfig(session_id="s")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        api = ApiClient("http://127.0.0.1", BearerAuth(StaticToken("t")), client=client)
        way = InteractiveSessions(api, "", profile)
        states = [(await way.read()).state for _ in answers]
    assert states == [CallState.UNKNOWN, CallState.DISCONNECTED, CallState.UNKNOWN]


async def test_002_05_no_token_is_in_an_error_or_log(cloud: CloudMaker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "canary-" + "7a8b" * 8
    async with cloud() as place, ApiClient(place.simulator.base_url, BearerAuth(StaticToken(canary))) as api:
        way = InteractiveSessions(api, AGENT)
        async with MuteControl(way, QUICK) as control:
            with pytest.raises(AuthError) as caught:
                await control.mute()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("gcmedia")]
    assert canary not in str(caught.value) + repr(caught.value) + "\n".join(ours)


# The published client


async def test_002_10_002_16_the_published_client_works_on_the_simulator(cloud: CloudMaker) -> None:
    """Request for request what the tutorial's Python code sends: a form for the token, POST, PATCH, GET."""
    async with cloud() as place, httpx.AsyncClient(verify=False, trust_env=False) as client:
        base = place.simulator.base_url
        form = {
            "grant_type": "client_credentials",
            "client_id": place.simulator.client_id,
            "client_secret": place.simulator.client_secret,
            "scope": "session:write session:read",
        }
        token = (await client.post(f"{base}/oauth/token", data=form)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        query = search_body(AGENT) | {"pageSize": 1}
        answer = await client.post(f"{base}{SEARCH_PATH}", headers=headers, json=query)
        answer.raise_for_status()
        session = answer.json()["entities"][0]["id"]
        url = f"{base}/api/v2/interactive/sessions/{session}"
        answer = await client.patch(url, headers=headers, json={"muted": True})
        answer.raise_for_status()
        assert (await client.get(url, headers=headers)).json()["muted"] is True
        nobody = search_body("nobody") | {"pageSize": 1}
        assert (await client.post(f"{base}{SEARCH_PATH}", headers=headers, json=nobody)).json()["entities"] == []
        assert (
            await client.patch(f"{base}/api/v2/interactive/sessions/x", headers=headers, json={})
        ).status_code == 400
        gone = await client.get(f"{base}/api/v2/interactive/sessions/x", headers=headers)
        assert (gone.status_code, gone.json()["code"]) == (404, "not.found")
        odd = await client.post(f"{base}{SEARCH_PATH}", headers=headers, json={"query": {"type": "or"}})
        assert odd.status_code == 400
