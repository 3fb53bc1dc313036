"""The durable history of one group, from its first entry on: also what has been trimmed since.

What is said here to be wrong raises ``Broken``; the oracle makes a ``Violation`` of it.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple, NoReturn

from score_server.core import group as groups
from score_server.stores.base import NewChunk, NewTrim, SnapshotState
from score_server.wire.entry import Entry, next_chain

from .fold import MAP, STACK, VEC, Fold, Folded, plain

KINDS = {"m": MAP, "v": VEC, "s": STACK}
NO_INCARNATION = b""


class Broken(Exception):
    """*promise* is broken, and *text* says how."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(text)
        self.promise = promise
        self.text = text


class Snapshot(NamedTuple):
    """A snapshot that has become durable."""

    state: SnapshotState
    data: bytes


class Log:
    """One group, and what its entries mean.

    Attributes:
        contents, nodes: what it holds at each position that it can be at.
        snapshots: all that it ever had, by position; *snapshot* is the one it has.
        spoilt: the positions of those that have rotted where no store notices it.
        log_bytes: the length of all its entries, also of those that were trimmed.
        begun, gone: the oracle's moments when it was durable, and when somebody was told that it is deleted.
    """

    def __init__(
        self, group: str, incarnation: bytes = NO_INCARNATION, *, keep: bool = False
    ) -> None:
        self.group = group
        self.incarnation = incarnation
        self.keep = keep
        self.kind = KINDS[group[0]]
        self.fold = Fold(self.kind)
        self.base = 0  # where it begins: the position of what was imported, if anything was
        self.entries: list[Entry] = []
        self.encoded: list[bytes] = []
        self.log_bytes = 0
        self.folded: dict[int, Folded] = {}
        self.durable_at: dict[int, float] = {}
        self.contents: dict[int, Any] = {0: plain(self.fold.root)}
        self.nodes: dict[int, frozenset[tuple[int, int]]] = {0: frozenset({(0, 0)})}
        self.chains = {0: incarnation}
        self.floor = 0
        self.snapshot: Snapshot | None = None
        self.snapshots: dict[int, Snapshot] = {}
        self.spoilt: set[int] = set()
        self.begun = 0
        self.gone: int | None = None
        self._candidate = bytearray()

    def _fail(self, promise: str, text: str) -> NoReturn:
        raise Broken(promise, f"{self.group}: {text}")

    @property
    def head(self) -> int:
        return self.entries[-1].position if self.entries else self.base

    def contents_before(self, position: int) -> Any:
        """The content that the entry at *position* was applied to."""
        return self.contents[max(p for p in self.contents if p < position)]

    def append(self, entry: Entry, encoded: bytes, now: float) -> None:
        position = entry.position
        folded = self.fold.apply(entry.payload, position)
        self.chains[position] = next_chain(self.chains[self.head], encoded)
        self.entries.append(entry)
        self.encoded.append(encoded)
        self.log_bytes += len(encoded)
        self.folded[position] = folded
        self.durable_at[position] = now
        self.contents[position], self.nodes[position] = folded.content, folded.nodes

    def encoded_at(self, position: int) -> bytes | None:
        """The entry at *position*."""
        # Positions are seldom skipped, so it is near where it would be without.
        for entry, encoded in zip(self.entries, self.encoded, strict=True):
            if entry.position == position:
                return encoded
        return None

    def changes_after(self, position: int) -> list[int]:
        """The positions behind *position* where something changed.  What was imported is one change."""
        imported = [self.base] if self.base > position else []
        return imported + [
            entry.position
            for entry in self.entries
            if entry.position > position and self.folded[entry.position].changed
        ]

    # ------------------------------------------------------------ snapshots

    @property
    def tail_bytes(self) -> int:
        """How long it was since its snapshot was offered."""
        return self.log_bytes - (self.snapshot.state.log_bytes if self.snapshot else 0)

    @property
    def limit(self) -> float:
        """How long its tail may be before somebody is asked for a snapshot."""
        size = self.snapshot.state.size if self.snapshot else 0
        return max(groups.TAIL_BYTES_MIN, groups.TAIL_PER_SNAPSHOT * size)

    def is_overdue(self) -> bool:
        return self.tail_bytes > self.limit

    def take_chunk(self, chunk: NewChunk) -> None:
        if chunk.offset == 0:
            self.drop_candidate()
        if chunk.offset != len(self._candidate):
            self._fail("P1", f"a chunk at {chunk.offset} follows {len(self._candidate)} bytes")
        self._candidate += chunk.data

    def drop_candidate(self) -> None:
        self._candidate.clear()

    def trim(self, trim: NewTrim, hold: int | None) -> None:
        """*hold*: the least that the author of an unsettled submission had seen, None if there is none."""
        before = self.floor
        if trim.snapshot is not None:
            self._adopt(trim.snapshot)
        assert self.snapshot is not None, "the store's laws"
        floor, standing = trim.floor, self.snapshot.state.position
        if not before <= floor <= standing:
            self._fail(
                "P1", f"the floor goes from {before} to {floor}, the snapshot is of {standing}"
            )
        imported = floor == self.base and not self.entries
        if self.keep and floor > before and not imported:
            self._fail(
                "P1", f"all of it is to be kept, and the floor goes from {before} to {floor}"
            )
        if hold is not None and floor > max(hold, before) and not imported:
            self._fail("P2", f"the floor goes to {floor}, but an author is owed all behind {hold}")
        self.floor = floor

    def _adopt(self, state: SnapshotState) -> None:
        """The candidate becomes the snapshot."""
        data = bytes(self._candidate)
        self.drop_candidate()
        if len(data) != state.size or digest_of(data) != state.digest:
            self._fail("P1", f"{len(data)} bytes become the snapshot {state}")
        try:
            fold = Fold.load(data, self.kind, state.position)
        except (ValueError, TypeError, LookupError) as error:
            raise Broken("P4", f"{self.group}: {data!r} becomes a snapshot: {error}") from error
        content, nodes = plain(fold.root), frozenset(fold.nodes())
        position = state.position
        if not self.head:
            self.base, self.fold = position, fold
            self.contents[position], self.nodes[position] = content, nodes
            self.chains[position] = state.chain
        if position not in self.contents or state.chain != self.chains[position]:
            self._fail("P4", f"{position} is no place of it, and has a snapshot")
        if (content, nodes) != (self.contents[position], self.nodes[position]):
            self._fail(
                "P4",
                f"the snapshot of {position} holds {content!r}, the fold gives {self.contents[position]!r}",
            )
        sizes = zip(self.entries, self.encoded, strict=True)
        least = sum(len(encoded) for entry, encoded in sizes if entry.position <= position)
        if not least <= state.log_bytes <= self.log_bytes:
            self._fail("P4", f"{state} is of a log of {least} to {self.log_bytes} bytes")
        if self.snapshot is not None and position <= self.snapshot.state.position:
            self._fail("P1", f"a snapshot of {position} takes the place of {self.snapshot.state}")
        self.snapshot = self.snapshots[position] = Snapshot(state, data)


def digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()
