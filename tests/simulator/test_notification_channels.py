"""The simulated notification service, seen through httpx and a plain WebSocket client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from gcmedia import ConfigError, ConnectionLost, HandshakeError
from gcmedia.simulator import AgentLeg, ApiFaults, Simulator
from gcmedia.transport.websocket import connect

pytestmark = pytest.mark.anyio

CHANNELS = "/api/v2/notifications/channels"


@asynccontextmanager
async def service(
    user: str | None = None, *, speed: float = 1.0, **settings: Any
) -> AsyncIterator[tuple[Simulator, httpx.AsyncClient]]:
    async with Simulator(speed=speed, **settings) as sim:
        if user is None:
            async with httpx.AsyncClient(trust_env=False) as client:
                form = {"grant_type": "client_credentials"}
                answer = await client.post(sim.token_url, data=form, auth=(sim.client_id, sim.client_secret))
            token = answer.json()["access_token"]
        else:
            token = sim.user_token(user)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=sim.base_url, headers=headers, trust_env=False) as client:
            yield sim, client


async def subscribe(
    client: httpx.AsyncClient, channel: str, *topics: str, method: str = "POST", ignore: bool = False
) -> httpx.Response:
    query = {"ignoreErrors": "true"} if ignore else {}
    body = [{"id": topic} for topic in topics]
    return await client.request(method, f"{CHANNELS}/{channel}/subscriptions", json=body, params=query)


async def make(client: httpx.AsyncClient) -> dict[str, str]:
    answer = await client.post(CHANNELS)
    assert answer.status_code == 200
    channel: dict[str, str] = answer.json()
    assert set(channel) == {"id", "connectUri", "expires"}
    return channel


async def test_subscriptions_are_added_replaced_listed_and_cleared() -> None:
    async with service() as (_, client):
        channel = (await make(client))["id"]

        async def topics() -> list[str]:
            answer = await client.get(f"{CHANNELS}/{channel}/subscriptions")
            return [entity["id"] for entity in answer.json()["entities"]]

        await subscribe(client, channel, "a", "b")
        await subscribe(client, channel, "c")
        assert await topics() == ["a", "b", "c"]
        await subscribe(client, channel, "d", method="PUT")
        assert await topics() == ["d"]
        assert (await client.delete(f"{CHANNELS}/{channel}/subscriptions")).status_code == 204
        assert await topics() == []
        assert (await client.head(f"{CHANNELS}/{channel}")).status_code == 200
        assert (await client.head(f"{CHANNELS}/other")).status_code == 404
        assert (await subscribe(client, "other", "a")).json()["code"] == "entity.not.found"
        listed = (await client.get(CHANNELS)).json()["entities"]
        assert [one["id"] for one in listed] == [channel]


@pytest.mark.parametrize(
    ("topics", "status", "code"),
    [
        pytest.param(["x" * 201], 400, "notification.invalid.topic", id="long"),
        pytest.param([""], 400, "notification.invalid.topic", id="empty"),
        pytest.param(["v2.system.socket_closing"], 400, "notification.invalid.topic", id="system"),
        pytest.param(["channel.metadata"], 400, "notification.invalid.topic", id="metadata"),
        pytest.param(
            [f"t{n}" for n in range(1001)], 400, "notification.subscription.too.many.subscriptions", id="too-many"
        ),
        pytest.param(["ok", "v2.users.other.presence"], 403, "notification.unauthorized.topic", id="another-users"),
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused_as_documented(topics: list[str], status: int, code: str) -> None:
    async with service(user="me") as (_, client):
        channel = (await make(client))["id"]
        answer = await subscribe(client, channel, *topics)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await client.get(f"{CHANNELS}/{channel}/subscriptions")).json()["entities"] == []


async def test_with_errors_ignored_each_topic_has_its_own_answer() -> None:
    faults = ApiFaults(rejected_topics=((".transcription", "conversation:transcription:view"),))
    async with service(api_faults=faults) as (_, client):
        channel = (await make(client))["id"]
        answer = await subscribe(client, channel, "a", "v2.conversations.c.transcription", ignore=True)
        assert [entity["state"] for entity in answer.json()["entities"]] == ["Permitted", "Rejected"]
        assert answer.json()["entities"][1]["missingPermissions"] == ["conversation:transcription:view"]


async def test_the_21st_channel_evicts_the_one_unused_for_longest_without_a_socket_first() -> None:
    async with service() as (_, client):
        first = await make(client)
        async with connect(first["connectUri"]):
            others = [await make(client) for _ in range(20)]
            statuses = [(await client.head(f"{CHANNELS}/{one['id']}")).status_code for one in [first, *others]]
            assert statuses == [200, 404] + [200] * 19


async def test_a_second_socket_drops_the_first() -> None:
    async with service() as (_, client):
        uri = (await make(client))["connectUri"]
        async with connect(uri) as first, connect(uri) as second:
            with pytest.raises(ConnectionLost) as caught:
                await first.receive()
            assert caught.value.code == 1001
            await second.send('{"message":"ping"}')
            assert json.loads(await second.receive())["eventBody"] == {"message": "pong"}


async def test_a_channel_ends_unless_it_is_subscribed_to_again() -> None:
    async with service(api_faults=ApiFaults(channel_lifetime_s=2000.0)) as (sim, client):
        kept, left = [(await make(client)) for _ in range(2)]
        for _ in range(4):
            sim.agents.skip(800.0)
            await subscribe(client, kept["id"], "a", method="PUT")
        assert (await client.head(f"{CHANNELS}/{kept['id']}")).status_code == 200
        assert (await client.head(f"{CHANNELS}/{left['id']}")).status_code == 404
        with pytest.raises(HandshakeError) as caught:
            async with connect(left["connectUri"]):
                pass
        assert caught.value.status == 404


async def test_heartbeats_come_by_themselves_and_the_end_of_a_leg_is_told_in_two_words() -> None:
    leg = AgentLeg("leg", conversation_id="conv", user_id="agent")
    async with service(speed=100.0, legs=[leg]) as (sim, client):
        channel = await make(client)
        await subscribe(client, channel["id"], "v2.users.agent.conversations.calls")
        async with connect(channel["connectUri"]) as socket:
            first = json.loads(await socket.receive())
            assert (first["topicName"], first["version"]) == ("channel.metadata", "2")
            assert first["eventBody"] == {"message": "WebSocket Heartbeat"}
            leg.move("disconnected", sim.agents.now())
            states: list[str] = []
            while len(states) < 2:
                event = json.loads(await socket.receive())
                if event["topicName"] == "v2.users.agent.conversations.calls":
                    states.append(event["eventBody"]["participants"][1]["state"])
            assert states == ["disconnected", "terminated"]


async def test_nothing_is_told_again() -> None:
    leg = AgentLeg("leg", conversation_id="conv", user_id="agent")
    async with service(legs=[leg]) as (sim, client):
        channel = await make(client)
        await subscribe(client, channel["id"], "v2.users.agent.conversations")
        leg.supervise(True, sim.agents.now())  # nobody listens
        async with connect(channel["connectUri"]) as socket:
            await socket.send('{"message":"ping"}')
            assert json.loads(await socket.receive())["eventBody"] == {"message": "pong"}
            leg.supervise(False, sim.agents.now())
            event = json.loads(await socket.receive())
            assert event["eventBody"]["participants"][1]["calls"][0]["muted"] is False


async def test_requests_of_a_token_have_a_budget_and_say_what_is_left_of_it() -> None:
    async with service(api_faults=ApiFaults(requests_per_minute=3)) as (sim, client):
        answers = [await client.get(CHANNELS) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["inin-ratelimit-count"] for answer in answers[:3]] == ["1", "2", "3"]
        assert answers[0].headers["inin-ratelimit-allowed"] == "3"
        assert 0 < int(answers[0].headers["inin-ratelimit-reset"]) <= 60
        wait = int(answers[3].headers["Retry-After"])
        assert f"[{wait}]" in answers[3].json()["message"]
        assert answers[3].json()["code"] == "too.many.requests.retry.after"
        await client.get(CHANNELS)
        assert sim.gate.undercuts == 1
        sim.agents.skip(wait)
        assert (await client.get(CHANNELS)).status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"requests_per_minute": 0},
        {"malformed": 1.5},
        {"heartbeat_interval_s": 0.0},
        {"cut_after_s": (2.0, 1.0)},
        {"retry_after_s": -1.0},
        {"starved_channels": -1},
    ],
)
def test_faults_are_checked_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ApiFaults(**settings)
