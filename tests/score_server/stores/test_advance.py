"""What a batch makes of the groups it names, without a store.  That stores do it: ``tests/conformance``."""

from __future__ import annotations

from typing import Any

import pytest

from score_server.stores.advance import GroupRow, advance
from score_server.stores.base import (
    AppendRefused,
    Commit,
    GroupState,
    NewChunk,
    NewEntry,
    NewGroup,
    NewTrim,
    SnapshotState,
)

INCARNATION, C = b"i" * 16, b"c" * 16
EMPTY = GroupRow(GroupState("g", INCARNATION, 0, INCARNATION, 0, 0, False, 0, None), INCARNATION)


def at(position: int, size: int = 3) -> SnapshotState:
    return SnapshotState(position, b"%16d" % position, size, b"d" * 32, 0)


def full(
    *, floor: int = 0, snapshot: SnapshotState | None = None, candidate: int | None = None
) -> GroupRow:
    """Entries at 2, 4, 6 and 8."""
    state = GroupState("g", INCARNATION, 8, b"%16d" % 8, 5, floor, False, 40, snapshot)
    return GroupRow(state, b"%16d" % floor if floor else INCARNATION, candidate)


def made(row: GroupRow | None, **batch: Any) -> dict[str, GroupRow | None]:
    def last_entry(group: str, upto: int) -> tuple[int, bytes] | None:
        assert row is not None
        assert row.state.floor < upto
        place = min(upto, 8) // 2 * 2
        return (place, b"%16d" % place) if place > row.state.floor else None

    return advance(Commit(**batch), {"g": row}.get, last_entry)


def test_a_batch_that_names_no_group_changes_none() -> None:
    assert made(None) == {}


def test_entries_move_the_head_its_time_and_the_length_of_the_log() -> None:
    entries = (NewEntry("g", 9, 8, b"xyz", C, 6), NewEntry("g", 11, 9, b"x", b"e" * 16, 7))
    row = full(floor=2, snapshot=at(4), candidate=1)
    state = row.state._replace(head=11, chain=b"e" * 16, time_ms=7, log_bytes=44)
    assert made(row, entries=entries) == {"g": row._replace(state=state)}


@pytest.mark.parametrize("entry", [NewEntry("g", 9, 7, b"", C), NewEntry("g", 8, 8, b"", C)])
def test_an_entry_follows_the_head(entry: NewEntry) -> None:
    with pytest.raises(AppendRefused, match="but the stored head is 8"):
        made(full(), entries=(entry,))
    with pytest.raises(AppendRefused, match="but the stored head is 9"):
        made(full(), entries=(NewEntry("g", 9, 8, b"", C), entry))


def test_a_group_is_made_and_used_in_one_batch() -> None:
    new = made(
        None,
        new_groups=(NewGroup("g", INCARNATION, True),),
        entries=(NewEntry("g", 2, 0, b"x", b"%16d" % 2, 1),),
        chunks=(NewChunk("g", 0, b"ab"), NewChunk("g", 2, b"c")),
        trims=(NewTrim("g", at(2), 2),),
    )
    state = GroupState("g", INCARNATION, 2, b"%16d" % 2, 1, 2, True, 1, at(2))
    assert new == {"g": GroupRow(state, b"%16d" % 2)}
    with pytest.raises(AppendRefused, match="is in the store already"):
        made(EMPTY, new_groups=(NewGroup("g", INCARNATION),))
    with pytest.raises(AppendRefused, match="is in the store already"):
        made(None, new_groups=(NewGroup("g", INCARNATION), NewGroup("g", INCARNATION)))


def test_a_candidate_grows_by_its_end_and_begins_anew_at_0() -> None:
    row = full(candidate=5)
    assert made(row, chunks=(NewChunk("g", 5, b"ab"),)) == {"g": row._replace(candidate=7)}
    assert made(row, chunks=(NewChunk("g", 0, b"ab"),)) == {"g": row._replace(candidate=2)}
    assert made(row, dropped_candidates=("g",)) == {"g": row._replace(candidate=None)}
    assert made(None, dropped_candidates=("g",)) == {}
    for wrong in (4, 6):
        with pytest.raises(AppendRefused, match="whose candidate has 5 bytes"):
            made(row, chunks=(NewChunk("g", wrong, b"x"),))
    with pytest.raises(AppendRefused, match="whose candidate has None bytes"):
        made(row, dropped_candidates=("g",), chunks=(NewChunk("g", 5, b"x"),))


@pytest.mark.parametrize(
    ("floor", "place"), [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (5, 4), (6, 6)]
)
def test_the_chain_at_a_floor_is_that_of_the_last_entry_before_it(floor: int, place: int) -> None:
    row = full(candidate=3)
    state = row.state._replace(snapshot=at(6), floor=floor)
    chain = b"%16d" % place if place else INCARNATION
    assert made(row, trims=(NewTrim("g", at(6), floor),)) == {"g": GroupRow(state, chain)}


def test_a_floor_moves_without_a_new_snapshot() -> None:
    row = full(floor=2, snapshot=at(6), candidate=1)
    state = row.state._replace(floor=5)
    expected = row._replace(state=state, floor_chain=b"%16d" % 4)
    assert made(row, trims=(NewTrim("g", None, 5),)) == {"g": expected}
    assert made(row, trims=(NewTrim("g", None, 2),)) == {"g": row}
    for wrong in (1, 7):
        with pytest.raises(AppendRefused, match=f"cannot have its floor at {wrong}"):
            made(row, trims=(NewTrim("g", None, wrong),))
    with pytest.raises(AppendRefused, match="cannot have its floor at 1"):
        made(full(), trims=(NewTrim("g", None, 1),))


@pytest.mark.parametrize("snapshot", [at(5), at(10), at(2), at(6)._replace(chain=C), at(6, 2)])
def test_a_snapshot_is_of_the_candidate_and_of_a_place_in_the_log(snapshot: SnapshotState) -> None:
    with pytest.raises(AppendRefused, match="a snapshot of"):
        made(full(floor=4, candidate=3), trims=(NewTrim("g", snapshot, 4),))


def test_a_place_may_be_that_of_an_entry_in_the_same_batch() -> None:
    entries = (NewEntry("g", 9, 8, b"x", b"%16d" % 9, 6), NewEntry("g", 10, 9, b"x", C, 6))
    new = made(full(candidate=3), entries=entries, trims=(NewTrim("g", at(9), 8),))
    row = new["g"]
    assert row is not None
    assert (row.state.head, row.state.floor, row.state.snapshot) == (10, 8, at(9))
    assert row.floor_chain == b"%16d" % 8


def test_an_empty_group_adopts_a_snapshot_from_elsewhere() -> None:
    row = EMPTY._replace(candidate=3)
    state = EMPTY.state._replace(head=70, chain=at(70).chain, floor=70, snapshot=at(70))
    assert made(row, trims=(NewTrim("g", at(70), 70),)) == {"g": GroupRow(state, at(70).chain)}
    with pytest.raises(AppendRefused, match="cannot have its floor at 0"):
        made(row, trims=(NewTrim("g", at(70), 0),))


def test_deletion_comes_last_and_needs_no_group() -> None:
    assert made(full(), deleted_groups=("g", "other"), chunks=(NewChunk("g", 0, b"x"),)) == {
        "g": None, "other": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "batch",
    [
        Commit((), (NewEntry("g", 1, 0, b"x", C),)),
        Commit(chunks=(NewChunk("g", 0, b"x"),)),
        Commit(trims=(NewTrim("g", None, 0),)),
    ],
)
def test_nothing_is_done_to_a_group_that_is_not_there(batch: Commit) -> None:
    with pytest.raises(AppendRefused, match=r"group 'g', which is not in the store: does somebody"):
        made(None, **batch._asdict())
