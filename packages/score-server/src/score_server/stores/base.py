"""The laws of a log store, and the records that pass between the core and a store.

A store keeps, for each group, entries in order, and for all groups the sessions with the outcomes
that are not settled.  It knows nothing of what an entry says.

Laws (checked on every store by ``tests/conformance/test_stores.py``)
---------------------------------------------------------------------
1. ``commit`` is atomic and durable: when it has returned, everything in the batch survives a
   crash; when it has raised ``StoreFull`` or ``AppendRefused``, nothing in it has happened.
2. An append is conditional on its predecessor being the stored head; otherwise ``AppendRefused``
   (somebody else writes to this store, or the caller is wrong).  Positions increase; gaps are allowed.
3. ``read`` returns what was committed, byte for byte, in order, in bounded slices, checked against
   the chain; what fails the check raises ``GroupDamaged`` for that group and no other.
4. ``load`` after a reopen equals the state after the last commit that returned.
5. Any other failure of ``commit`` is ``StoreBroken``: what is on the disk is unknown, the server
   stops acknowledging and exits (fsyncgate).  A broken store refuses everything from then on.
6. All calls after ``open`` come from one thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple


class GroupState(NamedTuple):
    """A group as the store knows it at rest."""

    name: str
    incarnation: bytes
    head: int
    chain: bytes  # at the head


class StoredOutcome(NamedTuple):
    """What became of (session, seq): taken at *position* in *group*, or voided (position 0, group '')."""

    seq: int
    position: int
    group: str
    pinned: bool


class SessionState(NamedTuple):
    """A session at rest.  *last_used_ms*: server time; *settled*: seqs up to it are forgotten
    unless pinned; *outcomes* in order of seq."""

    session: bytes
    label: str
    last_used_ms: int
    settled: int
    outcomes: tuple[StoredOutcome, ...]


class StoreState(NamedTuple):
    """Everything but the entries: what a server loads at its start."""

    groups: tuple[GroupState, ...]
    sessions: tuple[SessionState, ...]


class NewEntry(NamedTuple):
    """An append: *encoded* goes after *predecessor* in *group*; *chain* is the chain at it."""

    group: str
    position: int
    predecessor: int
    encoded: bytes
    chain: bytes


class SessionChange(NamedTuple):
    """A session's new row (created if new), with the outcomes to add or replace; outcomes with
    seq <= *settled* that are not pinned are deleted, and so are those in *dropped*."""

    session: bytes
    label: str
    last_used_ms: int
    settled: int
    outcomes: tuple[StoredOutcome, ...] = ()
    dropped: tuple[int, ...] = ()


class Commit(NamedTuple):
    """One atomic batch."""

    new_groups: tuple[tuple[str, bytes], ...] = ()  # (name, incarnation)
    entries: tuple[NewEntry, ...] = ()
    sessions: tuple[SessionChange, ...] = ()
    ended_sessions: tuple[bytes, ...] = ()


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
        """Groups and sessions as of the last commit."""

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
    def chain_at(self, group: str, position: int) -> bytes | None:
        """The chain at *position*: the incarnation at 0, None where no entry stands."""

    @abstractmethod
    def close(self) -> None:
        """Release everything; the store is then unusable.  Idempotent."""
