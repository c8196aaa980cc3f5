"""What is said in a conversation, over the notification channel."""

from __future__ import annotations

import anyio
import pytest

from gcmedia import AuthError, ConfigError, Notifications, Transcript, capture
from gcmedia.dialects.notifications import pinned
from gcmedia.notifications import Utterance, transcription
from gcmedia.simulator import ApiFaults, Call

from ..capture.running import credentials, patient
from .cloud import PATIENT, SOON, cloud, until
from .test_dialect import transcription as said

pytestmark = pytest.mark.anyio

TOPIC = "v2.conversations.conv.transcription"


async def test_utterances_come_with_their_times_until_the_session_ends() -> None:
    async with (
        cloud() as there,
        Notifications(there.api, config=PATIENT, clock=there.clock) as notifications,
        anyio.create_task_group() as tasks,
    ):
        heard: list[Utterance] = []
        ended = anyio.Event()

        async def listen() -> None:
            async with transcription(notifications, "conv") as utterances:
                async for utterance in utterances:
                    heard.append(utterance)
            ended.set()

        tasks.start_soon(listen)
        service = there.sim.notifications
        await until(lambda: service.topics == [(TOPIC,)])
        await service.publish(TOPIC, {"conversationId": "conv", "status": {"status": "SESSION_ONGOING"}})
        await service.publish(TOPIC, said("hel", final=False))
        await service.publish(TOPIC, said("hello"))
        await service.publish(TOPIC, said("hello"))
        await service.publish(TOPIC, said("hi there", utterance="u2", offset=4000.0))
        await service.publish(TOPIC, {"conversationId": "conv", "status": {"status": "SESSION_ENDED"}})
        with anyio.fail_after(60):
            await ended.wait()
        assert [(one.text, one.final) for one in heard] == [("hel", False), ("hello", True), ("hi there", True)]
        # beside a capture whose first sample is half a second before the first word
        origin_ms = 1_795_000_000_500
        placed = [pinned(one, origin_ms, 8000) for one in heard]
        assert [one.position for one in placed if one] == [4000, 4000, 28_000]
        assert service.topics == [()]


async def test_without_the_permission_it_says_which_is_missing() -> None:
    faults = ApiFaults(rejected_topics=((".transcription", "conversation:transcription:view"),))
    async with (
        cloud(api_faults=faults) as there,
        Notifications(there.api, config=PATIENT, clock=there.clock) as notifications,
    ):
        with pytest.raises(ConfigError, match="conversation:transcription:view"):
            async with transcription(notifications, "conv") as utterances:
                await anext(utterances)


async def test_a_refusal_that_comes_with_a_later_connection_is_told_too() -> None:
    faults = ApiFaults(rejected_topics=((".transcription", "conversation:transcription:view"),))
    async with (
        cloud(api_faults=faults) as there,
        Notifications(there.api, config=PATIENT, reconnect=SOON, clock=there.clock) as notifications,
    ):
        there.sim.gate.order("channel", (503, "service.unavailable"))
        there.sim.notifications.cut()
        await until(lambda: not notifications.connected)
        with pytest.raises(ConfigError, match="conversation:transcription:view"), anyio.fail_after(60):
            async with transcription(notifications, "conv") as utterances:
                await anext(utterances)


async def test_the_end_of_the_channel_is_the_end_of_the_transcript() -> None:
    async with (
        cloud(user="u") as there,
        Notifications(there.api, config=PATIENT, clock=there.clock) as notifications,
        anyio.create_task_group() as tasks,
    ):

        async def revoke() -> None:
            await until(lambda: there.sim.notifications.topics == [(TOPIC,)])
            await there.sim.notifications.revoke_tokens()

        tasks.start_soon(revoke)
        with pytest.raises(AuthError), anyio.fail_after(60):
            async with transcription(notifications, "conv") as utterances:
                await anext(utterances)


async def test_beside_a_capture_both_kinds_of_transcript_stand_at_the_same_samples() -> None:
    call = Call.demo()
    async with (
        cloud(calls={"conv": call}) as there,
        Notifications(there.api, config=PATIENT, clock=there.clock) as notifications,
        transcription(notifications, "conv") as utterances,
    ):
        heard: list[Transcript] = []
        async with capture(
            "conv", credentials=credentials(there.sim), profile=patient(there.clock.speed), clock=there.clock
        ) as running:
            async for _ in running:
                pass
            async for line in running.transcripts:
                heard.append(line)
        assert len(heard) >= 3
        rate = 8000
        origin_ms = heard[0].server_timestamp - heard[0].position * 1000 / rate
        for number, spoken in enumerate(call.utterances[: len(heard)]):
            body = said(spoken.text, utterance=f"u{number}", offset=spoken.start_ms)
            body["transcriptionStartTimeMs"] = origin_ms
            body["transcripts"][0]["alternatives"][0]["durationMs"] = spoken.duration_ms
            await there.sim.notifications.publish(TOPIC, body)
        for line in heard:
            placed = pinned(await anext(utterances), origin_ms, rate)
            assert placed is not None
            assert placed.text == line.text
            assert abs(placed.position - line.position) <= rate // 1000  # both tell whole milliseconds
