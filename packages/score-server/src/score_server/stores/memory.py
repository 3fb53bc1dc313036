"""A store that forgets everything at its end: for tests, scratch servers and measurements.

It keeps every law but durability, and is the model that other stores are compared with.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import chain, groupby, islice
from operator import attrgetter

from ..wire.entry import next_chain
from .advance import GroupRow, advance
from .base import (
    Commit,
    GroupDamaged,
    GroupState,
    LogStore,
    NewTrim,
    SessionChange,
    SessionState,
    StoreBroken,
    StoreState,
)

_GROUP_OF = attrgetter("group")


class _Log:
    """One group: its row, its entries, and the bytes of its snapshot and its candidate."""

    row: GroupRow

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.encoded: list[bytes] = []
        self.chains: list[bytes] = []
        self.snapshot = b""
        self.candidate = bytearray()

    def trim(self, trim: NewTrim) -> None:
        if trim.snapshot is not None:
            self.snapshot, self.candidate = bytes(self.candidate), bytearray()
        gone = bisect_right(self.positions, trim.floor)
        del self.positions[:gone], self.encoded[:gone], self.chains[:gone]


class MemoryStore(LogStore):
    """Everything in lists and dicts."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        self._names: list[str] = []  # in order; the order of UTF-8 is that of code points
        self._sessions: dict[bytes, SessionState] = {}
        self._closed = False

    def load(self) -> StoreState:
        self._check_open()
        return StoreState(tuple(self._sessions.values()))

    def commit(self, batch: Commit) -> None:
        self._check_open()
        rows = self._check(batch)  # all of it before any of it
        for name, _, _ in batch.new_groups:
            self._logs[name] = _Log()
            insort(self._names, name)
        for name, run in groupby(batch.entries, _GROUP_OF):
            log, entries = self._logs[name], list(run)
            log.positions += [entry.position for entry in entries]
            log.encoded += [entry.encoded for entry in entries]
            log.chains += [entry.chain for entry in entries]
        for name in batch.dropped_candidates:
            if name in self._logs:
                self._logs[name].candidate.clear()
        for name, offset, data in batch.chunks:
            self._logs[name].candidate[offset:] = data
        for trim in batch.trims:
            self._logs[trim.group].trim(trim)
        for name, row in rows.items():
            if row is not None:
                self._logs[name].row = row
            elif self._logs.pop(name, None) is not None:
                del self._names[bisect_left(self._names, name)]
        for change in batch.sessions:
            self._change(change)
        for session in batch.ended_sessions:
            self._sessions.pop(session, None)

    def _check(self, batch: Commit) -> dict[str, GroupRow | None]:
        return advance(batch, self._row, self._last_entry)

    def _row(self, group: str) -> GroupRow | None:
        log = self._logs.get(group)
        return log.row if log else None

    def _last_entry(self, group: str, upto: int) -> tuple[int, bytes] | None:
        log = self._logs.get(group)
        index = bisect_right(log.positions, upto) if log else 0
        return (log.positions[index - 1], log.chains[index - 1]) if log and index else None

    def _change(self, change: SessionChange) -> None:
        session, label, last_used_ms, settled, outcomes, dropped = change
        known, new = self._sessions.get(session), sorted(outcomes)
        kept = list(known.outcomes) if known else []
        if kept and new and new[0].seq <= kept[-1].seq:
            # Some of them may be in the place of others.
            merged = {outcome.seq: outcome for outcome in chain(kept, new)}
            kept = [merged[seq] for seq in sorted(merged)]
        else:
            kept += new
        left = [outcome for outcome in kept if outcome.seq > settled or outcome.pinned]
        if dropped:
            left = [outcome for outcome in left if outcome.seq not in dropped]
        self._sessions[session] = SessionState(session, label, last_used_ms, settled, tuple(left))

    def look_up(self, group: str, position: int) -> tuple[GroupState | None, bytes | None]:
        self._check_open()
        log = self._logs.get(group)
        if log is None:
            return None, None
        state = log.row.state
        if position == state.floor:
            return state, log.row.floor_chain
        index = bisect_left(log.positions, position)
        found = index < len(log.positions) and log.positions[index] == position
        return state, log.chains[index] if found else None

    def list_groups(self, after: str, count: int) -> list[GroupState]:
        self._check_open()
        start = bisect_right(self._names, after)
        return [self._logs[name].row.state for name in islice(self._names, start, start + count)]

    def read(self, group: str, after: int, bytes_max: int) -> list[tuple[int, bytes, bytes]]:
        self._check_open()
        log = self._logs.get(group)
        if log is None or after < log.row.state.floor:
            return []
        out: list[tuple[int, bytes, bytes]] = []
        start = bisect_right(log.positions, after)
        before = log.positions[start - 1] if start else log.row.state.floor
        chain = log.chains[start - 1] if start else log.row.floor_chain
        for index in range(start, len(log.positions)):
            position, encoded = log.positions[index], log.encoded[index]
            bytes_max -= len(encoded)
            if out and bytes_max < 0:
                break
            if next_chain(chain, encoded) != log.chains[index]:
                if out:
                    break
                raise GroupDamaged(group, before, "an entry does not fit its chain")
            chain = log.chains[index]
            out.append((position, encoded, chain))
        return out

    def read_snapshot(self, group: str, position: int, offset: int, bytes_max: int) -> bytes:
        self._check_open()
        log = self._logs.get(group)
        snapshot = log.row.state.snapshot if log else None
        if log is None or snapshot is None or snapshot.position != position:
            return b""
        return log.snapshot[offset : offset + bytes_max]

    def collect(self, rows_max: int) -> bool:  # noqa: ARG002 (it is the store's interface)
        """Nothing to do: what is not referred to is gone at once."""
        self._check_open()
        return False

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreBroken("this memory store is closed; what it held is gone")
