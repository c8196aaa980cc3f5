"""The notification channel against the simulated cloud, on both backends."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import msgspec
import pytest

from gcmedia import (
    ApiError,
    AuthError,
    ConfigError,
    Forbidden,
    GcmediaError,
    HandshakeError,
    Notifications,
    NotificationsConfig,
    ReconnectExhausted,
    StateError,
)
from gcmedia.notifications import Gap, Notification
from gcmedia.simulator import ApiFaults

from .cloud import PATIENT, SOON, Cloud, causes, cloud, collect, until

pytestmark = pytest.mark.anyio

TOPIC = "v2.routing.queues.q.conversations.calls"
OTHER = "v2.users.u.presence"


@dataclass
class Listening:
    cloud: Cloud
    notifications: Notifications
    items: list[Notification | Gap]

    @property
    def told(self) -> list[object]:
        return [
            msgspec.json.decode(item.body)["n"]
            for item in self.items
            if isinstance(item, Notification) and isinstance(item.body, msgspec.Raw)
        ]

    async def tell(self, *numbers: int) -> None:
        for number in numbers:
            await self.cloud.sim.notifications.publish(TOPIC, {"n": number})


@asynccontextmanager
async def listening(
    faults: ApiFaults | None = None, config: NotificationsConfig = PATIENT, speed: float = 100.0
) -> AsyncIterator[Listening]:
    async with (
        cloud(api_faults=faults, speed=speed) as there,
        Notifications(
            there.api, [TOPIC], config=config, reconnect=SOON, clock=there.clock, rng=random.Random(1)
        ) as notifications,
        anyio.create_task_group() as tasks,
    ):
        items: list[Notification | Gap] = []
        tasks.start_soon(collect, notifications.listen(TOPIC), items)
        await anyio.lowlevel.checkpoint()
        yield Listening(there, notifications, items)
        tasks.cancel_scope.cancel()


async def test_a_channel_is_made_subscribed_and_connected_to_without_a_token() -> None:
    async with listening() as here:
        assert here.notifications.connected
        assert here.cloud.answered("POST", "/channels") == [200]
        assert here.cloud.answered("PUT", "/subscriptions") == [200]
        assert here.cloud.sim.notifications.topics == [(TOPIC,)]
        assert here.cloud.sim.notifications.tokens_seen == 0
        await here.tell(1, 2, 3)
        await until(lambda: here.told == [1, 2, 3])
    assert not here.notifications.connected


async def test_topics_come_and_go_while_it_runs_and_each_consumer_has_its_own() -> None:
    async with listening() as here:
        everything = here.notifications.listen()
        assert [state.permitted for state in await here.notifications.add(OTHER, OTHER)] == [True, True]
        assert here.cloud.sim.notifications.topics == [(TOPIC, OTHER)]
        assert here.notifications.topics == (TOPIC, OTHER)
        await here.cloud.sim.notifications.publish(OTHER, {"n": 7})
        await here.tell(8)
        await until(lambda: here.told == [8])
        first = await anext(everything)
        assert isinstance(first, Notification)
        assert first.topic == OTHER
        await here.notifications.remove(OTHER)
        assert here.cloud.sim.notifications.topics == [(TOPIC,)]


async def test_a_topic_stays_as_long_as_somebody_wants_it() -> None:
    async with listening() as here:
        await here.notifications.add(OTHER)
        await here.notifications.add(OTHER)
        await here.notifications.remove(OTHER, "never added")
        assert here.cloud.sim.notifications.topics == [(TOPIC, OTHER)]
        await here.notifications.release(OTHER)
        assert here.cloud.sim.notifications.topics == [(TOPIC,)]


async def test_a_subscription_that_fails_leaves_all_as_it_was() -> None:
    async with listening() as here:
        here.cloud.sim.gate.order("channel", (400, "notification.invalid.topic"))
        with pytest.raises(ApiError, match=r"notification\.invalid\.topic"):
            await here.notifications.add(OTHER)
        assert here.notifications.topics == (TOPIC,)
        await here.notifications.add(OTHER)
        assert here.cloud.sim.notifications.topics == [(TOPIC, OTHER)]


async def test_a_starved_channel_whose_successor_fails_at_first_is_replaced_all_the_same() -> None:
    async with listening(ApiFaults(starved_channels=1)) as here:
        # the channel is made, but subscribing to it fails at first
        here.cloud.sim.gate.order("channel", (200, ""), (503, "service.unavailable"))
        here.notifications.missed()
        await until(lambda: here.cloud.sim.notifications.channels_made == 2)
        await until(lambda: causes(here.items) == ["handover"])
        await here.tell(1)
        await until(lambda: here.told == [1])


async def test_a_refused_topic_is_told_and_keeps_no_other_from_being_subscribed_to() -> None:
    faults = ApiFaults(rejected_topics=((".transcription", "conversation:transcription:view"),))
    async with listening(faults) as here:
        refused = "v2.conversations.c.transcription"
        states = await here.notifications.add(refused, OTHER)
        assert [state.permitted for state in states] == [False, True]
        assert "conversation:transcription:view" in states[0].reason
        assert here.notifications.rejected[refused] == states[0]
        assert here.notifications.topics == (TOPIC, OTHER)
        assert here.cloud.sim.notifications.topics == [(TOPIC, OTHER)]


async def test_a_channel_takes_a_thousand_topics_of_200_characters_and_says_so() -> None:
    async with listening() as here:
        with pytest.raises(ConfigError, match="1001 topics, but one channel takes 1000"):
            await here.notifications.add(*(f"v2.users.{n}.presence" for n in range(1000)))
        with pytest.raises(ConfigError, match="201"):
            await here.notifications.add("x" * 201)
        with pytest.raises(ConfigError, match="cannot be subscribed to"):
            await here.notifications.add("v2.system.socket_closing")
        assert here.notifications.topics == (TOPIC,)
        await here.notifications.add(*(f"v2.users.{n}.presence" for n in range(999)))
        assert len(here.cloud.sim.notifications.topics[0]) == 1000


async def test_a_lost_socket_is_made_again_to_the_same_channel_and_the_gap_is_told() -> None:
    async with listening() as here:
        await here.tell(1)
        await until(lambda: here.told == [1])
        here.cloud.sim.notifications.cut()
        await until(lambda: causes(here.items) == ["lost", "reconnected"])
        await here.tell(2)
        await until(lambda: here.told == [1, 2])
        assert here.cloud.answered("HEAD") == [200]
        assert here.cloud.sim.notifications.channels_made == 1
        assert here.notifications.counts["reconnects"] == 1


async def test_a_channel_that_is_gone_is_made_anew_with_all_its_topics() -> None:
    async with listening() as here:
        await here.notifications.add(OTHER)
        here.cloud.sim.notifications.drop_channels()
        await until(lambda: causes(here.items) == ["lost", "reconnected"])
        assert here.cloud.answered("HEAD") == [404]
        assert here.cloud.sim.notifications.topics == [(TOPIC, OTHER)]
        assert here.cloud.sim.notifications.channels_made == 2


async def test_topics_added_while_there_is_no_connection_are_subscribed_to_with_the_next() -> None:
    faults = ApiFaults(socket_refusals=(), channel_refusals=())
    async with listening(faults) as here:
        here.cloud.sim.gate.order("channel", *[(503, "service.unavailable")] * 2)
        here.cloud.sim.notifications.cut()
        await until(lambda: causes(here.items) == ["lost"])
        assert [state.permitted for state in await here.notifications.add(OTHER)] == [True]
        await until(lambda: causes(here.items) == ["lost", "reconnected"])
        assert here.cloud.sim.notifications.topics == [(TOPIC, OTHER)]


async def test_one_channel_is_connected_to_only_so_often() -> None:
    async with listening(config=replace(PATIENT, max_reuses=2)) as here:
        for turn in range(1, 5):
            here.cloud.sim.notifications.cut()
            await until(lambda turn=turn: here.notifications.counts["reconnects"] == turn)  # type: ignore[misc]
        assert here.cloud.answered("HEAD") == [200, 200, 200]
        assert here.cloud.sim.notifications.channels_made == 2


async def test_a_socket_that_falls_silent_is_dead_after_35_s() -> None:
    config = replace(PATIENT, watchdog_s=35.0, ping_interval_s=15.0)
    async with listening(config=config, speed=40.0) as here:
        here.cloud.sim.notifications.fall_silent()
        await until(lambda: "reconnected" in causes(here.items))
        assert here.notifications.counts["pings"] >= 1  # two on a machine that has time


async def test_pings_keep_a_socket_that_has_nothing_else_to_say() -> None:
    faults = ApiFaults(heartbeat_interval_s=10_000.0)
    config = replace(PATIENT, watchdog_s=60.0, ping_interval_s=10.0)
    async with listening(faults, config, speed=40.0) as here:  # 60 s are one and a half
        await until(lambda: here.notifications.counts["pong"] >= 7)
        assert causes(here.items) == []


async def test_when_the_server_announces_the_end_the_next_socket_is_there_before() -> None:
    faults = ApiFaults(overlap_s=150.0, close_grace_s=300.0)  # a second and a half to tell something over both
    async with listening(faults) as here:
        await here.tell(1)
        here.cloud.sim.notifications.announce_close()
        await until(lambda: here.cloud.sim.notifications.n_sockets == 2)
        await here.tell(2, 3, 2)  # over both sockets
        await until(lambda: here.cloud.sim.notifications.n_sockets == 1)
        await here.tell(4)
        await until(lambda: 4 in here.told)
        assert sorted(map(int, map(str, here.told))) == [1, 2, 2, 3, 4]
        assert causes(here.items) == ["handover"]
        assert here.notifications.counts["handovers"] == 1
        assert here.notifications.counts["duplicates"] == 3
        assert here.notifications.counts["reconnects"] == 0


async def test_a_hand_over_that_fails_is_tried_again_while_the_old_socket_lives() -> None:
    async with listening(ApiFaults(close_grace_s=600.0)) as here:
        here.cloud.sim.gate.order("channel", (503, "service.unavailable"), (429, "too.many.requests"))
        here.cloud.sim.notifications.announce_close()
        await until(lambda: causes(here.items) == ["handover"])
        assert here.cloud.answered("HEAD") == [503, 429, 200]
        assert here.cloud.sim.gate.undercuts == 0


async def test_a_revoked_token_takes_the_channel_with_it_and_both_are_made_anew() -> None:
    async with listening() as here:
        await here.cloud.sim.notifications.revoke_tokens()
        await until(lambda: causes(here.items) == ["lost", "reconnected"])
        assert here.cloud.answered("POST", "/channels") == [200, 401, 200]
        assert here.cloud.sim.journal.token_requests == 2
        await here.tell(1)
        await until(lambda: here.told == [1])


async def test_without_another_token_a_revoked_one_is_the_end() -> None:
    async with cloud(user="u") as there, Notifications(there.api, config=PATIENT, clock=there.clock) as notifications:
        stream = notifications.listen()
        await there.sim.notifications.revoke_tokens()
        with pytest.raises(AuthError):
            async for _ in stream:
                pass
        assert not notifications.connected
        late = notifications.listen()
        with pytest.raises(AuthError):
            await anext(late)


async def test_a_topic_that_another_channel_took_is_asked_for_again_with_the_next_resync() -> None:
    async with listening(config=replace(PATIENT, resync_interval_s=60.0)) as here:
        await here.cloud.sim.notifications.take_topic(TOPIC)
        await until(lambda: "taken" in causes(here.items))
        assert here.cloud.sim.notifications.topics == [()]
        await until(lambda: "resync" in causes(here.items))
        assert here.cloud.sim.notifications.topics == [(TOPIC,)]


async def test_a_channel_is_renewed_before_it_ends() -> None:
    faults = ApiFaults(channel_lifetime_s=90.0)
    config = replace(PATIENT, renew_after_s=30.0)
    async with listening(faults, config) as here:
        await until(lambda: here.notifications.counts["renewals"] >= 4)
        await here.tell(1)
        await until(lambda: here.told == [1])
        assert causes(here.items) == []
        assert here.cloud.sim.notifications.channels_made == 1


async def test_a_channel_that_ended_before_its_renewal_is_replaced_before_its_socket_is_closed() -> None:
    config = replace(PATIENT, renew_after_s=30.0)
    async with listening(config=config) as here:
        here.cloud.sim.gate.order("channel", (404, "entity.not.found"))
        await until(lambda: causes(here.items) == ["handover"])
        assert here.cloud.sim.notifications.channels_made == 2


async def test_a_channel_that_lives_and_tells_nothing_is_replaced_when_somebody_finds_out() -> None:
    async with listening(ApiFaults(starved_channels=1)) as here:
        await here.tell(1)
        await anyio.sleep(0.05)
        assert here.told == []
        here.notifications.missed()
        here.notifications.missed()  # of the same starvation
        await until(lambda: causes(here.items) == ["handover"])
        await here.tell(2)
        await until(lambda: here.told == [2])
        assert here.cloud.sim.notifications.channels_made == 2
        assert here.notifications.counts["starvations"] == 1


async def test_who_rereads_is_called_after_every_reconnect_and_every_so_often() -> None:
    seen: list[str] = []

    async def reread(cause: str) -> None:
        seen.append(cause)
        if len(seen) == 1:
            raise Forbidden("no", status=403)  # is logged, and ends nothing

    config = replace(PATIENT, resync_interval_s=20.0)
    async with (
        cloud() as there,
        Notifications(there.api, config=config, reconnect=SOON, clock=there.clock, on_reread=reread) as notifications,
    ):
        there.sim.notifications.cut()
        await until(lambda: seen[:1] == ["reconnected"])
        await until(lambda: seen.count("resync") >= 2)
        there.sim.notifications.announce_close()
        await until(lambda: "handover" in seen)
        assert notifications.connected


async def test_waits_grow_and_retry_after_is_never_undercut() -> None:
    faults = ApiFaults(
        channel_refusals=((503, "service.unavailable"), (500, "internal.server.error"), (429, "too.many.requests")),
        socket_refusals=(503,),
        retry_after_s=3.0,
    )
    async with (
        cloud(api_faults=faults) as there,
        Notifications(there.api, [TOPIC], config=PATIENT, reconnect=SOON, clock=there.clock, rng=random.Random(1)),
    ):
        waits = [wait for wait in there.clock.slept if wait < 1000.0]
        assert waits[0] >= 3.0  # a 503 that asks for it
        assert 0.5 <= waits[1] <= 1.0
        assert waits[2] >= 3.0
        assert waits[3] >= 3.0
        assert there.sim.gate.undercuts == 0


async def test_attempts_are_counted_and_at_their_end_consumers_get_the_error() -> None:
    async with (
        cloud() as there,
        Notifications(there.api, [TOPIC], config=PATIENT, reconnect=SOON, clock=there.clock) as notifications,
    ):
        there.sim.gate.order("channel", *[(500, "internal.server.error")] * 20)
        streams = [notifications.listen(), notifications.listen(TOPIC)]
        there.sim.notifications.cut()
        for stream in streams:
            with pytest.raises(ReconnectExhausted, match="after 5 attempts") as caught:
                async for _ in stream:
                    pass
            assert caught.value.attempts == 5
        assert not notifications.connected


async def test_a_server_that_hangs_up_at_once_is_not_asked_for_ever() -> None:
    faults = ApiFaults(cut_after_s=(0.0, 0.0))
    async with cloud(api_faults=faults) as there:
        notifications = Notifications(there.api, config=PATIENT, reconnect=SOON, clock=there.clock)
        async with notifications:
            with pytest.raises(ReconnectExhausted):
                async for _ in notifications.listen():
                    pass
        assert there.sim.notifications.sockets_opened <= 7


@pytest.mark.parametrize(
    ("refusals", "error"),
    [
        pytest.param(((403, "missing.permissions"),), Forbidden, id="403"),
        pytest.param(((400, "notification.transport.not.allowed"),), GcmediaError, id="400"),
        pytest.param(((401, "bad.credentials"),) * 2, AuthError, id="401-twice"),
    ],
)
async def test_what_waiting_does_not_mend_is_raised_at_once(
    refusals: tuple[tuple[int, str], ...], error: type[GcmediaError]
) -> None:
    async with cloud(api_faults=ApiFaults(channel_refusals=refusals)) as there:
        with pytest.raises(error):
            async with Notifications(there.api, [TOPIC], config=PATIENT, clock=there.clock):
                pass
        assert [wait for wait in there.clock.slept if wait < 1000.0] == []
        assert len(there.answered("POST", "/channels")) == len(refusals)


async def test_a_socket_refused_for_its_channel_gets_one_more_channel() -> None:
    async with (
        cloud(api_faults=ApiFaults(socket_refusals=(403,))) as there,
        Notifications(there.api, [TOPIC], config=PATIENT, clock=there.clock),
    ):
        assert there.sim.notifications.channels_made == 2
    async with cloud(api_faults=ApiFaults(socket_refusals=(401, 403))) as there:
        with pytest.raises(HandshakeError):
            async with Notifications(there.api, [TOPIC], config=PATIENT, clock=there.clock):
                pass
        assert there.sim.notifications.channels_made == 2


async def test_what_cannot_be_read_is_counted_and_the_rest_goes_on() -> None:
    async with listening(ApiFaults(malformed=1.0, seed=5)) as here:
        await here.tell(*range(50))
        await until(lambda: here.told == list(range(50)))
        counts = here.notifications.counts
        assert counts["malformed"] + counts["notification"] + counts["unknown"] + counts["heartbeat"] >= 100
        assert counts["malformed"] > 10


async def test_a_slow_consumer_loses_the_oldest_and_is_told() -> None:
    async with listening() as here:
        slow = here.notifications.listen(TOPIC, max_items=4)
        await here.tell(*range(10))
        await until(lambda: len(here.told) == 10)
        slow.finish()
        kept = [item async for item in slow]
        assert slow.dropped > 0
        assert Gap("overflow") in kept
        assert isinstance(kept[-2], Notification)


async def test_it_serves_once() -> None:
    async with cloud() as there:
        notifications = Notifications(there.api, config=PATIENT, clock=there.clock)
        async with notifications:
            pass
        with pytest.raises(StateError):
            await notifications.__aenter__()


async def test_neither_logs_nor_reprs_nor_errors_show_what_opens_the_channel(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gcmedia")
    texts: list[str] = []
    async with listening(ApiFaults(rejected_topics=(("presence", "x:y:view"),))) as here:
        sim = here.cloud.sim
        secrets: set[str] = set()

        def note() -> None:
            secrets.update(
                part
                for exchange in sim.journal.requests
                for part in exchange.path.split("/")
                if part.startswith("streaming-")
            )

        await here.notifications.add(OTHER)
        sim.notifications.announce_close()
        await until(lambda: here.notifications.counts["handovers"] == 1)
        sim.gate.order("channel", (503, "service.unavailable"))
        sim.notifications.cut()
        await until(lambda: here.notifications.counts["reconnects"] == 1)
        sim.gate.order("channel", (403, "missing.permissions"))
        with pytest.raises(Forbidden) as caught:
            await here.notifications.add("v2.users.x.station")
        texts.append(str(caught.value))
        await sim.notifications.send_raw(json.dumps({"topicName": 1}))
        await sim.notifications.revoke_tokens()
        await until(lambda: here.notifications.counts["reconnects"] == 2)
        texts.append(repr(here.notifications))
        note()
    assert len(secrets) >= 2
    text = "\n".join(
        [*texts, *(record.getMessage() for record in caplog.records if record.name != "gcmedia.simulator")]
    )
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize(
    "settings",
    [
        {"watchdog_s": 0.0},
        {"renew_after_s": 86_400.0},
        {"max_reuses": -1},
        {"max_message_octets": 1},
        {"resync_interval_s": float("nan")},
        {"max_retry_after_s": -1.0},
    ],
)
def test_settings_are_checked_at_once(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        NotificationsConfig(**settings)  # type: ignore[arg-type]
