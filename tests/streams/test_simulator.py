"""The simulated socket as the published client uses it: one message after the upgrade, then packets alone."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gcmedia import ConfigError
from gcmedia.simulator import Call, Disconnect, Faults, Simulator, StreamsPlan

CALL = Call.demo(seconds=1)


def token(cloud: Simulator) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": cloud.client_id,
        "client_secret": cloud.client_secret,
        "scope": "media:stream:read",
    }
    value: str = httpx.post(cloud.token_url, data=form).json()["access_token"]
    return value


def opened(cloud: Simulator) -> ClientConnection:
    headers = {"Authorization": f"Bearer {token(cloud)}", "Content-Type": "application/json"}
    return connect(cloud.media_streams_url, additional_headers=headers)


def subscription(*names: str) -> str:
    return json.dumps(
        {
            "interactions": [
                {"interactionId": name, "mediaType": "voice", "codecPreferences": ["pcmu"]} for name in names
            ]
        }
    )


def taken(websocket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(websocket.recv(timeout=60)) for _ in range(count)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_003_08_the_published_client_gets_packets_and_nothing_else(backend: str) -> None:
    """003-02: the scope that it asks for is let pass."""
    names = ("one", "two")
    with Simulator.in_thread(CALL, speed=None, backend=backend) as cloud, opened(cloud) as websocket:
        websocket.send(subscription(*names))
        packets = taken(websocket, 2 * CALL.n_packets)
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0.1)  # it waits for further subscriptions
    for packet in packets:
        assert set(packet) == {"interactionId", "sequenceNumber", "timestamp", "payload"}
        assert len(base64.b64decode(packet["payload"], validate=True)) == 160
    for name in names:
        mine = [packet for packet in packets if packet["interactionId"] == name]
        start, time = mine[0]["sequenceNumber"], mine[0]["timestamp"]
        assert [one["sequenceNumber"] for one in mine] == [(start + n) & 0xFFFF for n in range(CALL.n_packets)]
        assert [one["timestamp"] for one in mine] == [(time + 160 * n) & 0xFFFFFFFF for n in range(CALL.n_packets)]
    assert packets[0]["timestamp"] != packets[1]["timestamp"]


def test_003_12_a_late_subscription_is_answered_with_the_published_code() -> None:
    plan = StreamsPlan(ended_ago_s={"old": 61.0, "fresh": 20.0})
    calls = dict.fromkeys(("old", "fresh", "live"), CALL)
    with Simulator.in_thread(calls, speed=None, media_streams=plan) as cloud, opened(cloud) as websocket:
        for name in ("old", "nobody"):
            websocket.send(subscription(name))
            (error,) = taken(websocket, 1)
            assert (error["status"], error["code"], error["interactionId"]) == (400, "mediaNotAvailable", name)
        websocket.send(subscription("fresh"))
        assert taken(websocket, 1)[0]["interactionId"] == "fresh"
        websocket.send("nonsense")
        while (message := taken(websocket, 1)[0]).get("type") != "error":
            pass
        assert message["code"] == "bad.request"


def test_003_09_the_server_counts_over_all_subscriptions_of_a_connection() -> None:
    plan = StreamsPlan(max_interactions=2)
    with Simulator.in_thread(CALL, speed=1.0, media_streams=plan) as cloud, opened(cloud) as websocket:
        websocket.send(subscription("a", "b", "a"))
        websocket.send(subscription("b", "c"))
        while (message := taken(websocket, 1)[0]).get("type") != "error":
            pass
        assert (message["code"], message["interactionId"]) == ("tooManyStreams", "c")


def test_003_10_a_conversation_is_described_with_its_end() -> None:
    plan = StreamsPlan(ended_ago_s={"old": 61.0}, clock_skew_s=600.0)
    with Simulator.in_thread({"old": CALL, "live": CALL}, media_streams=plan) as cloud:
        headers = {"Authorization": f"Bearer {token(cloud)}"}
        root = f"{cloud.base_url}/api/v2/conversations"
        assert httpx.get(f"{root}/live").status_code == 401
        assert httpx.get(f"{root}/nobody", headers=headers).status_code == 404
        live = httpx.get(f"{root}/live", headers=headers)
        assert "endTime" not in live.json()
        assert len(live.headers.get_list("Date")) == 1
        old = httpx.get(f"{root}/old", headers=headers).json()
        assert old["endTime"] == old["participants"][0]["endTime"]


def test_003_15_one_planned_end_is_everybody_s() -> None:
    faults = Faults(disconnects=(Disconnect(200, "close:1012", 100),))
    with Simulator.in_thread(CALL, faults, speed=None) as cloud:
        with opened(cloud) as websocket:
            websocket.send(subscription("a", "b"))
            messages = taken(websocket, 20)
            with pytest.raises(ConnectionClosed, match="1012"):
                websocket.recv(timeout=60)
        assert cloud.truth("a").packets_generated + cloud.truth("b").packets_generated >= 20
        with opened(cloud) as websocket:
            websocket.send(subscription("a", "b"))
            again = taken(websocket, 2 * (CALL.n_packets - 15))[:2]
        for name in "ab":
            last = [one for one in messages if one["interactionId"] == name][-1]
            (first,) = [one for one in again if one["interactionId"] == name]
            assert (first["sequenceNumber"] - last["sequenceNumber"]) & 0xFFFF == 6  # 100 ms later
            assert cloud.truth(name).packets_missed == 5


def test_003_07_an_upgrade_without_a_token_is_refused() -> None:
    with Simulator.in_thread(CALL) as cloud:
        with pytest.raises(InvalidStatus) as caught, connect(cloud.media_streams_url):
            pass
        assert caught.value.response.status_code == 401


def test_settings_are_checked() -> None:
    for settings in ({"replies": "some"}, {"sequence_bits": 8}, {"timestamp_unit": "s"}, {"max_interactions": 0}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            StreamsPlan(**settings)
