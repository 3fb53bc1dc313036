"""Where the core, the store's thread and the connections meet.

Rules
-----
- Everything here is synchronous and runs in the loop's thread, so an event and its effects are one
  step that no task can come between.
- Effects only mark peers and queue jobs; none of them calls back into ``handle``.  A store that
  answers at once is handled right after, as the next event of the same step.
- Where a store takes its time, a commit does not begin while others are *pressing*, if there was more than one: many
  writers, each answered with the last commit, are to be in the next one together, not in two that take turns.
- Who is sent to when: whoever has asked for something, at once in the step that answers it; those who
  merely follow, ``FOLLOWERS_AT_ONCE`` in each turn of the loop, and fewer as soon as somebody is *pressing*:
  has said something that nobody has read.  So a writer with many followers has its answer before they have
  its change and is heard before all of them have, and what is said until a follower's turn comes is one send.
- An exception in the core is not a client's fault that could be contained: the order or a
  session may be half changed.  The hub then *fails*: it hands out nothing more and takes nothing more, as
  with a broken store.  What was acknowledged is durable; a restart is the way on.
- The memory of unfinished frames is bounded for all connections together.  Who
  holds the most of it pays, not who happens to ask next: a few clients that never finish
  their frames must not cost the others their connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol

import trio

from ..core import Core
from ..core.events import (
    CloseAfterOutput,
    Connected,
    Disconnected,
    Effect,
    Event,
    Faulted,
    Stopping,
    Ticked,
    Wake,
)
from ..stores.base import StoreError
from ..wire.connection import Connection
from ..wire.limits import MIB
from ..wire.messages import OVERLOADED, Entries
from ..wire.runs import Output
from .committer import Committer
from .flag import Flag
from .log import logger

# Eight of the largest frames; ordinary traffic holds a few kilobytes at a time.
UNFINISHED_BYTES_MAX = 64 * MIB
# One pull of output: large enough that the cost of a send disappears, small enough that a slow
# reader pins little and that what is urgent does not wait behind it.
OUTPUT_BYTES = 256 * 1024
# So many sends take less than a millisecond, for as long as nobody presses.
FOLLOWERS_AT_ONCE = 64
# And so many about half as long as one answer, with the work for it.  Each turn has them for every answer, and once
# more: so followers come to their turns, however much others say.
FOLLOWERS_PER_ANSWER = 4
# How long a deadline may be noticed late: deadlines are of seconds.
TICK_S_MAX = 1.0
# A deadline that stayed in the past would otherwise make a loop that never waits.
TICK_S_MIN = 0.01


class Peer(Protocol):
    """What the hub needs of a connection (``endpoint.Endpoint``)."""

    number: int
    name: str
    is_asking: bool
    """It has said something since it was last sent to."""

    def flush(self) -> None:
        """Send what there is, without waiting; the peer sees to what cannot be sent so."""

    def close_after_output(self) -> None:
        """End after what is still to be sent; ``flush`` is called behind it."""


class Followed:
    """What was made last for those who follow: who stands at the same place is sent the same bytes."""

    def __init__(self) -> None:
        self._entries = Entries(0, [])
        self._data = b""

    def send(self, connection: Connection, entries: Entries) -> bytes:
        """The bytes that send *entries* on *connection*, of which all here have the same limits."""
        if entries == self._entries:  # quick: entries are shared, so most are equal by identity
            connection.sent((entries,))
        else:
            self._data = connection.send(entries)
            self._entries = entries
        return self._data


class Hub:
    """Owns the core.  *now_ms* is the clock that entries are stamped with, never decreasing."""

    def __init__(
        self,
        core: Core,
        committer: Committer,
        now_ms: Callable[[], int],
        *,
        unfinished_bytes_max: int = UNFINISHED_BYTES_MAX,
    ) -> None:
        self._core = core
        self._committer = committer
        self._now_ms = now_ms
        self._peers: dict[int, Peer] = {}
        # With something to send, the longest waiting first.
        self._asking: dict[int, Peer] = {}
        self._following: dict[int, Peer] = {}
        self._flusher = Flag()
        self.followed = Followed()
        self.somebody_presses: Callable[[], bool] = lambda: False
        """Whether a connection has said something that waits to be read; set by who can tell."""
        self.hear_more: Callable[[], object] = lambda: None
        """Hear whoever presses, before a commit begins; set by who can."""
        self._unfinished: dict[int, int] = {}
        self._unfinished_total = 0
        self._unfinished_max = unfinished_bytes_max
        self.failure: Exception | None = None
        self.failed = trio.Event()
        self.stopping = False
        self.stopped = trio.Event()

    # ------------------------------------------------------------ events

    def handle(self, *events: Event) -> None:
        """Give *events* to the core, as one step, and do what it asks for."""
        self._step(events)
        self._stir()

    def receive(self, events: Iterable[Event], *, hold: bool = False) -> None:
        """As ``handle``, and send those who have asked for something their answers at once.

        *hold*: whoever is heard next may share a commit, which ``begin_commit`` then begins, to be called soon.
        """
        self._step(events, hold=hold and self._committer.takes_time)
        self._flush_turn()

    def deliver(self, event: Event) -> None:
        """As ``receive``, for what the store answers."""
        self.receive((event,), hold=True)
        if self.holds_commit():
            self.hear_more()
            self.begin_commit()

    def holds_commit(self) -> bool:
        """Whether somebody waits for a commit that could begin."""
        return self.failure is None and self._core.holds_commit()

    def begin_commit(self) -> None:
        """Begin the commit that somebody waits for, if it could."""
        if self.holds_commit():
            self.receive(())

    async def flush(self) -> None:
        """The flusher; runs for ever."""
        while True:
            await self._flusher.wait()
            self._flush_turn()

    def _step(self, events: Iterable[Event], *, hold: bool = False) -> None:
        if self.failure is not None:
            return
        try:
            now_ms = self._now_ms()
            self._do(self._core.handle_all(events, now_ms, hold=hold), now_ms)
            if self.stopping and self._core.stopped:
                self.stopped.set()
        except Exception as error:
            self.fail(error)

    def _do(self, effects: list[Effect], now_ms: int) -> None:
        answers: list[Event] = []
        while True:
            for effect in effects:
                if isinstance(effect, Wake):
                    self._wake(effect.connection)
                elif isinstance(effect, CloseAfterOutput):
                    self._peers[effect.connection].close_after_output()
                    self._wake(effect.connection)
                elif (answer := self._committer.submit(effect)) is not None:
                    answers.append(answer)
            if not answers:
                return
            effects = self._core.handle(answers.pop(0), now_ms)

    def _wake(self, number: int) -> None:
        peer = self._peers[number]
        if peer.is_asking:
            self._following.pop(number, None)
            self._asking[number] = peer
        elif number not in self._asking:
            self._following[number] = peer

    def _stir(self) -> None:
        if self._asking or self._following:
            self._flusher.set()

    def _flush_turn(self) -> None:
        due = FOLLOWERS_PER_ANSWER
        while self._asking:
            self._asking.popitem()[1].flush()
            due += FOLLOWERS_PER_ANSWER
        if self._following:
            self._flush_followers(due)
            self._stir()

    def _flush_followers(self, due: int) -> None:
        """Send to *due* of those who follow, and to more if nobody is pressing."""
        turn = list(islice(self._following, max(due, FOLLOWERS_AT_ONCE)))
        for count, number in enumerate(turn):
            if count >= due and not count % FOLLOWERS_PER_ANSWER and self.somebody_presses():
                return
            if (peer := self._following.pop(number, None)) is not None:
                peer.flush()

    def stop(self) -> None:
        """Tell the core to stop; ``stopped`` is set when all that was assigned is decided."""
        self.stopping = True
        self.handle(Stopping())

    def fail(self, error: Exception) -> None:
        """Stop acknowledging at once; the server notices by ``failed`` and ends."""
        if self.failure is None:
            self.failure = error
            self.failed.set()
            if isinstance(error, StoreError):
                logger.critical("stopping at once, the store is not usable any more: %s", error)
            else:
                logger.critical("stopping at once, internal error", exc_info=error)

    async def tick(self) -> None:
        """Tell the core the time whenever a deadline of its own has come; runs for ever."""
        while True:
            wait_ms = self._core.next_deadline_ms() - self._now_ms()
            if wait_ms <= 0:
                self.handle(Ticked())
            await trio.sleep(min(max(wait_ms / 1000, TICK_S_MIN), TICK_S_MAX))

    # ------------------------------------------------------------ connections

    def connected(self, peer: Peer) -> None:
        self._peers[peer.number] = peer
        self.handle(Connected(peer.number))

    def disconnected(self, number: int) -> None:
        """Nothing can be sent to *number* any more.  Idempotent."""
        if number in self._peers:
            self.handle(Disconnected(number))
            del self._peers[number]
            self._asking.pop(number, None)
            self._following.pop(number, None)
            self.hold_unfinished(number, 0)

    def output(self, number: int) -> list[Output]:
        """What is to be sent to *number* now; empty if there is nothing, or nobody."""
        if self.failure is not None:
            return []
        core = self._core
        try:
            while True:
                messages = core.output(number, OUTPUT_BYTES)
                if effects := core.take_effects():
                    self._do(effects, self._now_ms())
                    self._stir()  # it may concern others as well
                # An output may be empty and still lead to the next: see ``Core.output``.
                if messages or not core.has_output(number):
                    return messages
        except Exception as error:
            self.fail(error)
            return []

    def has_output(self, number: int) -> bool:
        return self.failure is None and self._core.has_output(number)

    def congested(self, number: int) -> bool:
        """Whether to read no more from *number* until it has taken some of its answers."""
        return self._core.congested(number)

    def hold_unfinished(self, number: int, size: int) -> None:
        """Note that *number* holds *size* bytes of a frame that is not complete."""
        if not size and number not in self._unfinished:
            return
        held = self._unfinished.pop(number, 0)
        self._unfinished_total += size - held
        if size and number in self._peers:
            self._unfinished[number] = size
        else:
            self._unfinished_total -= size
        while self._unfinished_total > self._unfinished_max:
            largest = max(self._unfinished, key=self._unfinished.__getitem__)
            self._unfinished_total -= self._unfinished.pop(largest)
            self.handle(
                Faulted(
                    largest,
                    OVERLOADED,
                    f"this server holds {self._unfinished_max} bytes of unfinished frames, most of "
                    f"them of this connection; connect again, and send a frame in one go",
                )
            )
