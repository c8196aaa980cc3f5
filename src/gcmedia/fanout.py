"""One producer, several consumers, each with a bounded queue and a named policy for when it is full."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import anyio

from .errors import ConfigError

__all__ = ["OVERFLOW_POLICIES", "Fanout", "Latch", "Stream"]

T = TypeVar("T")
logger = logging.getLogger("gcmedia.fanout")

#: What a full queue does: lose its oldest item, refuse the newest, or make the producer wait.
OVERFLOW_POLICIES = ("drop_oldest", "drop_newest", "wait")
#: Items that a waiting producer may still hand over, beyond the bound, once it is told to wait no more.
HURRIED_ITEMS = 4096


class Latch:
    """`anyio.Event`, of which thousands may lie about: the event is made when somebody waits."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: anyio.Event | None = None

    def is_set(self) -> bool:
        """Whether it has come to pass."""
        return self._set

    def set(self) -> None:
        """Let it come to pass; whoever waits goes on."""
        self._set = True
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        """Wait until it has."""
        if self._set:
            return
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()


_NONE: deque[Any] = deque()  # of every queue that nothing has been put into: an empty one takes 700 octets


class Stream(Generic[T]):
    """One consumer's queue; an async iterator.  Several tasks may share it, each item goes to one of them.

    Attributes
    ----------
    dropped : int
        Items lost to the policy so far; the first one, and each ten-fold after it, is also logged.
    """

    def __init__(self, name: str, max_items: int, overflow: str) -> None:
        if max_items < 1:
            raise ConfigError(f"max_items is {max_items}, less than 1")
        if overflow not in OVERFLOW_POLICIES:
            raise ConfigError(f"overflow is {overflow!r}, not one of {', '.join(OVERFLOW_POLICIES)}")
        self.name = name
        self.max_items = max_items
        self.overflow = overflow
        self.dropped = 0
        self._items: deque[T] = _NONE
        self._wake = Latch()
        self._room = Latch()
        self._closed = False
        self._held = False
        self._failure: BaseException | None = None

    @property
    def congested(self) -> bool:
        """Whether the producer has to wait."""
        return self.overflow == "wait" and len(self._items) >= self.max_items and not self._closed

    def put(self, item: T) -> None:
        """Hand an item over; never waits."""
        if self._closed:
            return
        if self._items is _NONE:
            self._items = deque()
        if len(self._items) >= self.max_items and self.overflow != "wait":
            self._drop()
            if self.overflow == "drop_newest":
                return
            self._items.popleft()
        self._items.append(item)
        self._wake.set()

    def put_many(self, items: Sequence[T]) -> None:
        """Hand items over, and wake the consumer once; never waits."""
        if self._closed or not items:
            return
        if self._items is _NONE:
            self._items = deque()
        excess = len(self._items) + len(items) - self.max_items
        if excess > 0 and self.overflow != "wait":
            self._drop(excess)
            if self.overflow == "drop_newest":
                items = items[: len(items) - excess] if excess < len(items) else ()
            else:
                for _ in range(min(excess, len(self._items))):
                    self._items.popleft()
                items = items[-self.max_items :]
        self._items.extend(items)
        self._wake.set()

    def _drop(self, count: int = 1) -> None:
        for _ in range(count):
            self.dropped += 1
            if str(self.dropped).strip("0") == "1":  # 1, 10, 100, ...
                logger.warning("%s: queue of %d is full, %d dropped so far", self.name, self.max_items, self.dropped)

    async def wait_room(self) -> None:
        """Wait until the consumer has taken something."""
        while self.congested:
            if self._room.is_set():  # else somebody waits for it already, and shall not be forgotten
                self._room = Latch()
            await self._room.wait()

    def hold(self) -> None:
        """Give the consumer nothing until `release`; the queue goes on filling, up to its bound."""
        self._held = True

    def release(self, *, clear: bool = False) -> None:
        """Go on; with ``clear`` what has queued up is dropped, and counted."""
        self._held = False
        if clear:
            self._drop(len(self._items))
            self._items.clear()
            self._room.set()
        self._wake.set()

    def finish(self, failure: BaseException | None = None) -> None:
        """No more items; the consumer gets what is queued, then the failure, if any, once."""
        self._failure = failure
        self._closed = True
        self._held = False
        self._wake.set()
        self._room.set()

    def hurry(self) -> None:
        """From now on the producer does not wait: the consumer has left, or will take what is there later.

        What it still has goes beyond the bound, by 4,096 items at most; then the oldest give way.
        """
        if self.overflow == "wait":
            self.overflow = "drop_oldest"
            self.max_items += HURRIED_ITEMS
        self._room.set()

    def close(self) -> None:
        """Stop consuming; the queue is emptied and the producer no longer waits for it."""
        self._items.clear()
        self.finish()

    @property
    def closed(self) -> bool:
        """Whether no more items will come."""
        return self._closed

    @property
    def failure_pending(self) -> BaseException | None:
        """The failure that the consumer has not been told of yet."""
        return self._failure

    def take_nowait(self) -> list[T]:
        """Everything that is queued, without waiting; for a consumer that looks in now and then, from any thread."""
        taken: list[T] = []
        while self._items and not self._held:
            try:
                taken.append(self._items.popleft())
            except IndexError:  # the producer has just made room
                break
        return taken

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items or self._held:
            if self._closed:
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                raise StopAsyncIteration
            if self._wake.is_set():
                self._wake = Latch()
            await self._wake.wait()
        item = self._items.popleft()
        self._room.set()
        return item


class Fanout(Generic[T]):
    """Hand every item to every stream subscribed at the moment."""

    def __init__(self) -> None:
        self._streams: list[Stream[T]] = []
        self._dropped_by_closed = 0

    def subscribe(self, name: str, *, max_items: int, overflow: str = "drop_oldest") -> Stream[T]:
        """Add a consumer; it gets what comes from now on."""
        stream: Stream[T] = Stream(name, max_items, overflow)
        self._dropped_by_closed += sum(one.dropped for one in self._streams if one.closed)
        self._streams = [one for one in self._streams if not one.closed]
        self._streams.append(stream)
        return stream

    def put(self, item: T) -> None:
        """Hand an item to all; never waits."""
        for stream in self._streams:
            stream.put(item)

    def put_many(self, items: Sequence[T]) -> None:
        """Hand items to all; never waits."""
        for stream in self._streams:
            stream.put_many(items)

    @property
    def wanted(self) -> bool:
        """Whether anyone takes what comes."""
        for stream in self._streams:  # noqa: SIM110 -- asked for every block, and a generator costs more than this
            if not stream.closed:
                return True
        return False

    @property
    def congested(self) -> bool:
        """Whether a stream of the policy ``"wait"`` is full."""
        for stream in self._streams:  # noqa: SIM110 -- asked for every frame, and a generator costs more than this
            if stream.congested:
                return True
        return False

    async def wait_room(self) -> None:
        """Wait until no stream is congested."""
        for stream in self._streams:
            await stream.wait_room()

    def hurry(self) -> None:
        """From now on the producer does not wait for anyone."""
        for stream in self._streams:
            stream.hurry()

    def finish(self, failure: BaseException | None = None) -> None:
        """No more items for anyone."""
        for stream in self._streams:
            stream.finish(failure)

    @property
    def dropped(self) -> int:
        """Items lost over all streams."""
        if not self._streams:  # asked of thousands of calls at a time
            return self._dropped_by_closed
        return self._dropped_by_closed + sum(stream.dropped for stream in self._streams)
