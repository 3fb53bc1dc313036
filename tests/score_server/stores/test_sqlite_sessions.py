"""Runs of outcomes, rows that are written late, and a memory that may be lost at any time."""

from __future__ import annotations

import random
import sqlite3

import pytest

from score_server.stores import sqlite_sessions
from score_server.stores.base import AppendRefused, Commit, NewEntry, SessionChange, StoredOutcome
from score_server.stores.memory import MemoryStore
from score_server.stores.sqlite import SqliteStore

S, T = b"s" * 16, b"t" * 16


def run_of(
    first: int, length: int, position: int, *, pinned: bool = False
) -> tuple[StoredOutcome, ...]:
    return tuple(StoredOutcome(first + n, position + n, "g", pinned) for n in range(length))


def change(*outcomes: StoredOutcome, settled: int = 0, at: int = 1, label: str = "me",
           dropped: tuple[int, ...] = (), session: bytes = S) -> Commit:  # fmt: skip
    return Commit(sessions=(SessionChange(session, label, at, settled, outcomes, dropped),))


def rows(store: SqliteStore, table: str = "outcomes") -> int:
    (count,) = store._db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def lengths(store: SqliteStore) -> list[tuple[int, int]]:
    return list(store._db.execute("SELECT seq, length FROM outcomes ORDER BY session, seq"))


def of(store: SqliteStore | MemoryStore, session: bytes = S) -> tuple[StoredOutcome, ...]:
    return {state.session: state.outcomes for state in store.load().sessions}[session]


def test_outcomes_that_follow_one_another_are_one_row(store: SqliteStore) -> None:
    outcomes = run_of(1, 256, 7)
    store.commit(change(*outcomes))
    assert lengths(store) == [(1, 256)]
    assert of(store) == outcomes


@pytest.mark.parametrize(
    "other",
    [
        StoredOutcome(4, 4, "g", False),
        StoredOutcome(3, 5, "g", False),
        StoredOutcome(3, 3, "h", False),
        StoredOutcome(3, 3, "g", True),
        StoredOutcome(3, 3, "g", False, 9),
        StoredOutcome(3, 0, "", True),
    ],
)
def test_whatever_differs_begins_a_row_of_its_own(store: SqliteStore, other: StoredOutcome) -> None:
    behind = StoredOutcome(other.seq + 1, other.position + 1, "g", False)
    outcomes = (*run_of(1, 2, 1), other, behind)
    store.commit(change(*outcomes))
    assert len(lengths(store)) >= 2
    assert of(store) == outcomes


@pytest.mark.parametrize("seq", [1, 2, 3, 5])
@pytest.mark.parametrize("is_dropped", [False, True])
def test_one_of_a_run_can_change_and_go(path: str, seq: int, is_dropped: bool) -> None:
    store = SqliteStore(path)
    store.commit(change(*run_of(1, 5, 11)))
    pinned = StoredOutcome(seq, seq + 10, "g", True)
    changed = change(dropped=(seq,)) if is_dropped else change(pinned)
    expected = {outcome.seq: outcome for outcome in run_of(1, 5, 11)} | {seq: pinned}
    if is_dropped:
        del expected[seq]
    store.commit(changed)
    assert of(store) == tuple(expected.values())
    store.close()
    store = SqliteStore(path)
    assert of(store) == tuple(expected.values())
    store.close()


def test_a_run_that_is_settled_in_part_counts_in_part(store: SqliteStore) -> None:
    store.commit(change(*run_of(1, 5, 1)))
    store.commit(change(settled=3))
    assert of(store) == run_of(4, 2, 4)


def test_a_new_run_carries_its_sessions_row(path: str) -> None:
    store = SqliteStore(path)
    store.commit(change(*run_of(1, 1, 1), at=5))
    store.commit(change(*run_of(2, 1, 2), at=7, settled=1))
    store.commit(change(*run_of(3, 1, 3), at=9, settled=2))
    assert store._db.execute("SELECT last_used_ms, settled FROM sessions").fetchall() == [(5, 0)]
    found = store.load()
    store.close()
    store = SqliteStore(path)
    (state,) = store.load().sessions
    assert found.sessions == (state,)
    assert state == (S, "me", 9, 2, run_of(3, 1, 3))
    store.close()


def test_another_label_is_written_at_once(store: SqliteStore) -> None:
    store.commit(change(*run_of(1, 1, 1)))
    store.commit(change(*run_of(2, 1, 2), label="you"))
    assert store.load().sessions[0].label == "you"


def test_what_is_settled_goes_in_time(store: SqliteStore) -> None:
    most = 0
    for n in range(1, 1000):
        store.commit(change(*run_of(n, 1, n), settled=n - 1, at=n))
        store.commit(change(*run_of(n, 1, n), settled=n - 1, at=n, session=T))
        most = max(most, rows(store))
    assert most <= sqlite_sessions._LATE_RUNS_MAX + 3
    for session in (S, T):
        assert of(store, session) == run_of(999, 1, 999)


def test_an_ended_session_is_not_written_later(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(change(*run_of(1, 1, 1)))
    store.commit(Commit(ended_sessions=(S,)))
    monkeypatch.setattr(sqlite_sessions, "_LATE_RUNS_MAX", 0)
    store.commit(change(*run_of(1, 1, 1), session=T))
    assert [state.session for state in store.load().sessions] == [T]


def test_a_session_that_begins_again_knows_nothing_of_its_earlier_life(store: SqliteStore) -> None:
    store.commit(change(*run_of(1, 9, 1), settled=4, at=9))
    store.commit(Commit(ended_sessions=(S,)))
    store.commit(change(*run_of(1, 1, 1)))
    assert store.load().sessions == ((S, "me", 1, 0, run_of(1, 1, 1)),)


def test_what_was_rolled_back_is_forgotten(store: SqliteStore) -> None:
    store.commit(change(*run_of(1, 2, 1)))
    refused = change(*run_of(3, 2, 3), label="you", settled=2, at=9)
    wrong = (NewEntry("nobody", 1, 0, b"", S),)
    with pytest.raises(AppendRefused):
        store.commit(refused._replace(entries=wrong))

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(db, name)

        def execute(self, sql: str, *rest: object) -> object:
            if sql == "COMMIT":
                error = sqlite3.OperationalError("full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return db.execute(sql, *rest)

    db, store._db = store._db, Full()  # type: ignore[assignment]
    with pytest.raises(Exception, match="nothing was changed"):
        store.commit(refused)
    store._db = db
    assert store.load().sessions == ((S, "me", 1, 0, run_of(1, 2, 1)),)
    store.commit(change(*run_of(3, 1, 3), label="you", at=2))
    assert store.load().sessions == ((S, "you", 2, 0, run_of(1, 3, 1)),)


@pytest.mark.parametrize("seed", range(20))
def test_it_says_what_a_store_in_memory_says(
    path: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = random.Random(seed)
    monkeypatch.setattr(sqlite_sessions, "_LATE_RUNS_MAX", choose.choice((0, 3, 30)))
    store, memory = SqliteStore(path), MemoryStore()
    settled, highest = {S: 0, T: 0}, {S: 0, T: 0}
    for now in range(1, 120):
        session = choose.choice((S, T))
        settled[session] = max(settled[session], highest[session] - choose.randrange(12))
        first = highest[session] + 1 if choose.random() < 0.8 else choose.randint(1, 40)
        outcomes = [*run_of(first, choose.randrange(5), now)]
        if choose.random() < 0.3:
            outcomes.append(StoredOutcome(first + 9, 0, "", True))
        highest[session] = max([highest[session], *(outcome.seq for outcome in outcomes)])
        dropped = (choose.randint(1, 60),) if choose.random() < 0.1 else ()
        commit = change(*outcomes, settled=settled[session], at=now, dropped=dropped,
                        label=choose.choice("ab") if choose.random() < 0.1 else "a", session=session)  # fmt: skip
        if choose.random() < 0.03:
            commit = commit._replace(ended_sessions=(session,))
            settled[session] = highest[session] = 0
        for each in (store, memory):
            each.commit(commit)
        if choose.random() < 0.1:
            store.close()
            store = SqliteStore(path)
        if choose.random() < 0.1:
            store._sessions.forget()
        assert set(store.load().sessions) == set(memory.load().sessions)
    store.close()


def test_the_last_of_all_names_can_be_written(store: SqliteStore) -> None:
    last = 2**63 - 1
    store.commit(change(StoredOutcome(last, last, "g", False)))
    store.commit(change(StoredOutcome(last, last, "g", True)))
    store._sessions._settle(store._db)
    assert of(store) == (StoredOutcome(last, last, "g", True),)
