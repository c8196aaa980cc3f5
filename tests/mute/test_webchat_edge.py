"""The web chat edge: messages, sign-in, and muting over it (rows 001-*)."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from gcmedia.auth import CallableToken, StaticToken
from gcmedia.config import MuteConfig, ReconnectConfig, WebchatEdgeConfig
from gcmedia.dialects.webchat_edge import Authed, EdgeFailure, MediaState, Unknown, auth_message, command, receive
from gcmedia.errors import (
    AmbiguousCall,
    AuthError,
    ConfigError,
    HandshakeError,
    ReconnectExhausted,
    RemoteProtocolError,
    StreamNotFound,
    TransportError,
)
from gcmedia.mute import CallState, MuteControl, MuteEvent, MuteState, MuteStatus, WebchatEdge, edge_url
from gcmedia.simulator import AgentLeg, Faults, MuteFaults
from tests.mute.conftest import Cloud, CloudMaker, agent_leg, until
from tests.simulator.loopback_client import connect

pytestmark = pytest.mark.anyio

QUICK = MuteConfig(coalesce_s=0.0, min_interval_s=0.0, base_s=0.05, confirm_timeout_s=2.0)
AGAIN = ReconnectConfig(base_s=0.01, cap_s=0.02)


def edge(cloud: Cloud, config: WebchatEdgeConfig | None = None, *, token: str | None = None) -> WebchatEdge:
    url = edge_url("us-east-1", base=cloud.simulator.edge_url)
    tokens = cloud.tokens if token is None else StaticToken(token)
    return WebchatEdge(url, tokens, "conv-1", config, reconnect=AGAIN)


async def until_known(control: MuteControl) -> MuteState:
    events = control.events()
    with anyio.fail_after(60):
        while control.state.unknown:
            await anext(events)
    events.close()
    return control.state


# What is sent


def test_001_06_sign_in_is_a_message() -> None:
    assert json.loads(auth_message("secret-token")) == {"type": "auth", "payload": {"token": "secret-token"}}


@pytest.mark.parametrize(("muted", "action"), [(True, "mute"), (False, "unmute")])
def test_001_13_a_command_is_flat_and_names_no_stream_unless_one_is_given(muted: bool, action: str) -> None:
    flat = {"type": "media", "action": action, "direction": "outbound", "mediaType": "audio"}
    assert json.loads(command(muted)) == flat
    assert json.loads(command(muted, stream_id="s-1")) == flat | {"streamId": "s-1"}


def test_001_16_the_conversation_is_named_only_where_a_profile_says_so() -> None:
    assert "conversationId" not in json.loads(command(True))
    assert json.loads(command(True, conversation_id="conv-1"))["conversationId"] == "conv-1"


def test_001_14_directions_and_media_are_known_ones() -> None:
    assert json.loads(command(True, direction="inbound", media_type="video"))["direction"] == "inbound"
    with pytest.raises(ConfigError, match="direction is 'both'"):
        command(True, direction="both")
    with pytest.raises(ConfigError, match="media_type"):
        command(True, media_type="screen")


# What comes


def media(**payload: str) -> str:
    return json.dumps({"type": "media", "payload": payload})


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param('{"type": "authed"}', Authed(), id="authed"),
        pytest.param(
            media(action="mute", direction="outbound", mediaType="audio", streamId="s-1"),
            MediaState(True, "s-1", "outbound", "audio"),
            id="001_20 nested",
        ),
        pytest.param(
            '{"type": "media", "action": "unmute", "direction": "outbound", "mediaType": "audio"}',
            MediaState(False, None, "outbound", "audio"),
            id="001_20 flat",
        ),
        pytest.param(
            media(action="mute", direction="inbound", mediaType="video"),
            MediaState(True, None, "inbound", "video"),
            id="001_14 what the agent sees",
        ),
        pytest.param(media(action="hold"), Unknown("media hold"), id="another action"),
        pytest.param('{"type": "typing"}', Unknown("typing"), id="another type"),
        pytest.param(
            '{"type": "error", "payload": {"message": "Invalid Token"}}',
            EdgeFailure("Invalid Token", None, 401, None, None, None),
            id="001_07 words only",
        ),
        pytest.param(
            '{"type": "error", "payload": {"action": "unmute", "message": "Media Action Failed: Stream Not Found"}}',
            EdgeFailure("Media Action Failed: Stream Not Found", False, 404, None, None, None),
            id="001_22 001_28 unmute failures count too",
        ),
        pytest.param(
            '{"type": "error", "payload": {"action": "mute", "code": 429, "message": "slow", "retryAfter": "7"}}',
            EdgeFailure("slow", True, 429, None, 7.0, None),
            id="001_29 429 with a wait",
        ),
        pytest.param('{"type": "error", "payload": "odd"}', EdgeFailure("odd", None, 400, None, None, None), id="text"),
        pytest.param('{"type": "error"}', EdgeFailure("no reason given", None, 400, None, None, None), id="bare"),
    ],
)
def test_001_20_what_messages_mean(message: str, expected: object) -> None:
    assert receive(message) == expected


@pytest.mark.parametrize("message", ["", "{", "[]", "7", '{"type": 7}', '{"type": "media"}', b"\xff\x00", "[" * 5000])
def test_001_12_what_cannot_be_read_is_one_error(message: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        receive(message)


# Where


def test_001_04_the_environment_names_the_host_and_an_unknown_one_is_an_error() -> None:
    assert edge_url("us-east-1") == "wss://webchat-edge.genesiscloud.com/ws?environment=us-east-1"
    assert edge_url("mypurecloud.com") == "wss://webchat-edge.genesiscloud.com/ws?environment=mypurecloud.com"
    assert edge_url("euw2") == "wss://webchat-edge.euw2.genesiscloud.com/ws?environment=euw2"
    assert edge_url("a&b=c", base="wss://e.example/ws") == "wss://e.example/ws?environment=a%26b%3Dc"
    with pytest.raises(ConfigError, match="known are us-east-1"):
        edge_url("eu-central-1")


def test_001_01_tokens_go_to_no_host_that_was_not_allowed() -> None:
    with pytest.raises(ConfigError, match="allow_custom_host"):
        WebchatEdge(edge_url("x", base="wss://edge.example/ws"), StaticToken("t"), "conv-1")
    WebchatEdge(edge_url("euw2"), StaticToken("t"), "conv-1")
    with pytest.raises(ConfigError, match="conversation_id"):  # 001-24: no placeholder
        WebchatEdge(edge_url("euw2"), StaticToken("t"), "")


# Muting


async def test_001_01_001_05_001_18_mute_and_unmute_confirmed_by_events(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(effect_delay_s=(0.02, 0.05))) as place:
        way = edge(place)
        assert way.state == "disconnected"
        async with MuteControl(way, QUICK) as control:
            assert way.state == "ready"
            assert way.authorised
            assert await until_known(control) == MuteState(CallState.CONNECTED, False, None, True)
            assert (await control.mute()).status is MuteStatus.CONFIRMED
            assert place.muted
            assert (await control.mute()).status is MuteStatus.ALREADY
            assert (await control.unmute()).status is MuteStatus.CONFIRMED
            assert not place.muted
        assert way.state == "disconnected"
        assert [muted for _, muted in place.leg.asked] == [True, False]


async def test_001_18_fire_and_forget_is_accepted_and_no_more(cloud: CloudMaker) -> None:
    async with cloud(edge_acks="none") as place:
        way = edge(place, WebchatEdgeConfig(confirm="none"))
        async with MuteControl(way, QUICK) as control:
            await until_known(control)
            result = await control.mute()
            assert (result.status, result.confirmed) == (MuteStatus.ACCEPTED, None)


async def test_a_confirmation_that_never_comes_is_a_timeout(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(event_loss=1.0)) as place:
        way = edge(place)
        async with MuteControl(way, MuteConfig(coalesce_s=0.0, confirm_timeout_s=0.1)) as control:
            assert (await control.mute()).status is MuteStatus.TIMEOUT


async def test_001_21_000_32_a_supervisors_change_is_told_and_survives_a_reconnect(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(cuts=1.0)) as place:
        events: list[MuteEvent] = []
        async with MuteControl(edge(place), QUICK) as control:
            control.subscribe(events.append)
            await until_known(control)
            place.supervise(True)
            await until(lambda: control.state.confirmed is True)
            assert events[-1].external
            await control.unmute(confirm=False)  # cuts the connection
            await until(lambda: any(event.state.unknown for event in events))
            place.leg.order(MuteFaults())
            await until_known(control)
            place.supervise(not place.muted)
            await until(lambda: control.state.confirmed is place.muted)


async def test_001_31_after_a_lost_connection_it_signs_in_again_and_hears_how_it_is(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(seed=3, cuts=0.5)) as place:
        async with MuteControl(edge(place), QUICK) as control:
            for muted in (True, False) * 4:
                with anyio.fail_after(60):
                    result = await control.set_muted(muted)
                assert result.ok
                assert place.muted is muted
        signed_in = [one for one in place.simulator.journal.requests if one.path == "/ws"]
        assert len(signed_in) > 1


async def test_001_26_an_expired_token_is_renewed_without_anybody_noticing(cloud: CloudMaker) -> None:
    async with cloud() as place:
        async with MuteControl(edge(place), replace(QUICK, attempts=10)) as control:  # until it is connected again
            await until_known(control)
            place.simulator.revoke_tokens()
            with anyio.fail_after(60):
                result = await control.mute()
            assert result.status is MuteStatus.CONFIRMED
            assert result.attempts >= 2
        assert place.simulator.journal.token_requests == 2


async def test_001_28_a_stream_that_is_not_there_is_a_refusal(cloud: CloudMaker) -> None:
    async with cloud() as place, MuteControl(edge(place, WebchatEdgeConfig(stream_id="nowhere")), QUICK) as control:
        result = await control.mute()
        assert result.status is MuteStatus.REJECTED
        with pytest.raises(StreamNotFound, match="leave stream_id out"):
            result.check()


async def test_001_15_streams_are_learnt_and_several_of_them_are_ambiguous(cloud: CloudMaker) -> None:
    second = AgentLeg("session-2", conversation_id="conv-2", user_id="another", muted=True)
    async with cloud(agent_leg(), second) as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            await until(lambda: len(way.streams) == 2)
            assert way.streams == {"session-1": False, "session-2": True}
            assert control.state.unknown, "nobody knows which of them is meant"
            with pytest.raises(AmbiguousCall, match="session-1, session-2"):
                await control.mute()
        async with MuteControl(edge(place, WebchatEdgeConfig(stream_id="session-1")), QUICK) as control:
            assert (await control.mute()).ok
        assert place.muted


async def test_000_32_a_policy_that_forbids_is_a_refusal(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(denies=(True,))) as place, MuteControl(edge(place), QUICK) as control:
        await until_known(control)
        result = await control.mute()
        assert result.status is MuteStatus.REJECTED
        assert result.confirmed is False
        assert len(place.leg.asked) == 1


async def test_001_29_too_many_requests_are_repeated_after_the_wait(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(throttled=1.0, retry_after_s=0.2)) as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            await until_known(control)
            async with anyio.create_task_group() as tasks:

                async def relent() -> None:
                    await until(lambda: bool(place.leg.asked))
                    place.leg.order(MuteFaults())

                tasks.start_soon(relent)
                result = await control.mute()
            assert (result.status, result.attempts) == (MuteStatus.CONFIRMED, 2)
            assert place.leg.undercuts == 0


# Sign-in and connection


async def test_001_07_001_02_a_refused_sign_in_is_an_error_with_the_servers_words(cloud: CloudMaker) -> None:
    async with cloud() as place:
        way = edge(place, token="made-up-token")
        with pytest.raises(AuthError, match="Auth failed: Invalid Token"):
            async with MuteControl(way, QUICK):
                raise AssertionError("signed in")
        assert not way.authorised


async def test_001_17_001_11_commands_need_a_connection_that_is_signed_in(cloud: CloudMaker) -> None:
    async with cloud() as place:
        with pytest.raises(TransportError, match="not connected and signed in: the edge is disconnected"):
            await edge(place).request(True)


async def test_001_25_a_refused_upgrade_is_told_and_503_is_repeated(cloud: CloudMaker) -> None:
    async with cloud(faults=Faults(upgrade_refusals=(403,))) as place:
        with pytest.raises(HandshakeError) as caught:
            async with MuteControl(edge(place), QUICK):
                raise AssertionError("connected")
        assert caught.value.status == 403
    async with cloud(faults=Faults(upgrade_refusals=(503, 429), retry_after_s=0.0)) as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            assert (await control.mute()).ok


@asynccontextmanager
async def odd_edge(
    *answers: str,
    close: int | None = None,
    hung_up: Callable[[], None] = lambda: None,
    heard: list[dict[str, object]] | None = None,
) -> AsyncIterator[str]:
    """A server that answers the sign-in with these messages, and tells what it hears, and when a client hangs up."""
    from anyio.abc import SocketStream

    from gcmedia.simulator.http import HttpReader
    from gcmedia.simulator.websocket import WebSocket, WebSocketClosed

    async def serve(stream: SocketStream) -> None:
        reader = HttpReader(stream)
        await reader.request()
        websocket, _ = await WebSocket.accept(stream, reader.octets, lambda: None)
        assert websocket is not None

        async def talk(socket: WebSocket) -> None:
            try:
                await socket.receive()
                for answer in answers:
                    await socket.send(answer)
                if close is not None:
                    await socket.close(close, "no more")
                    return
                while True:
                    command = await socket.receive()
                    if heard is not None:
                        heard.append(json.loads(command))
            except WebSocketClosed:
                hung_up()

        async with stream:
            await websocket.run(talk)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"ws://127.0.0.1:{port}/ws"
        tasks.cancel_scope.cancel()


async def test_001_08_no_answer_to_the_sign_in_closes_the_socket() -> None:
    hung_up = anyio.Event()
    async with odd_edge(hung_up=hung_up.set) as base:
        way = WebchatEdge(
            edge_url("x", base=base),
            StaticToken("t"),
            "conv-1",
            WebchatEdgeConfig(auth_timeout_s=0.05),
            reconnect=ReconnectConfig(attempts=0),
        )
        with pytest.raises(TransportError, match=r"did not answer the sign-in within 0\.05 s"):
            async with MuteControl(way, QUICK):
                raise AssertionError("signed in")
        assert way.state == "disconnected"
        with anyio.fail_after(60):
            await hung_up.wait()
    assert WebchatEdgeConfig().auth_timeout_s == 5.0


async def test_001_02_001_05_connected_is_not_yet_signed_in() -> None:
    states: list[str] = []

    def token() -> str:
        states.append(way.state)
        return "a-token"

    async with odd_edge() as base, anyio.create_task_group() as tasks:
        way = WebchatEdge(edge_url("x", base=base), CallableToken(token), "conv-1")
        assert way.state == "disconnected"
        tasks.start_soon(way.run, lambda seen: None, lambda: None)
        await until(lambda: way.state == "authorising")
        assert states == ["connecting"]
        assert not way.authorised
        with pytest.raises(TransportError, match="the edge is authorising"):  # 001-11, 001-17
            await way.request(True)
        tasks.cancel_scope.cancel()


async def test_001_31_pings_keep_a_quiet_connection(cloud: CloudMaker) -> None:
    async with cloud() as place:
        async with MuteControl(edge(place, WebchatEdgeConfig(ping_interval_s=0.02)), QUICK) as control:
            await until(lambda: place.simulator.journal.pings >= 3)
            assert (await control.mute()).ok
        assert len([one for one in place.simulator.journal.requests if one.path == "/ws"]) == 1
    assert (WebchatEdgeConfig().ping_interval_s, WebchatEdgeConfig().pong_timeout_s) == (30.0, 20.0)


async def test_001_10_a_close_at_any_time_ends_what_waits_with_code_and_reason() -> None:
    told = media(action="unmute", direction="outbound", mediaType="audio", streamId="s-1")
    async with odd_edge('{"type": "authed"}', told, close=1008) as base:
        way = WebchatEdge(edge_url("x", base=base), StaticToken("t"), "conv-1", reconnect=ReconnectConfig(attempts=0))
        with pytest.raises(TransportError, match=r"1008 \(no more\)"):
            async with MuteControl(way, QUICK) as control:
                await control.mute()


@pytest.mark.parametrize("wanted", [False, True])
async def test_001_16_a_command_names_the_conversation_on_the_wire_if_wanted(wanted: bool) -> None:
    heard: list[dict[str, object]] = []
    async with odd_edge('{"type": "authed"}', heard=heard) as base, anyio.create_task_group() as tasks:
        profile = WebchatEdgeConfig(send_conversation_id=wanted)
        way = WebchatEdge(edge_url("x", base=base), StaticToken("t"), "conv-1", profile)
        tasks.start_soon(way.run, lambda seen: None, lambda: None)
        await until(lambda: way.authorised)
        await way.request(True)
        await until(lambda: bool(heard))
        tasks.cancel_scope.cancel()
    assert heard[0].get("conversationId") == ("conv-1" if wanted else None)


async def test_001_09_what_comes_before_the_answer_is_not_lost_and_rubbish_does_no_harm() -> None:
    early = media(action="mute", direction="outbound", mediaType="audio", streamId="s-1")
    other = media(action="unmute", direction="inbound", mediaType="audio", streamId="s-1")
    async with odd_edge("not json", early, other, '{"type": "typing"}', '{"type": "authed"}') as base:
        way = WebchatEdge(edge_url("x", base=base), StaticToken("t"), "conv-1")
        async with MuteControl(way, QUICK) as control:
            assert (await until_known(control)).confirmed is True
        assert (way.malformed_messages, way.unknown_messages) == (1, 1)


async def test_001_10_a_close_during_the_sign_in_is_told_with_code_and_reason() -> None:
    async with odd_edge(close=1008) as base:
        way = WebchatEdge(
            edge_url("x", base=base), StaticToken("t"), "conv-1", reconnect=ReconnectConfig(attempts=1, base_s=0.01)
        )
        with pytest.raises(ReconnectExhausted, match=r"closed the connection with 1008 \(no more\)"):
            async with MuteControl(way, QUICK):
                raise AssertionError("signed in")


async def test_000_16_001_27_001_12_the_token_is_in_no_log_repr_or_error(caplog: pytest.LogCaptureFixture) -> None:
    canary = "canary-" + "5e6f" * 8
    caplog.set_level(logging.DEBUG)
    refusal = json.dumps({"type": "error", "payload": {"message": f"Invalid Token {canary}"}})
    async with odd_edge(f"{canary} is not json", refusal) as base:
        way = WebchatEdge(edge_url("x", base=base), CallableToken(lambda: canary), "conv-1")
        with pytest.raises(AuthError) as caught:
            async with MuteControl(way, QUICK):
                raise AssertionError("signed in")
    assert canary not in str(caught.value) + repr(caught.value) + repr(way)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("gcmedia")]
    assert canary not in "\n".join(ours)


# The published client


async def test_001_03_001_23_the_published_client_works_on_the_simulator(cloud: CloudMaker) -> None:
    """Message for message what the tutorial's code sends; it always names the stream "default"."""
    async with cloud() as place:
        token = await place.tokens.token()
        async with connect(f"{place.simulator.edge_url}?environment=us-east-1") as socket:
            await socket.send(json.dumps({"type": "auth", "payload": {"token": token}}))
            assert json.loads(await socket.recv())["type"] == "authed"
            heard = json.loads(await socket.recv())
            assert heard["payload"]["action"] == "unmute"
            for action in ("mute", "unmute"):
                await socket.send(
                    json.dumps(
                        {
                            "type": "media",
                            "action": action,
                            "streamId": "default",
                            "direction": "outbound",
                            "mediaType": "audio",
                        }
                    )
                )
                heard = json.loads(await socket.recv())
                assert heard["type"] == "media"
                assert heard["payload"] == {
                    "action": action,
                    "direction": "outbound",
                    "mediaType": "audio",
                    "streamId": "session-1",
                }
                assert place.muted is (action == "mute")


async def test_001_14_the_simulator_refuses_what_is_no_microphone(cloud: CloudMaker) -> None:
    async with cloud() as place, connect(f"{place.simulator.edge_url}?environment=us-east-1") as socket:
        await socket.send(auth_message(await place.tokens.token()))
        await socket.recv()
        await socket.recv()
        await socket.send(command(True, direction="inbound"))
        failure = receive(await socket.recv())
        assert isinstance(failure, EdgeFailure)
        assert (failure.status, failure.muted) == (400, True)
        await socket.send("nonsense")
        assert isinstance(receive(await socket.recv()), EdgeFailure)


@pytest.mark.parametrize("setting", [{"stream_id": ""}, {"confirm": "maybe"}, {"auth_timeout_s": 0.0}])
def test_settings_out_of_range_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        WebchatEdgeConfig(**setting)  # type: ignore[arg-type]
