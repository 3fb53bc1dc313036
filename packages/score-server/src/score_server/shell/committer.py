"""The one long-lived thread that owns the store: commits first, reads in slices between them.

Rules
-----
- The store is opened, used and closed in this thread only (law 6 of ``stores/base.py``).
- A commit never waits behind more than the one read that is running; reads are bounded slices.
- Results go back to the loop by ``run_soon`` (trio's ``run_sync_soon``), in the order in which they
  came about.
- Whatever ``commit`` raises besides ``StoreFull`` means that nobody knows what is on the disk
  (fsyncgate) or that somebody else writes to the store: the thread reports it and ends without
  touching the store's data again.  There is no way to go on from there but a restart.

Why a thread of our own: ``trio.to_thread.run_sync`` costs 216 us a call, more than twice what the
fdatasync it would wait for takes; a queue and one wake-up of the loop cost a small part of that.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

from ..core.events import (
    ChainRead,
    CommitFailed,
    Committed,
    Event,
    ReadChain,
    ReadFailed,
    ReadSlice,
    SliceRead,
    StartCommit,
)
from ..stores.base import Commit, GroupDamaged, LogStore, StoreError, StoreFull, StoreState
from .log import logger

Job = StartCommit | ReadSlice | ReadChain


class Committer:
    """Opens a store in a thread of its own and serves ``submit`` from there until ``close``.

    Constructing one blocks until the store is open and loaded.

    Raises:
        StoreUnusable, ValueError, ...: what *open_store* or ``load`` raised.
    """

    def __init__(self, open_store: Callable[[], LogStore]) -> None:
        # One ticket for each job, and one more for the end.  Two deques behind one queue of
        # tickets, because a queue cannot be asked for its most urgent element; all of it is
        # atomic under the GIL and in C.
        self._tickets: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._commits: deque[StartCommit] = deque()
        self._reads: deque[ReadSlice | ReadChain] = deque()
        self._run_soon: Callable[..., object] = _dropped
        self._deliver: Callable[[Event], None] = _dropped
        self._failed: Callable[[Exception], None] = _dropped
        self._is_full = False  # so that a full disk is one line in the log, not one a commit
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
        """From now on results are passed by ``run_soon(deliver, event)``.

        After ``run_soon(failed, error)`` nothing more is delivered.  To be called once, before
        the first ``submit``.
        """
        self._run_soon, self._deliver, self._failed = run_soon, deliver, failed

    def submit(self, job: Job) -> None:
        """Have *job* done; its answer is delivered as an event."""
        if type(job) is StartCommit:
            self._commits.append(job)
        else:
            assert not isinstance(job, StartCommit)
            self._reads.append(job)
        self._tickets.put(None)

    def close(self) -> None:
        """Finish what was submitted, close the store, end the thread.  Idempotent; blocks."""
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
        self._serve(store)
        try:
            store.close()
        except StoreError as error:
            logger.warning("what was acknowledged is safe, but closing the store failed: %s", error)

    def _serve(self, store: LogStore) -> None:
        while (job := self._next()) is not None:
            try:
                event = self._do(store, job)
            except Exception as error:
                self._run_soon(self._failed, error)
                return
            self._run_soon(self._deliver, event)

    def _next(self) -> Job | None:
        self._tickets.get()
        if self._commits:
            return self._commits.popleft()
        # Jobs and tickets come in pairs: a ticket without a job is the one that ``close`` put.
        return self._reads.popleft() if self._reads else None

    def _do(self, store: LogStore, job: Job) -> Event:
        if isinstance(job, StartCommit):
            return self._commit(store, job.batch)
        try:
            if isinstance(job, ReadSlice):
                entries = store.read(job.group, job.after, job.bytes_max)
                return SliceRead(job.group, job.after, entries)
            return ChainRead(job.group, job.position, store.chain_at(job.group, job.position))
        except GroupDamaged as error:
            logger.error("%s; it is refused to clients, other groups go on", error)
            return ReadFailed(job.group, str(error))

    def _commit(self, store: LogStore, batch: Commit) -> Event:
        try:
            store.commit(batch)
        except StoreFull as error:
            if not self._is_full:
                logger.error("changes are refused until there is room again: %s", error)
            self._is_full = True
            return CommitFailed(str(error))
        if self._is_full:
            logger.info("there is room again, changes are taken")
        self._is_full = False
        return Committed()


def _dropped(*_: object) -> None:
    """Where results go before anybody is attached."""
