"""The laws of ``LogStore`` (``stores/base.py``), on every store.

A new store adds a ``Home`` to ``HOMES``: how it is opened, and how it is opened again after its
process is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from score_server.stores.base import (
    AppendRefused,
    Commit,
    GroupState,
    LogStore,
    NewEntry,
    SessionChange,
    SessionState,
    StoreBroken,
    StoredOutcome,
    StoreState,
)
from score_server.stores.memory import MemoryStore
from score_server.stores.sqlite import SqliteStore
from score_server.wire.entry import next_chain

S, T = b"s" * 16, b"t" * 16
INCARNATION = b"i" * 16


class Home:
    """One place for a store: ``open`` it, ``reopen`` it as after a crash of its process."""

    def __init__(self, folder: Path) -> None:
        self.store = self.open(folder)

    def open(self, folder: Path) -> LogStore:
        raise NotImplementedError

    def reopen(self) -> None:
        raise NotImplementedError


class MemoryHome(Home):
    """Memory has no life after its process; what can be asked is that ``load`` is the same again."""

    def open(self, folder: Path) -> LogStore:
        return MemoryStore()

    def reopen(self) -> None:
        pass


class SqliteHome(Home):
    def open(self, folder: Path) -> LogStore:
        self.path = str(folder / "store.db")
        return SqliteStore(self.path)

    def reopen(self) -> None:
        self.store.close()
        self.store = SqliteStore(self.path)


HOMES: dict[str, Callable[[Path], Home]] = {"memory": MemoryHome, "sqlite": SqliteHome}


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    home = HOMES[request.param](tmp_path)
    yield home
    home.store.close()


@pytest.fixture
def store(home: Home) -> LogStore:
    return home.store


class Log:
    """Builds entries that fit one another."""

    def __init__(self, group: str, incarnation: bytes = INCARNATION) -> None:
        self.group, self.incarnation = group, incarnation
        self.head, self.chain = 0, incarnation
        self.rows: list[tuple[int, bytes, bytes]] = []

    def entry(self, encoded: bytes, step: int = 1) -> NewEntry:
        position, predecessor = self.head + step, self.head
        self.head, self.chain = position, next_chain(self.chain, encoded)
        self.rows.append((position, encoded, self.chain))
        return NewEntry(self.group, position, predecessor, encoded, self.chain)

    def state(self) -> GroupState:
        size = sum(len(encoded) for _, encoded, _ in self.rows)
        return GroupState(self.group, self.incarnation, self.head, self.chain, log_bytes=size)

    def born(self) -> tuple[str, bytes]:
        return (self.group, self.incarnation)


def change(session: bytes = S, *outcomes: StoredOutcome, settled: int = 0, dropped: tuple[int, ...] = (),
           label: str = "me", at: int = 1) -> SessionChange:  # fmt: skip
    return SessionChange(session, label, at, settled, outcomes, dropped)


def taken(seq: int, position: int = 1, *, pinned: bool = False) -> StoredOutcome:
    return StoredOutcome(seq, position, "g", pinned)


def filled(store: LogStore, *payloads: bytes) -> Log:
    log = Log("g")
    store.commit(Commit((log.born(),), tuple(log.entry(p) for p in payloads)))
    return log


# ---------------------------------------------------------------- examples


def test_a_new_store_is_empty(store: LogStore) -> None:
    assert store.load() == StoreState((), ())
    assert store.read("g", 0, 100) == []
    assert store.chain_at("g", 0) is None


def test_what_was_committed_is_loaded_after_a_reopen(home: Home) -> None:
    log = filled(home.store, b"one", b"two")
    home.store.commit(Commit(sessions=(change(S, taken(1), taken(2, 2)),)))
    home.reopen()
    session = SessionState(S, "me", 1, 0, (taken(1), taken(2, 2)))
    assert home.store.load() == StoreState((log.state(),), (session,))
    assert home.store.read("g", 0, 100) == log.rows


def test_a_group_may_be_stored_without_entries(home: Home) -> None:
    log = Log("g")
    home.store.commit(Commit((log.born(),)))
    home.reopen()
    assert home.store.load().groups == (log.state(),)
    assert home.store.read("g", 0, 100) == []
    home.store.commit(Commit((), (log.entry(b"x"),)))
    assert home.store.read("g", 0, 100) == log.rows


def test_entries_come_byte_for_byte_in_order_also_over_gaps_and_extremes(home: Home) -> None:
    log = Log("gr\N{WHITE SMILING FACE}up \x00")
    steps = [1, 5, 1, 2**62, 2**62 - 9]
    payloads = [b"", b"\x00\xff" * 3000, b"x", bytes(range(256)), b"last"]
    entries = tuple(log.entry(p, step) for p, step in zip(payloads, steps, strict=True))
    home.store.commit(Commit((log.born(),), entries))
    home.reopen()
    assert home.store.read(log.group, 0, 1 << 20) == log.rows
    assert log.head == 2**63 - 2


def test_a_slice_has_what_fits_and_at_least_one(store: LogStore) -> None:
    log = filled(store, b"a" * 10, b"b" * 10, b"c" * 10)
    assert store.read("g", 0, 1) == log.rows[:1]
    assert store.read("g", 0, 20) == log.rows[:2]
    assert store.read("g", 0, 29) == log.rows[:2]
    assert store.read("g", 1, 20) == log.rows[1:]
    assert store.read("g", 3, 20) == []


def test_a_slice_may_begin_between_positions(store: LogStore) -> None:
    log = Log("g")
    store.commit(Commit((log.born(),), (log.entry(b"a", 3), log.entry(b"b", 3))))
    assert store.read("g", 1, 100) == log.rows
    assert store.read("g", 4, 100) == log.rows[1:]


def test_the_chain_is_known_where_an_entry_stands(store: LogStore) -> None:
    log = Log("g")
    store.commit(Commit((log.born(),), (log.entry(b"a", 2), log.entry(b"b", 2))))
    assert store.chain_at("g", 0) == INCARNATION
    assert [store.chain_at("g", p) for p in range(1, 6)] == [
        None, log.rows[0][2], None, log.rows[1][2], None,
    ]  # fmt: skip
    assert store.chain_at("other", 0) is None


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (NewEntry("g", 3, 1, b"x", S), "an older predecessor"),
        (NewEntry("g", 4, 3, b"x", S), "a predecessor that does not exist"),
        (NewEntry("g", 2, 2, b"x", S), "a position used again"),
        (NewEntry("nobody", 1, 0, b"x", S), "a group that does not exist"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_append_that_does_not_fit_is_refused_with_its_whole_batch(
    home: Home, wrong: NewEntry, what: str
) -> None:
    log = filled(home.store, b"one", b"two")
    home.store.commit(Commit(sessions=(change(T, taken(9)),)))
    before = home.store.load()
    good = Log("new")
    batch = Commit(
        (good.born(),), (good.entry(b"fine"), wrong), (change(S, taken(1)),), ended_sessions=(T,)
    )
    with pytest.raises(AppendRefused):
        home.store.commit(batch)
    assert home.store.load() == before
    assert home.store.read("new", 0, 100) == []
    home.reopen()
    assert home.store.load() == before
    # The store goes on, and the group's name is still free.
    home.store.commit(batch._replace(entries=(batch.entries[0], log.entry(b"three"))))
    assert home.store.read("g", 0, 100) == log.rows


def test_entries_of_one_batch_must_follow_one_another(store: LogStore) -> None:
    log = filled(store, b"one")
    skipped = Commit((), (NewEntry("g", 2, 1, b"x", S), NewEntry("g", 4, 3, b"y", S)))
    with pytest.raises(AppendRefused):
        store.commit(skipped)
    assert store.load().groups == (log.state(),)


@pytest.mark.parametrize("names", [("g",), ("new", "new")])
def test_a_group_is_made_once(store: LogStore, names: tuple[str, ...]) -> None:
    log = filled(store, b"one")
    with pytest.raises(AppendRefused):
        store.commit(Commit(tuple((name, T) for name in names)))
    assert store.load().groups == (log.state(),)


def test_settled_outcomes_go_unless_they_are_pinned(home: Home) -> None:
    home.store.commit(Commit(sessions=(change(S, taken(1), taken(2, pinned=True), taken(3)),)))
    home.store.commit(Commit(sessions=(change(S, taken(4), settled=3, label="you", at=7),)))
    home.reopen()
    kept = (taken(2, pinned=True), taken(4))
    assert home.store.load().sessions == (SessionState(S, "you", 7, 3, kept),)


def test_an_outcome_can_be_replaced_and_dropped(home: Home) -> None:
    home.store.commit(Commit(sessions=(change(S, taken(1, 5), taken(2, pinned=True)),)))
    home.store.commit(Commit(sessions=(change(S, taken(1, 5, pinned=True), dropped=(2, 99)),)))
    home.reopen()
    assert home.store.load().sessions[0].outcomes == (taken(1, 5, pinned=True),)


def test_an_ended_session_is_gone_with_its_outcomes(home: Home) -> None:
    home.store.commit(Commit(sessions=(change(S, taken(1)), change(T, taken(1)))))
    home.store.commit(Commit(ended_sessions=(S, b"unknown" * 2)))
    home.store.commit(Commit(sessions=(change(S),)))
    home.reopen()
    found = {session.session: session.outcomes for session in home.store.load().sessions}
    assert found == {S: (), T: (taken(1),)}


def test_a_closed_store_refuses_everything(store: LogStore) -> None:
    filled(store, b"one")
    store.close()
    store.close()
    for call in (
        store.load,
        lambda: store.commit(Commit()),
        lambda: store.read("g", 0, 1),
        lambda: store.chain_at("g", 0),
    ):
        with pytest.raises(StoreBroken):
            call()


# ---------------------------------------------------------------- whatever comes

NAMES = st.sampled_from(["g", "h", ""])
SESSIONS = st.sampled_from([S, T])
OUTCOMES = st.builds(
    StoredOutcome,
    st.integers(1, 9),
    st.integers(0, 5),
    st.sampled_from(["", "g"]),
    st.booleans(),
    st.integers(0, 2**63 - 1),
)
CHANGES = st.builds(
    SessionChange,
    SESSIONS,
    st.text(max_size=3),
    st.integers(0, 2**63 - 1),
    st.integers(0, 9),
    st.lists(OUTCOMES, max_size=4, unique_by=lambda outcome: outcome.seq).map(tuple),
    st.lists(st.integers(1, 9), max_size=2).map(tuple),
)


class Model(RuleBasedStateMachine):
    """A store beside a few dicts."""

    home: Home
    make: Callable[[], Home]

    def __init__(self) -> None:
        super().__init__()
        self.home = self.make()
        self.logs: dict[str, Log] = {}
        self.sessions: dict[bytes, SessionState] = {}

    def teardown(self) -> None:
        self.home.store.close()

    @rule(
        new=st.lists(NAMES, unique=True, max_size=2),
        entries=st.lists(st.tuples(NAMES, st.binary(max_size=40), st.integers(1, 3)), max_size=4),
        changes=st.lists(CHANGES, max_size=2, unique_by=lambda change: change.session),
        ended=st.lists(SESSIONS, max_size=1),
    )
    def commit(
        self,
        new: list[str],
        entries: list[tuple[str, bytes, int]],
        changes: list[SessionChange],
        ended: list[bytes],
    ) -> None:
        fresh = [name for name in new if name not in self.logs]
        self.logs |= {name: Log(name, name.encode().ljust(16, b"!")) for name in fresh}
        appended = [self.logs[n].entry(e, step) for n, e, step in entries if n in self.logs]
        self.home.store.commit(
            Commit(
                tuple(self.logs[name].born() for name in fresh),
                tuple(appended),
                tuple(changes),
                tuple(ended),
            )
        )
        for row in changes:
            old = self.sessions.get(row.session)
            kept = {outcome.seq: outcome for outcome in old.outcomes} if old else {}
            kept |= {outcome.seq: outcome for outcome in row.outcomes}
            outcomes = [
                kept[seq]
                for seq in sorted(kept)
                if (seq > row.settled or kept[seq].pinned) and seq not in row.dropped
            ]
            self.sessions[row.session] = SessionState(*row[:4], tuple(outcomes))
        for session in ended:
            self.sessions.pop(session, None)

    @precondition(lambda self: self.logs)
    @rule(wrong=st.integers(1, 3))
    def refused(self, wrong: int) -> None:
        log = next(iter(self.logs.values()))
        entry = NewEntry(log.group, log.head + wrong + 1, log.head + wrong, b"no", S)
        with pytest.raises(AppendRefused):
            self.home.store.commit(Commit((), (entry,), (change(S, taken(1)),), (T,)))

    @rule()
    def reopen(self) -> None:
        self.home.reopen()

    @precondition(lambda self: self.logs)
    @rule(after=st.integers(0, 12), bytes_max=st.integers(0, 100))
    def read(self, after: int, bytes_max: int) -> None:
        for log in self.logs.values():
            behind = [row for row in log.rows if row[0] > after]
            fits, size = 0, 0
            for _, encoded, _ in behind:
                size += len(encoded)
                if fits and size > bytes_max:
                    break
                fits += 1
            assert self.home.store.read(log.group, after, bytes_max) == behind[:fits]

    @invariant()
    def the_state_is_the_models(self) -> None:
        state = self.home.store.load()
        assert {group.name: group for group in state.groups} == {
            name: log.state() for name, log in self.logs.items()
        }
        assert {session.session: session for session in state.sessions} == self.sessions


@pytest.mark.parametrize("kind", HOMES)
def test_a_store_agrees_with_a_few_dicts(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Machine(Model):
        def make(self) -> Home:  # type: ignore[override]
            return HOMES[kind](tmp_path_factory.mktemp("store"))

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12 if kind == "sqlite" else 60,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
