"""What the machine decides, case by case, in virtual time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest

from gcmedia.config import MuteConfig
from gcmedia.errors import (
    ApiError,
    AuthError,
    CallEnded,
    ConfigError,
    Forbidden,
    HandshakeError,
    InvalidAudioStateError,
    NoActiveCall,
    RetryExhausted,
    StateError,
    TooManyRequests,
    TransportError,
)
from gcmedia.mute import CallState, MuteResult, MuteState, MuteStatus, Observation
from gcmedia.mute.machine import Action, MuteMachine, Outcome, Read, Send, Wait, transient

NO_WINDOW = MuteConfig(coalesce_s=0.0, min_interval_s=0.0, read_interval_s=0.0)


class LeastJitter(random.Random):
    """Draws the lower bound."""

    def uniform(self, a: float, b: float) -> float:
        return a


@dataclass
class Bench:
    """A machine, and the time at which it is."""

    machine: MuteMachine
    now: float = 100.0

    def ask(self, muted: bool, *, confirm: bool = True) -> int:
        return self.machine.ask(muted, self.now, confirm=confirm)

    def step(self) -> Action:
        return self.machine.step(self.now)

    def until(self, kind: type[Action]) -> Action:
        """Wait for an action."""
        for _ in range(1000):
            action = self.step()
            if isinstance(action, kind):
                return action
            assert isinstance(action, Wait), action
            assert action.until < float("inf"), "it would wait for ever"
            self.now = max(self.now, action.until)
        raise AssertionError("it never came")

    def send(self, error: Exception | None = None) -> None:
        """Let it send, and be answered."""
        assert isinstance(self.until(Send), Send)
        self.machine.sent(self.now, error)  # type: ignore[arg-type]

    def read(self, muted: bool | None, state: CallState = CallState.CONNECTED) -> None:
        """Let it read, and be answered."""
        assert isinstance(self.until(Read), Read)
        self.machine.was_read(self.now, Observation(state, muted, "read"))

    def hear(self, muted: bool | None, state: CallState = CallState.UNKNOWN) -> None:
        self.machine.observe(Observation(state, muted, "event"), self.now)

    def lose(self) -> None:
        self.machine.observe(Observation(CallState.UNKNOWN, None, "lost"), self.now)

    def outcome(self, waiter: int) -> Outcome:
        """The one outcome of a waiter."""
        found = [outcome for number, outcome in self.machine.outcomes if number == waiter]
        assert len(found) == 1, found
        return found[0]

    def result(self, waiter: int) -> MuteResult:
        outcome = self.outcome(waiter)
        assert isinstance(outcome, MuteResult), outcome
        return outcome

    @property
    def state(self) -> MuteState:
        return self.machine.state


def bench(
    config: MuteConfig = NO_WINDOW, *, confirmed_by: str = "event", readable: bool = True, known: bool | None = False
) -> Bench:
    made = Bench(
        MuteMachine(config, confirmed_by=confirmed_by, readable=readable, rng=LeastJitter()),
    )
    if known is not None:
        if readable:
            made.read(known)
        else:
            made.hear(known, CallState.CONNECTED)
        made.now += 60.0  # so that the first word is old news
        if readable:
            made.machine.observe(Observation(CallState.CONNECTED, known, "event"), made.now - 10.0)
    return made


# The usual course


def test_000_28_accepted_is_not_muted_and_only_the_event_confirms() -> None:
    one = bench()
    waiter = one.ask(True)
    assert one.until(Send) == Send(True)
    one.now += 0.1
    one.machine.sent(one.now)
    assert one.machine.outcomes == []
    assert one.state == MuteState(CallState.CONNECTED, False, True, True)
    one.now += 0.45
    one.hear(True)
    result = one.result(waiter)
    assert (result.status, result.attempts, result.confirmed) == (MuteStatus.CONFIRMED, 1, True)
    assert result.latency_s == pytest.approx(0.55)  # 000-29: measured, not promised
    assert one.state == MuteState(CallState.CONNECTED, True, None, True)


def test_000_01_mute_and_unmute_are_idempotent_and_a_state_that_is_so_already_is_not_asked_for() -> None:
    one = bench(readable=False, known=True)
    waiter = one.ask(True)
    one.step()
    assert one.result(waiter).status is MuteStatus.ALREADY
    assert one.result(waiter).attempts == 0


def test_a_state_that_is_believed_already_is_read_first_when_the_word_on_it_is_old() -> None:
    one = bench(known=True)
    waiter = one.ask(True)
    one.read(False)  # a supervisor's change that no event told of
    one.send()
    one.now += 1
    one.hear(True)
    one.read(True)
    assert one.result(waiter).status is MuteStatus.CONFIRMED


def test_002_18_an_unknown_state_is_read_before_anything_is_sent() -> None:
    one = bench(known=None, confirmed_by="read")
    waiter = one.ask(True)
    one.read(True)
    assert one.result(waiter).status is MuteStatus.ALREADY


def test_002_18_reads_go_on_with_growing_gaps_until_one_agrees() -> None:
    one = bench(confirmed_by="read", known=None)
    waiter = one.ask(True)
    one.read(False)
    one.send()
    accepted = one.now
    times = []
    for _ in range(4):
        assert isinstance(one.until(Read), Read)
        times.append(one.now - accepted)
        one.machine.was_read(one.now, Observation(CallState.CONNECTED, False, "read"))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == pytest.approx(0.25)
    assert gaps == pytest.approx([0.375, 0.5625, 0.84375])
    one.read(True)
    assert one.result(waiter).status is MuteStatus.CONFIRMED


def test_002_18_a_field_that_is_missing_does_not_read_as_unmuted() -> None:
    one = bench(confirmed_by="read", known=None)
    waiter = one.ask(False)
    one.read(None)
    assert one.state.confirmed is None
    assert one.until(Send) == Send(False)
    one.machine.sent(one.now)
    one.read(None)
    assert one.state.confirmed is None
    one.read(False)
    assert one.result(waiter).status is MuteStatus.CONFIRMED


def test_a_confirmation_that_does_not_come_is_a_timeout_and_may_still_take_effect() -> None:
    one = bench(readable=False)
    waiter = one.ask(True)
    one.send()
    one.now += 4.9
    assert isinstance(one.step(), Wait)
    one.now += 0.2
    one.step()
    result = one.result(waiter)
    assert (result.status, result.confirmed) == (MuteStatus.TIMEOUT, False)
    again = one.ask(False)  # so it is, as far as known; but the request to mute may still take effect
    assert one.until(Send) == Send(False)
    one.machine.sent(one.now)
    one.hear(False)
    assert one.result(again).status is MuteStatus.CONFIRMED


def test_001_18_where_the_server_tells_nothing_accepted_is_all_that_is_claimed() -> None:
    one = bench(confirmed_by="none", readable=False, known=None)
    waiter = one.ask(True)
    one.send()
    assert one.result(waiter).status is MuteStatus.ACCEPTED
    assert one.state.confirmed is None
    again = one.ask(True)  # nobody knows, so it is sent again
    one.send()
    assert one.result(again).status is MuteStatus.ACCEPTED


def test_who_wants_no_confirmation_returns_at_the_acceptance() -> None:
    one = bench()
    quick, sure = one.ask(True, confirm=False), one.ask(True)
    one.send()
    assert one.result(quick).status is MuteStatus.ACCEPTED
    late = one.ask(True, confirm=False)
    assert one.result(late).status is MuteStatus.ACCEPTED
    one.hear(True)
    assert one.result(sure).status is MuteStatus.CONFIRMED


# Several wishes


def test_000_39_the_last_wish_wins_and_what_it_replaced_is_never_sent() -> None:
    one = bench(MuteConfig(coalesce_s=0.05))
    first = one.ask(True)
    one.now += 0.01
    second = one.ask(False)
    one.now += 0.01
    third = one.ask(True)
    assert one.result(first).status is MuteStatus.SUPERSEDED
    assert one.result(second).status is MuteStatus.SUPERSEDED
    assert one.until(Send) == Send(True)
    one.machine.sent(one.now)
    one.hear(True)
    assert one.result(third).status is MuteStatus.CONFIRMED


def test_000_39_an_attempt_that_was_superseded_is_not_repeated() -> None:
    one = bench()
    first = one.ask(True)
    one.send(TransportError("cut"))  # its fate is unknown, and another attempt would follow
    second = one.ask(False)
    assert one.result(first).status is MuteStatus.SUPERSEDED
    assert one.until(Send) == Send(False), "unmuted as far as known, but the lost request may have muted"
    one.machine.sent(one.now)
    one.hear(False)
    one.read(False)
    assert one.result(second).status is MuteStatus.CONFIRMED
    assert isinstance(one.step(), Wait)


def test_000_37_001_29_wishes_within_the_window_become_one_request_and_requests_keep_their_distance() -> None:
    one = bench(MuteConfig(coalesce_s=0.05, min_interval_s=0.25), readable=False)
    began = one.now
    one.ask(True)
    one.now += 0.04
    one.ask(False)
    one.now += 0.005
    one.ask(True)
    one.until(Send)
    assert one.now - began == pytest.approx(0.05)  # the window opened with the first, and was not drawn out
    one.machine.sent(one.now)
    one.hear(True)
    sent = one.now
    one.ask(False)
    one.until(Send)
    assert one.now - sent == pytest.approx(0.25)


def test_wishes_for_the_same_share_one_request_and_each_gets_its_result() -> None:
    one = bench()
    waiters = [one.ask(True) for _ in range(5)]
    one.send()
    waiters.append(one.ask(True))
    one.hear(True)
    assert {one.result(waiter).status for waiter in waiters} == {MuteStatus.CONFIRMED}
    assert len(one.machine.outcomes) == 6


def test_who_waits_is_counted_and_limited() -> None:
    one = bench()
    for _ in range(10_000):
        one.ask(True)
    with pytest.raises(StateError, match="10000 callers"):
        one.ask(True)


def test_000_24_a_wish_that_nobody_waits_for_is_neither_sent_nor_tried_again() -> None:
    one = bench()
    one.machine.withdraw(one.ask(True))
    assert isinstance(one.step(), Wait)
    waiter = one.ask(True)
    one.until(Send)
    one.machine.withdraw(waiter)
    one.machine.sent(one.now, TransportError("cut"))
    one.hear(False)
    assert isinstance(one.step(), Wait)


# The server's word


def test_000_32_a_supervisors_change_is_the_truth_and_is_not_fought() -> None:
    one = bench()
    waiter = one.ask(True)
    one.send()
    one.hear(True)
    assert one.result(waiter).status is MuteStatus.CONFIRMED
    one.machine.events.clear()
    one.now += 60
    one.hear(False)
    assert one.state.confirmed is None  # until a read agrees, it might be an old event
    one.read(False)
    assert one.state == MuteState(CallState.CONNECTED, False, None, True)
    assert [event.external for event in one.machine.events] == [False, True]
    assert isinstance(one.step(), Wait)


def test_001_30_after_a_supervisor_unmuted_a_wish_to_mute_is_sent_again() -> None:
    one = bench(readable=False, known=True)
    one.hear(False)
    assert one.state.confirmed is False
    one.ask(True)
    assert one.until(Send) == Send(True)


def test_000_31_an_event_of_an_older_request_confirms_nothing() -> None:
    one = bench()
    for muted in (True, False):
        one.ask(muted)
        one.send()
        one.now += 0.5
        one.read(muted)  # the events are late
    third = one.ask(True)
    one.send()  # accepted, but its effect takes its time
    one.hear(True)  # of the first
    assert one.machine.outcomes[-1][0] != third
    assert one.state.confirmed is None
    one.read(False)
    assert one.state.confirmed is False
    one.hear(True)  # of the third, or of the first once more: the same doubt, the same remedy
    one.read(True)
    assert one.result(third).status is MuteStatus.CONFIRMED


def test_a_duplicate_changes_nothing() -> None:
    one = bench()
    one.ask(True)
    one.send()
    one.hear(True)
    one.machine.events.clear()
    one.hear(True)
    assert one.state.confirmed is True
    assert one.machine.events == []


def test_verify_events_lets_a_read_follow_on_every_event() -> None:
    one = bench(MuteConfig(coalesce_s=0.0, verify_events=True))
    waiter = one.ask(True)
    one.send()
    one.hear(True)
    assert one.state.confirmed is None
    one.read(True)
    assert one.result(waiter).status is MuteStatus.CONFIRMED


def test_an_event_during_a_read_that_disagrees_with_it_leaves_doubt() -> None:
    one = bench(known=None)
    one.until(Read)
    one.hear(True)
    one.machine.was_read(one.now, Observation(CallState.CONNECTED, False, "read"))
    assert one.state.confirmed is None
    one.read(True)
    assert one.state.confirmed is True


def test_000_15_001_31_after_a_loss_the_state_is_unknown_until_it_is_read_again() -> None:
    one = bench(known=True)
    one.lose()
    assert one.state == MuteState(CallState.UNKNOWN, None, None, False)
    one.read(True)
    assert one.state.confirmed is True


def test_a_read_that_began_before_the_loss_settles_nothing() -> None:
    one = bench(known=None)
    one.until(Read)
    one.lose()
    one.machine.was_read(one.now, Observation(CallState.CONNECTED, False, "read"))
    assert one.state.confirmed is None
    one.read(False)
    assert one.state.confirmed is False


def test_where_nothing_can_be_read_a_command_lost_with_its_connection_is_sent_again() -> None:
    one = bench(readable=False)
    waiter = one.ask(True)
    one.send()
    one.lose()
    one.now += 1.0
    one.hear(False, CallState.CONNECTED)  # told at the new sign-in
    assert one.until(Send) == Send(True)
    one.machine.sent(one.now)
    one.hear(True)
    result = one.result(waiter)
    assert (result.status, result.attempts) == (MuteStatus.CONFIRMED, 2)


def test_a_quiet_state_is_read_again_after_a_while() -> None:
    one = bench(MuteConfig(resync_s=30.0), confirmed_by="read", known=None)
    one.read(True)
    before = one.now
    one.read(False)
    assert one.now - before == pytest.approx(30.0)
    assert one.machine.events[-1].external


# The state of the call


@pytest.mark.parametrize("state", [CallState.IDLE, CallState.CONNECTING, CallState.DISCONNECTED])
def test_000_18_000_19_muting_is_refused_at_once_in_other_states(state: CallState) -> None:
    one = bench(readable=False)
    one.hear(None, state)
    assert not one.state.can_mute
    with pytest.raises(InvalidAudioStateError, match="connected or ringing") as caught:
        one.ask(True)
    assert caught.value.state == state
    assert caught.value.expected == ("connected", "ringing")


def test_000_18_000_38_ringing_is_allowed_by_default_and_refused_by_the_strict_choice() -> None:
    loose = bench(readable=False)
    loose.hear(None, CallState.RINGING)
    assert loose.state.can_mute
    loose.ask(True)
    strict = bench(MuteConfig(mutable_states=("connected",)), readable=False)
    strict.hear(None, CallState.RINGING)
    assert not strict.state.can_mute
    with pytest.raises(InvalidAudioStateError, match=r"must be connected$"):
        strict.ask(True)


def test_000_20_the_state_is_checked_again_before_every_attempt() -> None:
    one = bench()
    waiter = one.ask(True)
    one.send(TransportError("cut"))
    one.hear(None, CallState.CONNECTING)
    one.read(False, CallState.CONNECTING)
    one.step()
    assert isinstance(one.outcome(waiter), InvalidAudioStateError)


def test_000_30_the_end_of_the_call_ends_a_wish_and_makes_the_state_unknown() -> None:
    one = bench()
    waiter = one.ask(True)
    one.send()
    one.hear(None, CallState.DISCONNECTED)
    assert one.result(waiter).status is MuteStatus.CALL_ENDED
    assert one.state == MuteState(CallState.DISCONNECTED, None, None, False)


def test_002_20_a_call_that_is_gone_when_it_is_asked_for_is_ended() -> None:
    one = bench()
    waiter = one.ask(True)
    one.send(CallEnded("gone", status=404))
    result = one.result(waiter)
    assert result.status is MuteStatus.CALL_ENDED
    with pytest.raises(NoActiveCall, match="the call was over"):
        result.check()


def test_002_12_no_call_is_told_to_who_asks() -> None:
    one = bench(known=None, confirmed_by="read")
    waiter = one.ask(True)
    one.until(Read)
    one.machine.was_read(one.now, None, NoActiveCall("none"))
    assert isinstance(one.outcome(waiter), NoActiveCall)
    assert one.state.call_state is CallState.IDLE
    with pytest.raises(InvalidAudioStateError):
        one.ask(True)
    one.now += 10  # it may have changed: it is read again
    again = one.ask(True)
    one.read(True)
    assert one.result(again).status is MuteStatus.ALREADY


# Errors


def test_000_22_000_23_three_attempts_and_two_waits_within_the_published_bounds() -> None:
    one = bench(MuteConfig(coalesce_s=0.0, min_interval_s=0.0))
    waiter = one.ask(True)
    times = []
    for _ in range(3):
        one.until(Send)
        times.append(one.now)
        one.machine.sent(one.now, TooManyRequests("slow down", status=429))
    assert times[1] - times[0] == pytest.approx(0.5)  # the least of 0.5 to 1 s
    assert times[2] - times[1] == pytest.approx(1.0)  # the least of 1 to 2 s
    outcome = one.outcome(waiter)
    assert isinstance(outcome, RetryExhausted)  # 000-25
    assert outcome.attempts == 3
    assert isinstance(outcome.__cause__, TooManyRequests)


def test_000_23_jitter_is_drawn_from_half_to_all_of_the_wait() -> None:
    waits = []
    for seed in range(200):
        machine = MuteMachine(NO_WINDOW, confirmed_by="event", readable=False, rng=random.Random(seed))
        machine.ask(True, 0.0)
        machine.step(0.0)
        machine.sent(0.0, TransportError("cut"))
        waits.append(machine.events[-1].wait_s)
    assert 0.5 <= min(waits) < 0.55
    assert 0.95 < max(waits) <= 1.0


def test_000_26_each_retry_is_told_with_attempt_wait_and_reason() -> None:
    one = bench()
    one.ask(True)
    one.send(TransportError("cut"))
    event = one.machine.events[-1]
    assert (event.kind, event.attempt, event.wait_s, event.reason) == ("retry", 1, 0.5, "cut")


def test_000_23_retry_after_is_never_undercut_not_even_by_another_wish() -> None:
    one = bench()
    one.ask(True)
    one.send(TooManyRequests("slow down", status=429, retry_after=7.0))
    refused = one.now
    one.ask(False)
    one.until(Read)  # whether it is so already
    assert one.now - refused == pytest.approx(7.0)
    one.machine.was_read(one.now, Observation(CallState.CONNECTED, True, "read"))
    assert one.until(Send) == Send(False)


def test_000_23_who_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    one = bench(MuteConfig(coalesce_s=0.0, max_retry_after_s=180.0))
    waiter = one.ask(True)
    one.send(TooManyRequests("slow down", status=429, retry_after=181.0))
    assert isinstance(one.outcome(waiter), RetryExhausted)
    later = one.ask(True)
    one.now += 0.5
    one.step()
    assert isinstance(one.outcome(later), RetryExhausted)


def test_000_32_000_36_a_refusal_is_a_result_with_its_reason_and_is_not_repeated() -> None:
    one = bench()
    waiter = one.ask(True)
    one.send(Forbidden("a policy forbids it", status=403, code="authz.policy.denied"))
    result = one.result(waiter)
    assert (result.status, result.attempts, result.confirmed) == (MuteStatus.REJECTED, 1, False)
    with pytest.raises(Forbidden, match="a policy"):
        result.check()
    assert isinstance(one.step(), Wait)
    again = one.ask(False)  # a refused request cannot take effect, so nothing has to be sent against it
    one.read(False)
    assert one.result(again).status is MuteStatus.ALREADY


def test_001_22_001_30_a_refusal_that_comes_behind_the_acceptance_rolls_back() -> None:
    one = bench(readable=False)
    waiter = one.ask(True)
    one.send()
    refusal = Forbidden("a policy forbids it", status=403)
    one.machine.observe(Observation(CallState.UNKNOWN, False, "refused", refusal), one.now)
    assert one.machine.outcomes == [], "a refusal to unmute is another request's"
    one.machine.observe(Observation(CallState.UNKNOWN, True, "refused", refusal), one.now)
    assert one.result(waiter).status is MuteStatus.REJECTED
    assert one.state.confirmed is False
    one.ask(True)
    assert one.until(Send) == Send(True), "a wish that failed can be repeated"


def test_001_29_a_429_that_comes_behind_the_acceptance_is_waited_for() -> None:
    one = bench(readable=False)
    one.ask(True)
    one.send()
    sent = one.now
    refusal = TooManyRequests("slow down", status=429, retry_after=3.0)
    one.machine.observe(Observation(CallState.UNKNOWN, True, "refused", refusal), one.now)
    one.until(Send)
    assert one.now - sent == pytest.approx(3.0)


def test_an_error_that_is_no_refusal_is_raised() -> None:
    one = bench()
    waiter = one.ask(True)
    one.send(AuthError("the token is not accepted", status=401))
    assert isinstance(one.outcome(waiter), AuthError)


def test_a_read_that_is_refused_leaves_the_confirmation_to_events() -> None:
    one = bench()
    waiter = one.ask(True)
    one.send()
    one.until(Read)
    one.machine.was_read(one.now, None, Forbidden("may not read", status=403))
    one.now += 0.1
    one.hear(True)
    assert one.result(waiter).status is MuteStatus.CONFIRMED
    assert one.result(waiter).error is None


def test_the_end_of_the_strategy_is_told_to_all_and_makes_the_state_unknown() -> None:
    one = bench()
    waiter, reader = one.ask(True), one.machine.refresh(one.now)
    one.machine.close(AuthError("no more tokens"))
    assert isinstance(one.outcome(waiter), AuthError)
    assert isinstance(one.outcome(reader), AuthError)
    assert one.state.confirmed is None
    with pytest.raises(AuthError, match="no more tokens"):
        one.ask(True)


def test_each_waiter_gets_an_error_of_its_own() -> None:
    one = bench()
    waiters = [one.ask(True), one.ask(True)]
    one.send(InvalidAudioStateError("no", state="idle", expected=("connected",)))
    first, second = (one.outcome(waiter) for waiter in waiters)
    assert first is not second
    assert isinstance(first, InvalidAudioStateError)
    assert (first.state, first.expected) == ("idle", ("connected",))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(ApiError("", status=408), True, id="408"),
        pytest.param(ApiError("", status=425), True, id="425"),
        pytest.param(TooManyRequests("", status=429), True, id="429"),
        pytest.param(ApiError("", status=500), True, id="500"),
        pytest.param(ApiError("", status=501), False, id="501"),
        pytest.param(ApiError("", status=503), True, id="503"),
        pytest.param(ApiError("", status=400), False, id="400"),
        pytest.param(Forbidden("network access forbidden", status=403), False, id="403 with the word network"),
        pytest.param(TransportError("reset"), True, id="transport"),
        pytest.param(HandshakeError("", status=403), False, id="handshake 403"),
        pytest.param(HandshakeError("", status=503), True, id="handshake 503"),
        pytest.param(AuthError(""), False, id="auth"),
        pytest.param(ValueError("network"), False, id="words count for nothing"),
    ],
)
def test_000_24_what_may_pass_is_told_by_type_and_status_never_by_words(error: Exception, expected: bool) -> None:
    assert transient(error) is expected


# Settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("mutable_states", ()),
        ("mutable_states", ("muted",)),
        ("mutable_states", ("disconnected",)),
        ("attempts", 0),
        ("base_s", -1.0),
        ("base_s", float("nan")),
        ("cap_s", 0.5),
        ("jitter_low", 1.5),
        ("confirm_timeout_s", 0.0),
        ("poll_cap_s", 0.1),
        ("resync_s", 0.0),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=setting.split("_")[0]):
        MuteConfig(**{setting: value})  # type: ignore[arg-type]


def test_000_22_000_37_002_24_published_defaults() -> None:
    config = MuteConfig()
    assert (config.attempts, config.base_s, config.factor, config.jitter_low) == (3, 1.0, 2.0, 0.5)
    assert config.mutable_states == ("connected", "ringing")
    assert config.confirm_timeout_s == 5.0
    assert MuteConfig(base_s=2.0).base_s == 2.0  # for a congested server
    sessions = MuteConfig.interactive_sessions()
    assert (sessions.attempts, sessions.base_s, sessions.jitter_low) == (4, 1.0, 1.0)  # waits of 1, 2 and 4 s
