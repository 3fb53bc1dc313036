"""A group: the order of its changes, as far as assigned and as far as durable.

Rules
-----
- What is *assigned* is what conditions are judged against; what is *durable* is what anybody is told.
  They differ exactly while a commit with something of this group is on its way.
- A position is never used for a second entry, also after a rollback.
- The newest durable entries are kept encoded, bounded by bytes (``Recent``); whoever is further
  behind reads the store.
- Entries up to the *floor* are gone; the *snapshot* stands for what they did.
- While a commit decides about the group as a whole (it is deleted, or begins with a snapshot of another
  one), it is *undecided*: what is said about it meanwhile waits (``deferred``).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import repeat
from typing import TYPE_CHECKING

from ..stores.base import GroupState, NewEntry, NewTrim
from ..wire.entry import Entry, encode_entry, encode_run, next_chain
from ..wire.limits import MIB
from ..wire.messages import Message
from ..wire.rows import new
from .few import Few, plus

if TYPE_CHECKING:
    from .cursor import Cursor
    from .peer import Peer
    from .session import Session
    from .snapshots import Candidate

# What most subscribers miss between two of their calls; beyond it the page cache is good enough.
RECENT_BYTES_MAX = 1024 * 1024
# A log is worth folding when reading it costs more than reading what it was folded into.
TAIL_BYTES_MIN = MIB
TAIL_PER_SNAPSHOT = 2


class Recent:
    """The newest durable entries: all of them behind *after*, up to the durable head."""

    __slots__ = ("after", "chains", "encoded", "positions", "size")

    def __init__(self, after: int) -> None:
        self.after = after
        self.positions: list[int] = []
        self.encoded: list[bytes] = []
        self.chains: list[bytes] = []
        self.size = 0

    def extend(self, entries: list[NewEntry]) -> int:
        """Add what has become durable, and return its bytes; let the oldest go in halves, so that it
        costs little."""
        if len(entries) == 1:  # mostly, and then a comprehension takes longer than what it does
            _, position, _, encoded, chain, _ = entries[0]
            self.positions.append(position)
            self.encoded.append(encoded)
            self.chains.append(chain)
            added = len(encoded)
        else:
            all_encoded = [entry[3] for entry in entries]
            self.positions += [entry[1] for entry in entries]
            self.encoded += all_encoded
            self.chains += [entry[4] for entry in entries]
            added = sum(map(len, all_encoded))
        self.size += added
        if self.size > RECENT_BYTES_MAX:
            cut = 0
            while self.size > RECENT_BYTES_MAX // 2:
                self.size -= len(self.encoded[cut])
                cut += 1
            self.after = self.positions[cut - 1]
            del self.positions[:cut], self.encoded[:cut], self.chains[:cut]
        return added

    def start(self, position: int) -> int | None:
        """The index of the first entry behind *position*; None if older ones are needed."""
        return bisect_right(self.positions, position) if position >= self.after else None

    def chain_at(self, position: int) -> bytes | None:
        """The chain at *position*, if that entry is here."""
        index = bisect_left(self.positions, position)
        found = index < len(self.positions) and self.positions[index] == position
        return self.chains[index] if found else None


class Group:
    """One group.  The sequencer appends, trims, publishes and rolls back; cursors read."""

    __slots__ = (
        "assigned_chain", "assigned_floor", "assigned_head", "assigned_snapshot", "begun", "candidate",
        "cursors", "damage", "deferred", "durable_chain", "durable_head", "floor", "followers",
        "holder", "incarnation", "keep", "log_bytes", "name", "next_position", "number", "recent",
        "snapshot", "stored", "time_ms", "undecided", "wanted_at",
    )  # fmt: skip

    def __init__(self, state: GroupState, *, stored: bool) -> None:
        self.name = state.name
        self.incarnation = state.incarnation
        self.keep = state.keep
        self.durable_head = self.assigned_head = state.head
        self.durable_chain = self.assigned_chain = state.chain
        self.next_position = state.head + 1
        self.stored = stored  # the store has a row for it
        self.begun = stored  # it will have, when what is assigned is durable
        self.number = 0  # the last commit that carries an entry or a trim of it
        self.undecided = 0  # the commit that decides whether it goes on as it is; 0: none
        self.time_ms = state.time_ms
        self.log_bytes = state.log_bytes  # of all durable entries that there ever were
        self.floor = self.assigned_floor = state.floor
        self.snapshot = self.assigned_snapshot = state.snapshot
        self.candidate: Candidate | None = None
        self.damage: str | None = None
        self.holder: Session | None = None  # who holds its floor down; see ``Sequencer.hold``
        self.recent = Recent(state.head)
        # Sets, in effect: a dict of many takes a third of the room.
        self.cursors: dict[Cursor, None] = {}
        self.followers: dict[Cursor, None] = {}  # with credit and all there is: they hear of more
        self.deferred: Few[tuple[Peer, Message]] = ()
        self.wanted_at = self._overdue_at()

    def append(self, session: bytes, seq: int, label: str, payload: bytes, now_ms: int) -> NewEntry:
        """Assign the next position.  Times never decrease."""
        time_ms = self.time_ms = max(now_ms, self.time_ms)
        position, predecessor = self.next_position, self.assigned_head
        encoded = encode_entry(
            new(Entry, (position, predecessor, time_ms, session, seq, label, payload))
        )
        chain = next_chain(self.assigned_chain, encoded)
        self.next_position = position + 1
        self.assigned_head, self.assigned_chain = position, chain
        return new(NewEntry, (self.name, position, predecessor, encoded, chain, time_ms))

    def append_run(
        self, session: bytes, seq: int, label: str, payloads: list[bytes], now_ms: int
    ) -> list[NewEntry]:
        """As ``append`` for each of *payloads*, under the names from *seq* on; in one go."""
        if now_ms > self.time_ms:
            self.time_ms = now_ms
        position, predecessor = self.next_position, self.assigned_head
        first = Entry(position, predecessor, self.time_ms, session, seq, label, payloads[0])
        encoded, chains = encode_run(first, payloads, self.assigned_chain)
        self.next_position = position + len(payloads)
        self.assigned_head, self.assigned_chain = self.next_position - 1, chains[-1]
        positions = range(position, self.next_position)
        predecessors = (predecessor, *positions)
        same = repeat(self.name), repeat(self.time_ms)
        rows = zip(same[0], positions, predecessors, encoded, chains, same[1], strict=False)
        return list(map(new, repeat(NewEntry), rows))

    def assign_trim(self, trim: NewTrim) -> None:
        """Of what follows, *trim* has happened.  An empty group begins with its snapshot."""
        self.assigned_floor = trim.floor
        if trim.snapshot is not None:
            self.assigned_snapshot = trim.snapshot
            if not self.assigned_head:
                self.assigned_head, self.assigned_chain = (
                    trim.snapshot.position,
                    trim.snapshot.chain,
                )
                self.next_position = max(self.next_position, self.assigned_head + 1)

    def publish(self, entries: list[NewEntry]) -> None:
        """*entries* have become durable."""
        self.durable_head, self.durable_chain = entries[-1].position, entries[-1].chain
        self.log_bytes += self.recent.extend(entries)

    def publish_trim(self, trim: NewTrim) -> None:
        """*trim* has become durable."""
        self.floor = trim.floor
        if trim.snapshot is not None:
            self.snapshot = trim.snapshot
            if not self.durable_head:
                self.durable_head, self.durable_chain = trim.snapshot.position, trim.snapshot.chain
                self.recent = Recent(self.durable_head)
            self.wanted_at = self._overdue_at()

    def roll_back(self) -> None:
        """Nothing assigned since the last commit has happened."""
        self.assigned_head, self.assigned_chain = self.durable_head, self.durable_chain
        self.assigned_floor, self.assigned_snapshot = self.floor, self.snapshot
        self.begun = self.stored
        self.number = 0
        self.undecided = 0

    def known_chain(self, position: int) -> bytes | None:
        """The chain at *position* if memory has it."""
        if position == self.durable_head:
            return self.durable_chain
        if self.snapshot is not None and position == self.snapshot.position:
            return self.snapshot.chain
        return self.recent.chain_at(position)

    # ------------------------------------------------------------ snapshots

    def wants_snapshot(self) -> bool:
        """Its tail is so long that somebody should be asked to fold it, or asked once more."""
        return self.log_bytes > self.wanted_at

    def is_overdue(self) -> bool:
        """Its tail is over its limit, whether or not anybody was asked."""
        return self.log_bytes > self._overdue_at()

    def ask_later(self) -> None:
        """Somebody was asked: ask again when the tail has doubled."""
        self.wanted_at = self.log_bytes + self._tail_bytes()

    def _tail_bytes(self) -> int:
        return self.log_bytes - (self.snapshot.log_bytes if self.snapshot else 0)

    def _overdue_at(self) -> int:
        if self.snapshot is None:
            return TAIL_BYTES_MIN
        return self.snapshot.log_bytes + max(TAIL_BYTES_MIN, TAIL_PER_SNAPSHOT * self.snapshot.size)

    # ------------------------------------------------------------ memory

    def defer(self, peer: Peer, message: Message) -> None:
        """Have *message* wait until it is decided what this group is."""
        peer.wait(message)
        self.deferred = plus(self.deferred, (peer, message))

    def is_idle(self) -> bool:
        """Nobody is on it and nothing of it is under way: the store knows all that is to be known.

        One that is damaged stays, so that it is refused for as long as the server runs.
        """
        if self.cursors or self.deferred or self.undecided or self.damage is not None:
            return False
        if self.begun != self.stored or self.assigned_head != self.durable_head:
            return False
        if (self.assigned_floor, self.assigned_snapshot) != (self.floor, self.snapshot):
            return False
        # A position that was rolled back is remembered until the next one is durable.
        return not self.stored or self.next_position == self.durable_head + 1
