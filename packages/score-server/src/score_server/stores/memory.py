"""A store that forgets everything at its end: for tests, scratch servers and measurements.

It keeps every law but durability, and is the model that other stores are compared with.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..wire.entry import next_chain
from .base import (
    AppendRefused,
    Commit,
    GroupDamaged,
    GroupState,
    LogStore,
    SessionState,
    StoreBroken,
    StoredOutcome,
    StoreState,
)


class _Log:
    """One group's entries."""

    def __init__(self, incarnation: bytes) -> None:
        self.incarnation = incarnation
        self.positions: list[int] = []
        self.encoded: list[bytes] = []
        self.chains: list[bytes] = []

    def head(self) -> int:
        return self.positions[-1] if self.positions else 0


class MemoryStore(LogStore):
    """Everything in lists and dicts."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        self._sessions: dict[bytes, SessionState] = {}
        self._closed = False

    def load(self) -> StoreState:
        self._check_open()
        groups = tuple(
            GroupState(name, log.incarnation, log.head(), log.chains[-1] if log.chains else log.incarnation)
            for name, log in self._logs.items()
        )  # fmt: skip
        return StoreState(groups, tuple(self._sessions.values()))

    def commit(self, batch: Commit) -> None:
        self._check_open()
        self._check(batch)  # all of it before any of it
        for name, incarnation, *_ in batch.new_groups:
            self._logs[name] = _Log(incarnation)
        for entry in batch.entries:
            log = self._logs[entry.group]
            log.positions.append(entry.position)
            log.encoded.append(entry.encoded)
            log.chains.append(entry.chain)
        for change in batch.sessions:
            old = self._sessions.get(change.session)
            outcomes = {outcome.seq: outcome for outcome in old.outcomes} if old else {}
            outcomes |= {outcome.seq: outcome for outcome in change.outcomes}
            kept: tuple[StoredOutcome, ...] = tuple(
                outcomes[seq]
                for seq in sorted(outcomes)
                if seq not in change.dropped and (seq > change.settled or outcomes[seq].pinned)
            )
            self._sessions[change.session] = SessionState(
                change.session, change.label, change.last_used_ms, change.settled, kept
            )
        for session in batch.ended_sessions:
            self._sessions.pop(session, None)

    def _check(self, batch: Commit) -> None:
        heads: dict[str, int | None] = {}  # as this batch moves them
        for name, *_ in batch.new_groups:
            if name in self._logs or name in heads:
                raise AppendRefused(f"group {name!r} is in the store already")
            heads[name] = 0
        for entry in batch.entries:
            if entry.group not in heads:
                log = self._logs.get(entry.group)
                heads[entry.group] = log.head() if log else None
            head = heads[entry.group]
            if entry.predecessor != head or entry.position <= entry.predecessor:
                raise AppendRefused(
                    f"entry {entry.position} of group {entry.group!r} follows {entry.predecessor}, "
                    f"but the stored head is {head}"
                )
            heads[entry.group] = entry.position

    def read(self, group: str, after: int, bytes_max: int) -> list[tuple[int, bytes, bytes]]:
        self._check_open()
        log = self._logs.get(group)
        if log is None:
            return []
        out: list[tuple[int, bytes, bytes]] = []
        start = bisect_right(log.positions, after)
        chain = log.chains[start - 1] if start else log.incarnation
        for index in range(start, len(log.positions)):
            position, encoded = log.positions[index], log.encoded[index]
            bytes_max -= len(encoded)
            if out and bytes_max < 0:
                break
            if next_chain(chain, encoded) != log.chains[index]:
                if out:
                    break
                before = log.positions[index - 1] if index else 0
                raise GroupDamaged(group, before, "an entry does not fit its chain")
            chain = log.chains[index]
            out.append((position, encoded, chain))
        return out

    def chain_at(self, group: str, position: int) -> bytes | None:
        self._check_open()
        log = self._logs.get(group)
        if log is None:
            return None
        if position == 0:
            return log.incarnation
        index = bisect_left(log.positions, position)
        found = index < len(log.positions) and log.positions[index] == position
        return log.chains[index] if found else None

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreBroken("this memory store is closed; what it held is gone")
