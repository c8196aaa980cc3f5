"""The simulator's agents: one truth, and what clients are told of it."""

from __future__ import annotations

import pytest

from gcmedia.errors import ConfigError
from gcmedia.simulator import AgentLeg, Agents, LegChange, LegWatch, MuteFaults


def leg(faults: MuteFaults | None = None, **settings: bool | str) -> AgentLeg:
    made = AgentLeg("leg-1", conversation_id="conv-1", user_id="user-1", **settings)  # type: ignore[arg-type]
    made.order(faults or MuteFaults())
    return made


def told(watch: LegWatch, until: float) -> list[tuple[float, bool]]:
    heard = []
    for tenth in range(int(until * 10) + 1):
        heard += [(tenth / 10, change.muted) for change in watch.take(tenth / 10)]
    return heard


def test_a_request_takes_effect_after_its_delay_and_is_told_after_another() -> None:
    one = leg(MuteFaults(effect_delay_s=(1.0, 1.0), event_delay_s=(0.5, 0.5)))
    watch = one.watch()
    one.request(True, 10.0)
    assert not one.read(10.9).muted
    assert one.read(11.0) == LegChange(11.0, "connected", True, "client")
    assert watch.take(11.4) == []
    assert [change.muted for change in watch.take(11.5)] == [True]
    assert watch.next_at == float("inf")


def test_what_changes_nothing_is_no_change() -> None:
    one = leg(muted=True)
    watch = one.watch()
    one.request(True, 1.0)
    assert len(one.history) == 1
    assert watch.take(2.0) == []


def test_a_supervisor_undoes_what_a_client_did_by_order() -> None:
    one = leg(MuteFaults(overrides=1.0, override_delay_s=(2.0, 2.0)))
    one.request(True, 1.0)
    assert one.read(2.9).muted
    assert one.read(3.0) == LegChange(3.0, "connected", False, "supervisor")
    assert [change.by for change in one.history] == ["start", "client", "supervisor"]


def test_tellings_are_lost_doubled_and_late_by_order() -> None:
    lost = leg(MuteFaults(event_loss=1.0)).watch()
    lost.leg.supervise(True, 0.0)
    assert told(lost, 5.0) == []
    doubled = leg(MuteFaults(event_duplicates=1.0)).watch()
    doubled.leg.supervise(True, 0.0)
    assert told(doubled, 1.0) == [(0.0, True), (0.0, True)]
    late = leg(MuteFaults(event_late=1.0, event_late_s=2.0)).watch()
    late.leg.supervise(True, 0.0)
    late.leg.order(MuteFaults())
    late.leg.supervise(False, 1.0)
    assert told(late, 3.0) == [(1.0, False), (2.0, True)]
    late.close()
    late.leg.supervise(True, 4.0)
    assert late.take(9.0) == []


def test_refusals_ask_for_a_wait_and_count_who_does_not_keep_it() -> None:
    one = leg(MuteFaults(throttled=1.0, retry_after_s=3.0))
    refusal = one.refusal(True, 10.0)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (429, 3.0)
    again = one.refusal(True, 12.0)
    assert again is not None
    assert (again.status, again.retry_after_s, one.undercuts) == (429, 1.0, 1)
    one.order(MuteFaults(denies=(True,)))
    assert one.refusal(False, 13.0) is None
    policy = one.refusal(True, 13.0)
    assert policy is not None
    assert (policy.status, policy.code) == (403, "authz.policy.denied")
    assert one.refusal(None, 13.0) is None  # reading is not forbidden
    assert [muted for _, muted in one.asked] == [True, True, False, True]


def test_the_same_seed_gives_the_same_history() -> None:
    def play() -> tuple[LegChange, ...]:
        one = leg(MuteFaults(seed=5, effect_delay_s=(0.0, 2.0), effect_loss=0.3, overrides=0.5))
        for second in range(50):
            one.request(second % 2 == 0, float(second))
        one.advance(100.0)
        return one.history

    assert play() == play()


def test_a_leg_that_is_over_stays_as_it_was() -> None:
    one = leg()
    one.move("disconnected", 1.0)
    one.request(True, 2.0)
    assert one.over
    assert not one.read(3.0).muted
    with pytest.raises(ConfigError, match="state is 'asleep'"):
        one.move("asleep", 4.0)


def test_legs_are_found_by_any_of_their_names() -> None:
    legs = [
        AgentLeg(f"leg-{number}", conversation_id=f"conv-{number % 2}", user_id=f"user-{number % 3}")
        for number in range(6)
    ]
    agents = Agents(legs)
    assert list(agents.find(leg_id="leg-4")) == [legs[4]]
    assert list(agents.find(conversation_id="conv-1", user_id="user-0")) == [legs[3]]
    assert list(agents.find()) == legs


@pytest.mark.parametrize(
    "setting", [{"event_loss": 1.5}, {"effect_delay_s": (2.0, 1.0)}, {"retry_after_s": -1.0}, {"cuts": float("nan")}]
)
def test_faults_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        MuteFaults(**setting)  # type: ignore[arg-type]
