"""Who works on the store: one long-lived thread, or the loop itself where no disk is involved.

Rules
-----
- The store is opened, used and closed in one thread only (law 6 of ``stores/base.py``).
- A commit never waits behind more than the one read that is running; reads are bounded slices.
- What nothing refers to any more in the store is erased in bounded slices, once there has been nothing else to
  do for ``IDLE_S``; whoever comes then waits for one slice.
- Results go back to the loop by ``run_soon`` (trio's ``run_sync_soon``), in the order in which they
  came about.
- Whatever ``commit`` raises besides ``StoreFull`` means that nobody knows what is on the disk
  (fsyncgate) or that somebody else writes to the store: it is reported, and the store's data is
  not touched again.  There is no way to go on from there but a restart.

Why a thread of our own: ``trio.to_thread.run_sync`` costs 216 us a call, more than twice what the
fdatasync it would wait for takes; a queue and one wake-up of the loop cost half of that.  A store
in memory never waits, so even that is too much for it: ``InlineCommitter`` answers at once.

What wakes the thread makes no difference: there and back by way of a ``SimpleQueue``, a lock, an eventfd or a pipe
takes the same within 5 us of 30, most of it the kernel's waking of two threads.  Giving the GIL away behind a
submit, so that the thread need not wait for the end of the loop's step, makes a set 60 us longer.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty
from typing import Protocol

from ..core.events import (
    CommitFailed,
    Committed,
    Event,
    LookedUp,
    LookUp,
    PageRead,
    Read,
    ReadFailed,
    ReadSlice,
    ReadSnapshot,
    SliceRead,
    SnapshotRead,
    StartCommit,
)
from ..stores.base import Commit, GroupDamaged, LogStore, StoreError, StoreFull, StoreState
from .log import logger

Job = StartCommit | Read

IDLE_S = 0.02  # between two calls of a busy client there is less
ROWS_PER_SLICE = 1024


class Committer(Protocol):
    """What the hub and the server need of whoever works on the store."""

    state: StoreState
    takes_time: bool
    """Whether it answers commits later, so that fewer are quicker."""

    def attach(
        self,
        run_soon: Callable[..., object],
        deliver: Callable[[Event], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """From now on answers that come later are passed by ``run_soon(deliver, event)``.

        After ``run_soon(failed, error)`` nothing more is delivered.  To be called once, before
        the first ``submit``.
        """

    def submit(self, job: Job) -> Event | None:
        """Have *job* done.  Returns its answer, or None if that will be delivered.

        Raises:
            Exception: it failed in a way that makes going on unsafe (only where it answers at once).
        """

    def close(self) -> None:
        """Finish what was submitted and close the store.  Idempotent; blocks."""


class Clerk:
    """Does one job after the other on *store*, and says how each ended."""

    def __init__(self, store: LogStore) -> None:
        self.store = store
        self.may_collect = True  # perhaps something is left from an earlier life
        self._is_full = False  # so that a full disk is one line in the log, not one a commit

    def do(self, job: Job) -> Event:
        """The answer to *job*.

        Raises:
            Exception: whatever the store raises that makes going on unsafe.
        """
        if isinstance(job, StartCommit):
            return self._commit(job.batch)
        try:
            return self._read(job)
        except GroupDamaged as error:
            logger.error("%s; it is refused to clients, other groups go on", error)
            return ReadFailed(error.group, str(error))

    def _read(self, job: Read) -> Event:
        store = self.store
        if isinstance(job, ReadSlice):
            return SliceRead(job.group, job.after, store.read(job.group, job.after, job.bytes_max))
        if isinstance(job, ReadSnapshot):
            group, position, offset, _ = job
            return SnapshotRead(group, position, offset, store.read_snapshot(*job))
        if isinstance(job, LookUp):
            return LookedUp(job.group, job.position, *store.look_up(job.group, job.position))
        return PageRead(job.connection, job.request, store.list_groups(job.after, job.groups_max))

    def _commit(self, batch: Commit) -> Event:
        try:
            self.store.commit(batch)
        except StoreFull as error:
            if not self._is_full:
                logger.error("changes are refused until there is room again: %s", error)
            self._is_full = True
            return CommitFailed(str(error))
        if self._is_full:
            logger.info("there is room again, changes are taken")
        self._is_full = False
        self.may_collect |= bool(
            batch.chunks or batch.trims or batch.dropped_candidates or batch.deleted_groups
        )
        return Committed()

    def collect(self) -> None:
        """Have the store erase a slice of what nothing refers to.

        Raises:
            Exception: whatever the store raises that makes going on unsafe.
        """
        self.may_collect = self.store.collect(ROWS_PER_SLICE)

    def close(self) -> None:
        try:
            self.store.close()
        except StoreError as error:
            logger.warning("what was acknowledged is safe, but closing the store failed: %s", error)


class InlineCommitter:
    """Works on a store that never waits, in the thread of whoever submits.

    Such a store erases at once, so it is never asked to.

    Raises:
        StoreUnusable, ...: what *open_store* or ``load`` raised.
    """

    def __init__(self, open_store: Callable[[], LogStore]) -> None:
        self.takes_time = False
        self._clerk = Clerk(open_store())
        self.state = self._clerk.store.load()

    def attach(
        self,
        run_soon: Callable[..., object],
        deliver: Callable[[Event], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Nothing is ever delivered later."""

    def submit(self, job: Job) -> Event:
        return self._clerk.do(job)

    def close(self) -> None:
        self._clerk.close()


class ThreadCommitter:
    """Opens a store in a thread of its own and works on it there until ``close``.

    Constructing one blocks until the store is open and loaded.

    Raises:
        StoreUnusable, ...: what *open_store* or ``load`` raised.
    """

    def __init__(self, open_store: Callable[[], LogStore]) -> None:
        self.takes_time = True
        # One ticket for each job, and one more for the end.  Two deques behind one queue of
        # tickets, because a queue cannot be asked for its most urgent element; all of it is
        # atomic under the GIL and in C.
        self._tickets: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._commits: deque[StartCommit] = deque()
        self._reads: deque[Read] = deque()
        self._run_soon: Callable[..., object] = _dropped
        self._deliver: Callable[[Event], None] = _dropped
        self._failed: Callable[[Exception], None] = _dropped
        opened: queue.SimpleQueue[StoreState | Exception] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, args=(open_store, opened), name="score-committer", daemon=True
        )
        self._thread.start()
        answer = opened.get()
        if isinstance(answer, Exception):
            self._thread.join()
            raise answer
        self.state = answer

    def attach(
        self,
        run_soon: Callable[..., object],
        deliver: Callable[[Event], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._run_soon, self._deliver, self._failed = run_soon, deliver, failed

    def submit(self, job: Job) -> None:
        if isinstance(job, StartCommit):
            self._commits.append(job)
        else:
            self._reads.append(job)
        self._tickets.put(None)

    def close(self) -> None:
        self._tickets.put(None)
        self._thread.join()

    # ------------------------------------------------------------ in the thread

    def _run(
        self,
        open_store: Callable[[], LogStore],
        opened: queue.SimpleQueue[StoreState | Exception],
    ) -> None:
        try:
            store = open_store()
            try:
                state = store.load()
            except Exception:
                store.close()
                raise
        except Exception as error:
            opened.put(error)
            return
        opened.put(state)
        clerk = Clerk(store)
        self._serve(clerk)
        clerk.close()

    def _serve(self, clerk: Clerk) -> None:
        while True:
            try:
                self._idle(clerk)
                job = self._next()
                if job is None:
                    return
                event = clerk.do(job)
            except Exception as error:
                self._run_soon(self._failed, error)
                return
            self._run_soon(self._deliver, event)

    def _idle(self, clerk: Clerk) -> None:
        """Take a ticket, and tidy up until there is one."""
        patience = IDLE_S
        while clerk.may_collect:
            try:
                return self._tickets.get(timeout=patience)
            except Empty:
                clerk.collect()
                patience = 0
        return self._tickets.get()

    def _next(self) -> Job | None:
        """The most urgent job, when a ticket has been taken."""
        if self._commits:
            return self._commits.popleft()
        # Jobs and tickets come in pairs: a ticket without a job is the one that ``close`` put.
        return self._reads.popleft() if self._reads else None


def open_committer(open_store: Callable[[str], LogStore], url: str) -> Committer:
    """Whoever suits the store at *url*, with the store open and loaded.

    Raises:
        StoreUnusable, ...: what *open_store* or ``load`` raised.
    """
    if url == "memory:":
        return InlineCommitter(lambda: open_store(url))
    return ThreadCommitter(lambda: open_store(url))


def _dropped(*_: object) -> None:
    """Where results go before anybody is attached."""
