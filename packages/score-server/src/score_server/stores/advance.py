"""What a batch makes of the groups that it names; the one place where a commit is refused.

Pure: a store tells what it holds, and is told what each group's row is afterwards.  It then writes
the rows, the entries and the chunks in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ..wire.rows import new as make
from .base import (
    AppendRefused,
    Commit,
    GroupState,
    NewChunk,
    NewEntry,
    NewGroup,
    NewTrim,
    SnapshotState,
)

_GROUP_OF = attrgetter("group")


class GroupRow(NamedTuple):
    """What a store keeps of a group besides its entries and its snapshot's bytes."""

    state: GroupState
    floor_chain: bytes  # of the last entry at or below the floor
    candidate: int | None = None  # the bytes that its candidate has so far


Find = Callable[[str], GroupRow | None]
"""The stored row of a group."""

LastEntry = Callable[[str, int], tuple[int, bytes] | None]
"""Position and chain of a group's last stored entry up to a position and above its floor."""


def advance(batch: Commit, find: Find, last_entry: LastEntry) -> dict[str, GroupRow | None]:
    """The rows that *batch* changes, as it leaves them; None for groups that it deletes.

    Raises:
        AppendRefused: *batch* does not fit what is stored.
    """
    new_groups, entries, _, _, chunks, trims, dropped_candidates, deleted_groups = batch
    step = _Step(find, last_entry)
    if new_groups:
        step.make(new_groups)
    step.append(entries)
    if dropped_candidates:
        step.drop(dropped_candidates)
    if chunks:
        step.take(chunks)
    for trim in trims:
        step.trim(trim)
    if deleted_groups:
        step.delete(deleted_groups)
    return step.rows


class _Step:
    def __init__(self, find: Find, last_entry: LastEntry) -> None:
        self.rows: dict[str, GroupRow | None] = {}
        self._find = find
        self._last_entry = last_entry
        self._appended: dict[str, list[NewEntry]] = {}

    def _row(self, group: str) -> GroupRow | None:
        return self.rows[group] if group in self.rows else self._find(group)

    def _must(self, group: str, what: str) -> GroupRow:
        row = self._row(group)
        if row is None:
            raise AppendRefused(
                f"{what} of group {group!r}, which is not in the store: "
                "does somebody else write to this store?"
            )
        return row

    def make(self, groups: Iterable[NewGroup]) -> None:
        for name, incarnation, keep in groups:
            if self._row(name) is not None:
                raise AppendRefused(f"group {name!r} is in the store already")
            state = GroupState(name, incarnation, 0, incarnation, 0, 0, keep, 0, None)
            self.rows[name] = GroupRow(state, incarnation)

    def append(self, entries: Iterable[NewEntry]) -> None:
        """Append, each group's first entry to its stored head and the others to one another."""
        for name, run in groupby(entries, _GROUP_OF):
            state, floor_chain, candidate = self._must(name, "an entry")
            _, incarnation, head, chain, time_ms, floor, keep, log_bytes, snapshot = state
            new = list(run)
            for _, position, predecessor, encoded, chain, time_ms in new:  # noqa: B007 (the last ones count)
                if predecessor != head or position <= head:
                    raise AppendRefused(
                        f"entry {position} of group {name!r} was to follow {predecessor}, "
                        f"but the stored head is {head}: does somebody else write to this store?"
                    )
                head = position
                log_bytes += len(encoded)
            # Not _replace, which costs more than the rest of this: an append is what a server mostly does.
            state = make(
                GroupState,
                (name, incarnation, head, chain, time_ms, floor, keep, log_bytes, snapshot),
            )
            self.rows[name] = make(GroupRow, (state, floor_chain, candidate))
            self._appended.setdefault(name, []).extend(new)

    def drop(self, groups: Iterable[str]) -> None:
        for name in groups:
            row = self._row(name)
            if row is not None:
                self.rows[name] = row._replace(candidate=None)

    def take(self, chunks: Iterable[NewChunk]) -> None:
        for name, offset, data in chunks:
            row = self._must(name, "a chunk")
            if offset and offset != row.candidate:
                raise AppendRefused(
                    f"a chunk at {offset} of group {name!r}, whose candidate has {row.candidate} bytes"
                )
            self.rows[name] = row._replace(candidate=offset + len(data))

    def trim(self, trim: NewTrim) -> None:
        row = self._must(trim.group, "a trim")
        if trim.snapshot is not None:
            row = self._adopt(row, trim.snapshot)
        state, floor = row.state, trim.floor
        if not state.floor <= floor <= (state.snapshot.position if state.snapshot else 0):
            raise AppendRefused(
                f"group {trim.group!r} cannot have its floor at {floor}: it is at {state.floor}, "
                f"with the snapshot {state.snapshot}"
            )
        _, floor_chain = self._last(row, floor)
        self.rows[trim.group] = row._replace(
            state=state._replace(floor=floor), floor_chain=floor_chain
        )

    def _adopt(self, row: GroupRow, snapshot: SnapshotState) -> GroupRow:
        """*row* with its candidate as *snapshot*."""
        state, position = row.state, snapshot.position
        if row.candidate != snapshot.size:
            raise AppendRefused(
                f"a snapshot of {snapshot.size} bytes of group {state.name!r}, "
                f"whose candidate has {row.candidate}"
            )
        if not state.head and position:
            state = state._replace(head=position, chain=snapshot.chain, floor=position)
            return GroupRow(state._replace(snapshot=snapshot), snapshot.chain)
        if self._last(row, position) != (position, snapshot.chain):
            raise AppendRefused(
                f"a snapshot of group {state.name!r} at {position}, which is not a place in its log"
            )
        return GroupRow(state._replace(snapshot=snapshot), row.floor_chain)

    def _last(self, row: GroupRow, upto: int) -> tuple[int, bytes]:
        """Position and chain of the last entry up to *upto*, which is not below the floor."""
        state = row.state
        for entry in reversed(self._appended.get(state.name, ())):
            if entry.position <= upto:
                return entry.position, entry.chain
        before = self._last_entry(state.name, upto) if upto > state.floor else None
        return before or (state.floor, row.floor_chain)

    def delete(self, groups: Iterable[str]) -> None:
        self.rows |= dict.fromkeys(groups)
