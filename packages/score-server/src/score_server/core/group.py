"""A group: the order of its changes, as far as assigned and as far as durable.

Rules
-----
- The *assigned* head is what conditions are judged against; the *durable* head is what anybody is
  told.  They differ exactly while a commit with entries of this group is on its way.
- A position is never used for a second entry, also after a rollback.
- The newest durable entries are kept encoded, bounded by bytes (``Recent``); whoever is further
  behind reads the store.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from ..stores.base import GroupState, NewEntry
from ..wire.entry import Entry, encode_entry, next_chain

if TYPE_CHECKING:
    from .cursor import Cursor

# What most subscribers miss between two of their calls; beyond it the page cache is good enough.
RECENT_BYTES_MAX = 1024 * 1024


class Recent:
    """The newest durable entries: all of them behind *after*, up to the durable head."""

    __slots__ = ("after", "chains", "encoded", "positions", "size")

    def __init__(self, after: int) -> None:
        self.after = after
        self.positions: list[int] = []
        self.encoded: list[bytes] = []
        self.chains: list[bytes] = []
        self.size = 0

    def extend(self, entries: list[NewEntry]) -> None:
        """Add what has become durable; let the oldest go in halves, so that it costs little."""
        for entry in entries:
            self.positions.append(entry.position)
            self.encoded.append(entry.encoded)
            self.chains.append(entry.chain)
            self.size += len(entry.encoded)
        if self.size > RECENT_BYTES_MAX:
            cut = 0
            while self.size > RECENT_BYTES_MAX // 2:
                self.size -= len(self.encoded[cut])
                cut += 1
            self.after = self.positions[cut - 1]
            del self.positions[:cut], self.encoded[:cut], self.chains[:cut]

    def start(self, position: int) -> int | None:
        """The index of the first entry behind *position*; None if older ones are needed."""
        return bisect_right(self.positions, position) if position >= self.after else None

    def chain_at(self, position: int) -> bytes | None:
        """The chain at *position*, if that entry is here."""
        index = bisect_left(self.positions, position)
        found = index < len(self.positions) and self.positions[index] == position
        return self.chains[index] if found else None


class Group:
    """One group.  The sequencer appends, publishes and rolls back; cursors read."""

    __slots__ = (
        "assigned_chain", "assigned_head", "cursors", "damage", "durable_chain", "durable_head",
        "followers", "incarnation", "name", "next_position", "number", "recent", "stored", "time_ms",
    )  # fmt: skip

    def __init__(self, state: GroupState, *, stored: bool) -> None:
        self.name = state.name
        self.incarnation = state.incarnation
        self.durable_head = self.assigned_head = state.head
        self.durable_chain = self.assigned_chain = state.chain
        self.next_position = state.head + 1
        self.stored = stored  # the store has a row for it
        self.number = 0  # the last commit that carries an entry of it
        self.time_ms = 0
        self.damage: str | None = None
        self.recent = Recent(state.head)
        self.cursors: set[Cursor] = set()
        self.followers: set[Cursor] = set()  # those with credit: they hear of every new entry

    def append(self, session: bytes, seq: int, label: str, payload: bytes, now_ms: int) -> NewEntry:
        """Assign the next position.  Times never decrease while a server runs."""
        self.time_ms = max(self.time_ms, now_ms)
        position, predecessor = self.next_position, self.assigned_head
        encoded = encode_entry(
            Entry(position, predecessor, self.time_ms, session, seq, label, payload)
        )
        chain = next_chain(self.assigned_chain, encoded)
        self.next_position += 1
        self.assigned_head, self.assigned_chain = position, chain
        return NewEntry(self.name, position, predecessor, encoded, chain)

    def publish(self, entries: list[NewEntry]) -> None:
        """*entries* have become durable."""
        self.durable_head, self.durable_chain = entries[-1].position, entries[-1].chain
        self.stored = True
        self.recent.extend(entries)

    def roll_back(self) -> None:
        """Nothing assigned since the durable head has happened."""
        self.assigned_head, self.assigned_chain = self.durable_head, self.durable_chain
        self.number = 0

    def known_chain(self, position: int) -> bytes | None:
        """The chain at *position* if memory has it."""
        if position == self.durable_head:
            return self.durable_chain
        return self.recent.chain_at(position)

    def is_forgettable(self) -> bool:
        """Nobody is on it and it has no entry, not even an assigned one."""
        return not self.cursors and not self.assigned_head and not self.stored
