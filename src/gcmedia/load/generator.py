"""The sessions of one process: opened at a rate, served by one wheel, held, and closed."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

from websockets.uri import parse_uri

from ..dialects.audiohook import AudioHookClientConfig, ClientMachine, Media, Open, Participant
from ..errors import ConfigError
from ..simulator.audiohook import Caller, Speech
from .frames import Piece, pieces_of
from .plan import LoadPlan
from .session import CONNECT_TIMEOUT_S, LoadSession
from .tally import Tally

__all__ = ["Generator", "run_generator"]

SLOT_S = 0.005
MAX_CONNECTING = 512  # at a time; further ones wait, and the rate is missed
GROUP = 16  # sessions between two looks at the clock
END_S = 15.0  # for all sessions to end

_now = time.monotonic


class Generator:
    """Load on a server from one event loop.

    Parameters
    ----------
    plan : LoadPlan
        What to do.
    worker : int
        Which share of it.
    start : float
        When, on the monotonic clock.
    pieces : list of Piece, optional
        What `prepare` made.
    on_second : callable, optional
        ``on_second(number, second)`` with each `Second` of the run that is over.
    on_late : callable, optional
        Called with the first pong that is late.

    Attributes
    ----------
    tally : Tally
        What came of it so far.
    loop : asyncio.AbstractEventLoop
        Where it runs.
    pieces : list of Piece
        One loop of the audio.
    piece_samples : int
        In each of them.
    """

    def __init__(
        self,
        plan: LoadPlan,
        worker: int = 0,
        start: float | None = None,
        *,
        pieces: list[Piece] | None = None,
        on_second: Callable[[int, Any], object] | None = None,
        on_late: Callable[[], object] | None = None,
    ) -> None:
        self.plan = plan
        self.uri = parse_uri(plan.url)
        self.tally = Tally()
        self.media = _media(plan)
        self.pieces = self.prepare(plan) if pieces is None else pieces
        self.piece_samples = self.media.rate * plan.frame_ms // 1000
        self._worker = worker
        self._on_second = on_second
        self._on_late = on_late
        self._start = _now() if start is None else start
        self._slots: list[list[LoadSession]] = [[] for _ in range(max(1, int(plan.frame_ms / 1000 / SLOT_S)))]
        self._slot_s = plan.frame_ms / 1000 / len(self._slots)
        self._next = 0  # slot to be served
        self._wheel_began = self._start
        self._n_placed = 0
        self._n_open = 0
        self._second = -1
        self._enough = asyncio.Event()  # open no more
        self._stop = asyncio.Event()  # hold no longer
        self._sessions: dict[LoadSession, int] = {}  # the slot of each
        self._all_ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._config = AudioHookClientConfig()
        self.loop = asyncio.get_running_loop()
        self._ssl: ssl_module.SSLContext | None = ssl_module.create_default_context() if self.uri.secure else None

    @staticmethod
    def prepare(plan: LoadPlan) -> list[Piece]:
        """One loop of the plan's audio, ahead of time."""
        speech = Speech.from_wavs(plan.speech) if plan.speech else Speech.shipped()
        return pieces_of(speech, _media(plan), plan.frame_ms)

    async def run(self) -> Tally:
        """Open, hold and close all sessions."""
        self._wheel_began = self._start
        await _sleep_until(self._start)
        self._turn()
        try:
            await self._open_all()
            held_from, cpu = _now(), time.process_time()
            try:
                await asyncio.wait_for(self._stop.wait(), self.plan.seconds)
            except TimeoutError:
                pass
            self.tally.hold(held_from, _now(), time.process_time() - cpu)
            await self._close_all()
        finally:
            assert self._timer is not None
            self._timer.cancel()
        self._end_second(self._second)
        self.tally.cpu_s = time.process_time()
        return self.tally

    def enough(self) -> None:
        """Open no more sessions, and begin to hold those that there are."""
        self._enough.set()

    def stop(self) -> None:
        """Open no more sessions, hold them no longer, and close them."""
        self._enough.set()
        self._stop.set()

    # Its sessions'

    def fits(self, media: Media | None) -> bool:
        """Whether this is what was asked for."""
        return media is None if self.plan.idle else media == self.media

    def place(self, session: LoadSession) -> None:
        """A session has a connection: give it a place on the wheel."""
        # 37 is prime to the number of slots, so that neighbours in time are none on the wheel.
        slot = (self._n_placed * 37) % len(self._slots)
        self._n_placed += 1
        self._slots[slot].append(session)
        self._sessions[session] = slot

    def opened(self, took_s: float) -> None:
        """A session was opened."""
        self.tally.opened += 1
        self.tally.opened_after.add(took_s)
        self._n_open += 1

    def pong(self, rtt_s: float, now: float) -> None:
        """A ping was answered."""
        tally = self.tally
        tally.rtt.add(rtt_s)
        second = tally.second(int(now - self._start))
        second.rtt.add(rtt_s)
        if rtt_s > self.plan.late_pong_s:
            tally.late_pongs += 1
            second.late_pongs += 1
            if tally.first_late is None:
                tally.first_late = now - self._start
                if self._on_late is not None:
                    self._on_late()
            if self.plan.stop_when_late:
                self._enough.set()

    def ended(self, session: LoadSession, cause: str) -> None:
        """The connection of a session is gone."""
        tally, machine = self.tally, session.machine
        slot = self._sessions.pop(session, None)
        if slot is not None:
            self._slots[slot].remove(session)
        self._n_open -= session.was_open
        tally.frames_sent += machine.sent_frames
        tally.samples_sent += machine.sent_samples
        tally.octets_sent += machine.sent_samples * (machine.media.block_octets if machine.media else 0)
        if cause:
            self.failed(cause)
        else:
            tally.clean += 1
        if not self._sessions:
            self._all_ended.set()

    def failed(self, cause: str) -> None:
        """A session failed."""
        self.tally.failed += 1
        self.tally.failures[cause] += 1

    # The wheel

    def _turn(self) -> None:
        """Serve the slots that are due, and come again for the next."""
        now = _now()
        due = self._wheel_began + self._next * self._slot_s
        while due <= now:
            self._serve(self._slots[self._next % len(self._slots)], due)
            self._next += 1
            due += self._slot_s
            now = _now()
        self._timer = self.loop.call_later(max(0.0, due - now), self._turn)

    def _serve(self, slot: list[LoadSession], due: float) -> None:
        now = _now()
        second = int(now - self._start)
        if second != self._second:
            self._end_second(self._second)
            self._second = second
        if not slot:
            return
        lag, lag_now = self.tally.lag, self.tally.second(second).lag
        sessions = tuple(slot)  # sessions may end meanwhile
        for begin in range(0, len(sessions), GROUP):
            sent = 0
            for session in sessions[begin : begin + GROUP]:
                sent += session.tick(now)
            now = _now()
            if sent:
                lag.add(now - due, sent)
                lag_now.add(now - due, sent)

    def _end_second(self, number: int) -> None:
        if number < 0:
            return
        second = self.tally.second(number)
        second.open = self._n_open
        if self._on_second is not None:
            self._on_second(number, second)

    # Opening and closing

    async def _open_all(self) -> None:
        rate = self.plan.rate_per_s / self.plan.workers
        connecting: set[asyncio.Task[None]] = set()
        room = asyncio.Semaphore(MAX_CONNECTING)

        async def connect() -> None:
            async with room:
                await self._connect()

        for number in range(self.plan.share(self._worker)):
            await _sleep_until(self._start + (number + self._worker / self.plan.workers) / rate, self._enough)
            if self._enough.is_set():
                break
            while len(connecting) >= MAX_CONNECTING:
                await asyncio.wait(connecting, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(connect())
            connecting.add(task)
            task.add_done_callback(connecting.discard)
        while connecting:
            await asyncio.wait(set(connecting))
        # Each is opened or given up within the timeouts of upgrade and open.
        while not self._stop.is_set() and any(session.opening for session in self._sessions):
            await _sleep_until(_now() + 0.1, self._stop)

    async def _connect(self) -> None:
        """Connect; what follows is the protocol's."""
        organization_id = str(uuid4())
        caller = Caller(self.plan.api_key, self.plan.secret, organization_id)
        media = () if self.plan.idle else (self.media,)
        offer = Open(organization_id, str(uuid4()), Participant(str(uuid4())), media)
        machine = ClientMachine(offer, session_id=caller.session_id, config=self._config)
        place = (self.tally.started * 37) % len(self.pieces)
        session = LoadSession(self, machine, caller.headers(self.plan.url, time.time()), place)
        options: dict[str, Any] = {"ssl": self._ssl} if self._ssl else {}
        self.tally.started += 1
        try:
            await asyncio.wait_for(
                self.loop.create_connection(lambda: session, self.uri.host, self.uri.port, **options),
                CONNECT_TIMEOUT_S,
            )
        except TimeoutError:
            self.failed("connect: timeout")
        except OSError as error:
            self.failed(f"connect: {type(error).__name__}")

    async def _close_all(self) -> None:
        sessions = list(self._sessions)
        began = _now()
        for number, session in enumerate(sessions):
            if number % GROUP == 0:
                await _sleep_until(began + self.plan.close_s * number / len(sessions))
            if not session.done:
                session.close(_now())
        if self._sessions:
            self._all_ended.clear()
            try:
                await asyncio.wait_for(self._all_ended.wait(), END_S)
            except TimeoutError:
                pass
        for session in list(self._sessions):
            session.abort("never ended")
        await asyncio.sleep(0)


def _media(plan: LoadPlan) -> Media:
    return Media(plan.format, ("external", "internal") if plan.stereo else ("external",))


async def _sleep_until(moment: float, unless: asyncio.Event | None = None) -> None:
    seconds = moment - _now()
    if seconds <= 0:
        return
    if unless is None:
        await asyncio.sleep(seconds)
        return
    try:
        await asyncio.wait_for(unless.wait(), seconds)
    except TimeoutError:
        pass


def run_generator(plan: LoadPlan, make: Callable[[], Generator], began: Callable[[Generator], object]) -> Tally:
    """Run a generator on the loop of the plan, to its end.

    Raises
    ------
    ConfigError
        If uvloop is asked for and is not there.
    """

    async def main() -> Tally:
        generator = make()
        began(generator)
        return await generator.run()

    loop_factory = loop_of(plan)[1]
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def loop_of(plan: LoadPlan) -> tuple[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    """Name and factory of the plan's event loop."""
    there = find_spec("uvloop") is not None
    if plan.loop == "uvloop" and not there:
        raise ConfigError("uvloop is not installed: pip install 'gcmedia[fast]'")
    if plan.loop == "asyncio" or not there:
        return "asyncio", None
    import uvloop

    return "uvloop", uvloop.new_event_loop
