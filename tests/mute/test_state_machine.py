"""Any order of wishes, losses, supervisors and waiting, found by hypothesis; the claims are those of `World`."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gcmedia.config import MuteConfig
from gcmedia.simulator import MuteFaults
from tests.mute.world import World

SHARE = st.sampled_from([0.0, 0.2, 0.5])
SPAN = st.sampled_from([(0.0, 0.0), (0.0, 0.5), (0.2, 4.0)])


class Muting(RuleBasedStateMachine):
    """One agent, whatever happens to him."""

    world: World

    @initialize(
        way=st.sampled_from([("event", True), ("read", True), ("event", False)]),
        seed=st.integers(0, 2**32),
        muted=st.booleans(),
        verify=st.booleans(),
        effects=SPAN,
        tellings=SPAN,
        shares=st.tuples(SHARE, SHARE, SHARE, SHARE, SHARE, SHARE),
    )
    def begin(
        self,
        way: tuple[str, bool],
        seed: int,
        muted: bool,
        verify: bool,
        effects: tuple[float, float],
        tellings: tuple[float, float],
        shares: tuple[float, float, float, float, float, float],
    ) -> None:
        lost, untold, doubled, throttled, undone, cut = shares
        self.world = World(
            seed,
            MuteFaults(
                seed=seed,
                effect_delay_s=effects,
                effect_loss=lost,
                event_delay_s=tellings,
                event_loss=untold,
                event_duplicates=doubled,
                event_late=0.2,
                event_late_s=7.0,
                throttled=throttled,
                retry_after_s=2.0,
                overrides=undone,
                cuts=cut,
            ),
            MuteConfig(verify_events=verify, resync_s=15.0),
            confirmed_by=way[0],
            readable=way[1],
            muted=muted,
            strict=way[1] and verify,
        )
        self.waiters: list[int] = []

    @rule(muted=st.booleans(), confirm=st.booleans())
    def ask(self, muted: bool, confirm: bool) -> None:
        waiter = self.world.ask(muted, confirm=confirm)
        if isinstance(waiter, int):
            self.waiters.append(waiter)

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.world.cancel(data.draw(st.sampled_from(self.waiters)))

    @rule()
    def refresh(self) -> None:
        self.world.refresh()

    @rule(muted=st.booleans())
    def supervise(self, muted: bool) -> None:
        self.world.supervise(muted)

    @rule(away_s=st.floats(0.0, 5.0))
    def lose(self, away_s: float) -> None:
        self.world.lose(away_s)

    @precondition(lambda self: not self.world.leg.over)
    @rule(state=st.sampled_from(["ringing", "connected", "connecting", "disconnected"]))
    def move(self, state: str) -> None:
        self.world.leg.move(state, self.world.now)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.06, 0.3, 1.0, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @invariant()
    def confirmed_is_what_was_said_last(self) -> None:
        if hasattr(self, "world"):
            confirmed = self.world.machine.state.confirmed
            assert confirmed is None or confirmed is self.world.last_said

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.leg.order(MuteFaults())
            self.world.run(120.0)
            assert not self.world.open, "a waiter got no result"


# Shrinking a history takes minutes; the seed and the rules that were run are shown as they are.
TestMuting = Muting.TestCase
TestMuting.settings = settings(
    max_examples=120, stateful_step_count=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
