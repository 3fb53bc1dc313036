"""The laws of a log store, and the records that pass between the core and a store.

A store keeps, for each group, entries in order, and for all groups the sessions with the outcomes
that are not settled.  It knows nothing of what an entry says.  A group may have a *snapshot*: bytes that stand for
all entries up to a position.  Then entries up to the group's *floor* are gone, which is at or below the
snapshot's position.  What becomes the next snapshot is stored in parts as its *candidate*.

Laws (checked on every store by ``tests/conformance/test_stores.py``)
---------------------------------------------------------------------
1. ``commit`` is atomic and durable: when it has returned, everything in the batch survives a
   crash; when it has raised ``StoreFull`` or ``AppendRefused``, nothing in it has happened.
2. An append is conditional on its predecessor being the stored head; otherwise ``AppendRefused``
   (somebody else writes to this store, or the caller is wrong).  Positions increase; gaps are allowed.
3. ``read`` returns what was committed, byte for byte, in order, in bounded slices, checked against
   the chain; what fails the check raises ``GroupDamaged`` for that group and no other.
4. ``load``, ``look_up`` and ``list_groups`` after a reopen equal those after the last commit that returned;
   but candidates are forgotten.  Memory is not proportional to the number of groups or entries.
5. Any other failure of ``commit`` is ``StoreBroken``: what is on the disk is unknown, the server
   stops acknowledging and exits (fsyncgate).  A broken store refuses everything from then on.
6. All calls after ``open`` come from one thread.
7. A candidate grows at its end; a chunk at 0 begins it anew.  A trim makes the whole of it the group's snapshot,
   in the place of the older one, and raises the floor, in one commit: a crash leaves the old or the new.
8. A floor never goes down, nor above the snapshot; a snapshot's chain is the log's at its position.  Otherwise
   ``AppendRefused``.  The chain at the floor stays known, so that what is behind it can still be checked.
9. An empty group adopts a snapshot from elsewhere: its position and chain become the head and the floor.
10. What nothing refers to any more is never seen again, and erased a little at a time: by ``collect``, and by
    commits at least as fast as they can make it.  A deleted group's name is free at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple


class SnapshotState(NamedTuple):
    """A group's state folded up to *position*, in bytes that the server cannot read."""

    position: int
    chain: bytes  # at the position
    size: int  # bytes
    digest: bytes  # BLAKE2b-256 of them
    log_bytes: int  # the group's, when the snapshot was offered


class GroupState(NamedTuple):
    """A group as the store knows it at rest.  Entries at positions <= *floor* are gone."""

    name: str
    incarnation: bytes
    head: int
    chain: bytes  # at the head
    time_ms: int = 0  # of the entry at the head; 0 if there never was one
    floor: int = 0
    keep: bool = False  # whether the group was made to keep everything
    log_bytes: int = 0  # the length of all entries that were ever appended
    snapshot: SnapshotState | None = None


class StoredOutcome(NamedTuple):
    """What became of (session, seq): taken at *position* in *group*, or voided (position 0, group '').

    *seen*: the latest change that its author had received when it was submitted.
    """

    seq: int
    position: int
    group: str
    pinned: bool
    seen: int = 0


class SessionState(NamedTuple):
    """A session at rest.  *last_used_ms*: server time; *settled*: seqs up to it are forgotten
    unless pinned; *outcomes* in order of seq."""

    session: bytes
    label: str
    last_used_ms: int
    settled: int
    outcomes: tuple[StoredOutcome, ...]


class StoreState(NamedTuple):
    """What a server loads at its start.  Groups are looked up when somebody asks for them."""

    sessions: tuple[SessionState, ...]


class NewGroup(NamedTuple):
    """A group that is made.  *keep*: everything is to be kept, its floor stays 0."""

    name: str
    incarnation: bytes
    keep: bool = False


class NewEntry(NamedTuple):
    """An append: *encoded* goes after *predecessor* in *group*; *chain* is the chain at it."""

    group: str
    position: int
    predecessor: int
    encoded: bytes
    chain: bytes
    time_ms: int = 0


class NewChunk(NamedTuple):
    """The next part of *group*'s candidate.  *offset* 0 begins one, and drops the older one."""

    group: str
    offset: int
    data: bytes


class NewTrim(NamedTuple):
    """A new snapshot, a new floor, or both.

    *snapshot*: the group's candidate, which is complete, becomes this snapshot in the place of the
    older one; None: there is no new one.  *floor*: entries up to it go; never below the floor that
    is, nor above the snapshot.  An empty group adopts its snapshot: it becomes the head and the floor.
    """

    group: str
    snapshot: SnapshotState | None
    floor: int


class SessionChange(NamedTuple):
    """A session's new row (created if new), with the outcomes to add or replace; outcomes with
    seq <= *settled* that are not pinned are deleted, and so are those in *dropped*.

    *last_used_ms* and *settled* are never lower than in an earlier change of the session.  A commit has
    at most one change of a session."""

    session: bytes
    label: str
    last_used_ms: int
    settled: int
    outcomes: tuple[StoredOutcome, ...] = ()
    dropped: tuple[int, ...] = ()


class Commit(NamedTuple):
    """One atomic batch.

    Its parts happen in this order: *new_groups*, *entries*, *dropped_candidates*, *chunks*, *trims*,
    *deleted_groups*, *sessions*, *ended_sessions*.
    """

    new_groups: tuple[NewGroup, ...] = ()
    entries: tuple[NewEntry, ...] = ()
    sessions: tuple[SessionChange, ...] = ()
    ended_sessions: tuple[bytes, ...] = ()
    chunks: tuple[NewChunk, ...] = ()
    trims: tuple[NewTrim, ...] = ()
    dropped_candidates: tuple[str, ...] = ()  # of these groups
    deleted_groups: tuple[str, ...] = ()


class StoreError(Exception):
    """Root of what a store raises; the message names the file and what to do."""


class StoreUnusable(StoreError):
    """The store cannot be opened: locked by another server, read-only, not ours, newer schema."""


class StoreFull(StoreError):
    """A commit failed cleanly (disk full): nothing of it has happened, and others may succeed."""


class AppendRefused(StoreError):
    """A commit's predecessor is not the stored head: nothing of it has happened."""


class StoreBroken(StoreError):
    """What is on the disk is unknown; stop acknowledging and exit."""


class GroupDamaged(StoreError):
    """The stored entries of one group fail their chain."""

    def __init__(self, group: str, position: int, what: str) -> None:
        super().__init__(f"group {group!r} is damaged after position {position}: {what}")
        self.group = group
        self.position = position


class LogStore(ABC):
    """Where a server keeps its groups.  See the module's laws."""

    @abstractmethod
    def load(self) -> StoreState:
        """The sessions as of the last commit.  Candidates that are not complete are forgotten.

        Raises:
            StoreUnusable: what says which groups and sessions there are is damaged.
        """

    @abstractmethod
    def commit(self, batch: Commit) -> None:
        """Make *batch* durable, all or nothing.

        Raises:
            StoreFull, AppendRefused: nothing of the batch has happened.
            StoreBroken: unknown what has; the store refuses everything from now on.
        """

    @abstractmethod
    def read(self, group: str, after: int, bytes_max: int) -> list[tuple[int, bytes, bytes]]:
        """The entries behind *after*, in order, as ``(position, encoded, chain)``.

        At least one if there is one, then as many as fit in *bytes_max* bytes.

        Raises:
            GroupDamaged: the next entries fail their check (those before are returned first).
        """

    @abstractmethod
    def look_up(self, group: str, position: int) -> tuple[GroupState | None, bytes | None]:
        """The state of *group*, None if there is no such group, and the chain at *position*.

        The chain is None where no entry stands, and below the floor.  At the floor, 0 included, it is
        that of the last entry that was there (the incarnation if there never was one).

        Raises:
            GroupDamaged: the group's state, or the entry at *position*, fails its check.
        """

    @abstractmethod
    def list_groups(self, after: str, count: int) -> list[GroupState]:
        """The first *count* groups whose names come behind *after*, in the order of their UTF-8 bytes.

        Damaged ones are there as well, as far as they can be read.
        """

    @abstractmethod
    def read_snapshot(self, group: str, position: int, offset: int, bytes_max: int) -> bytes:
        """The *bytes_max* bytes from *offset* on of the snapshot that *group* has at *position*.

        Fewer at its end; none behind it, or if that is not (or not any more) the group's snapshot.

        Raises:
            GroupDamaged: they are not as they were written.
        """

    @abstractmethod
    def collect(self, rows_max: int) -> bool:
        """Erase at most *rows_max* rows that nothing refers to any more, and give room back.

        Returns whether more may be left.  A full disk only means that it is not the time for it.

        Raises:
            StoreBroken: as for ``commit``.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything; the store is then unusable.  Idempotent."""
