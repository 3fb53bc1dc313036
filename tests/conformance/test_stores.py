"""The laws of ``LogStore`` (``stores/base.py``), on every store.

A new store adds a ``Home`` to ``HOMES``: how it is opened, and how it is opened again after its
process is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
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
    NewChunk,
    NewEntry,
    NewGroup,
    NewTrim,
    SessionChange,
    SessionState,
    SnapshotState,
    StoreBroken,
    StoredOutcome,
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
    """One group as it has to be; builds entries and snapshots that fit."""

    def __init__(self, group: str, incarnation: bytes = INCARNATION, *, keep: bool = False) -> None:
        self.group, self.incarnation, self.keep = group, incarnation, keep
        self.head, self.chain, self.time_ms, self.log_bytes = 0, incarnation, 0, 0
        self.floor, self.floor_chain = 0, incarnation
        self.rows: list[tuple[int, bytes, bytes]] = []  # those above the floor
        self.snapshot: SnapshotState | None = None
        self.snapshot_data = b""
        self.candidate: bytes | None = None

    def entry(self, encoded: bytes, step: int = 1) -> NewEntry:
        position, predecessor = self.head + step, self.head
        self.head, self.chain = position, next_chain(self.chain, encoded)
        self.time_ms += 5
        self.log_bytes += len(encoded)
        self.rows.append((position, encoded, self.chain))
        return NewEntry(self.group, position, predecessor, encoded, self.chain, self.time_ms)

    def chunk(self, data: bytes, *, begin: bool = False) -> NewChunk:
        before = b"" if begin or self.candidate is None else self.candidate
        self.candidate = before + data
        return NewChunk(self.group, len(before), data)

    def places(self) -> dict[int, bytes]:
        """The chain at each position where it is known."""
        return {self.floor: self.floor_chain} | {p: chain for p, _, chain in self.rows}

    def offer(self, position: int) -> SnapshotState:
        """The candidate as the snapshot at *position*."""
        data = self.candidate or b""
        chain = self.places()[position]
        return SnapshotState(
            position, chain, len(data), blake2b(data).digest()[:32], self.log_bytes
        )

    def trim(self, snapshot: SnapshotState | None, floor: int) -> NewTrim:
        if snapshot is not None:
            self.snapshot, self.snapshot_data, self.candidate = (
                snapshot,
                self.candidate or b"",
                None,
            )
            if not self.head:
                self.head, self.chain = snapshot.position, snapshot.chain
                self.floor_chain = snapshot.chain
        while self.rows and self.rows[0][0] <= floor:
            self.floor_chain = self.rows.pop(0)[2]
        self.floor = floor
        return NewTrim(self.group, snapshot, floor)

    def state(self) -> GroupState:
        return GroupState(
            self.group, self.incarnation, self.head, self.chain, self.time_ms, self.floor, self.keep,
            self.log_bytes, self.snapshot,
        )  # fmt: skip

    def born(self) -> NewGroup:
        return NewGroup(self.group, self.incarnation, self.keep)


def groups(store: LogStore) -> list[GroupState]:
    """All but the one with the empty name, which comes behind none."""
    return store.list_groups("", 100)


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
    assert store.load().sessions == ()
    assert store.read("g", 0, 100) == []
    assert store.look_up("g", 0) == (None, None)
    assert groups(store) == []
    assert store.read_snapshot("g", 0, 0, 9) == b""
    assert [store.collect(9) for _ in range(2)][-1] is False


def test_what_was_committed_is_loaded_after_a_reopen(home: Home) -> None:
    log = filled(home.store, b"one", b"two")
    home.store.commit(Commit(sessions=(change(S, taken(1), taken(2, 2)),)))
    home.reopen()
    session = SessionState(S, "me", 1, 0, (taken(1), taken(2, 2)))
    assert home.store.load().sessions == (session,)
    assert groups(home.store) == [log.state()]
    assert home.store.read("g", 0, 100) == log.rows


def test_a_group_may_be_stored_without_entries(home: Home) -> None:
    log = Log("g")
    home.store.commit(Commit((log.born(),)))
    home.reopen()
    assert groups(home.store) == [log.state()]
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
    chains = [store.look_up("g", position)[1] for position in range(6)]
    assert chains == [INCARNATION, None, log.rows[0][2], None, log.rows[1][2], None]
    assert store.look_up("other", 0) == (None, None)


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
    before = home.store.load(), groups(home.store)
    good = Log("new")
    batch = Commit(
        (good.born(),), (good.entry(b"fine"), wrong), (change(S, taken(1)),), ended_sessions=(T,)
    )
    with pytest.raises(AppendRefused):
        home.store.commit(batch)
    assert (home.store.load(), groups(home.store)) == before
    assert home.store.read("new", 0, 100) == []
    home.reopen()
    assert (home.store.load(), groups(home.store)) == before
    # The store goes on, and the group's name is still free.
    home.store.commit(batch._replace(entries=(batch.entries[0], log.entry(b"three"))))
    assert home.store.read("g", 0, 100) == log.rows


def test_entries_of_one_batch_must_follow_one_another(store: LogStore) -> None:
    log = filled(store, b"one")
    skipped = Commit((), (NewEntry("g", 2, 1, b"x", S), NewEntry("g", 4, 3, b"y", S)))
    with pytest.raises(AppendRefused):
        store.commit(skipped)
    assert groups(store) == [log.state()]


@pytest.mark.parametrize("names", [("g",), ("new", "new")])
def test_a_group_is_made_once(store: LogStore, names: tuple[str, ...]) -> None:
    log = filled(store, b"one")
    with pytest.raises(AppendRefused):
        store.commit(Commit(tuple(NewGroup(name, T) for name in names)))
    assert groups(store) == [log.state()]


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
        lambda: store.look_up("g", 0),
        lambda: store.list_groups("", 1),
        lambda: store.read_snapshot("g", 0, 0, 1),
        lambda: store.collect(1),
    ):
        with pytest.raises(StoreBroken):
            call()


def test_groups_are_listed_by_the_bytes_of_their_names(home: Home) -> None:
    names = [
        "b",
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
        "a",
        "\N{GRINNING FACE}",
        "Z",
        "\uffee",
        "a\x00",
    ]
    home.store.commit(Commit(tuple(NewGroup(name, INCARNATION) for name in names)))
    home.reopen()
    names.sort(key=str.encode)
    for after in ("", "a", "aa", "zz"):
        for count in (0, 2, 99):
            expected = [name for name in names if name.encode() > after.encode()][:count]
            assert [group.name for group in home.store.list_groups(after, count)] == expected


# ---------------------------------------------------------------- snapshots and floors


def trimmed(store: LogStore, *payloads: bytes, at: int, floor: int) -> Log:
    """A group with a snapshot at *at*, whose bytes are 0 to 9 five times, in chunks of ten."""
    log = filled(store, *payloads)
    for number in range(5):
        store.commit(Commit(chunks=(log.chunk(b"0123456789", begin=not number),)))
    store.commit(Commit(trims=(log.trim(log.offer(at), floor),)))
    return log


def test_a_trimmed_group_has_its_snapshot_and_what_is_behind_its_floor(home: Home) -> None:
    log = trimmed(home.store, b"a", b"b", b"c", b"d", at=3, floor=2)
    for _ in range(2):
        chains = [log.floor_chain, log.rows[0][2], log.rows[1][2]]
        looked = [home.store.look_up("g", position) for position in range(6)]
        assert looked == [(log.state(), chain) for chain in (None, None, *chains, None)]
        assert home.store.read("g", 0, 100) == home.store.read("g", 1, 100) == []  # they are gone
        assert home.store.read("g", 2, 100) == log.rows
        assert home.store.read("g", 3, 100) == log.rows[1:]
        while home.store.collect(1):
            pass
        home.reopen()
    home.store.commit(Commit((), (log.entry(b"e"),)))
    assert home.store.read("g", 2, 100) == log.rows
    assert log.state().log_bytes == 5


def test_a_snapshot_is_read_in_parts_of_any_size(home: Home) -> None:
    log = trimmed(home.store, b"a", b"b", at=1, floor=1)
    home.reopen()
    for size in (1, 7, 10, 25, 99):
        parts = [home.store.read_snapshot("g", 1, at, size) for at in range(0, 50, size)]
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
        assert b"".join(parts) == log.snapshot_data
    assert home.store.read_snapshot("g", 1, 50, 9) == b""
    assert home.store.read_snapshot("g", 2, 0, 9) == b""
    assert home.store.read_snapshot("other", 1, 0, 9) == b""


def test_a_candidate_replaces_the_snapshot_at_once_or_not_at_all(home: Home) -> None:
    log = trimmed(home.store, b"a", b"b", b"c", at=1, floor=1)
    home.store.commit(Commit(chunks=(log.chunk(b"new"),)))
    for size in (2, 4):
        with pytest.raises(AppendRefused, match="whose candidate has 3"):
            wrong = log.offer(3)._replace(size=size)
            home.store.commit(Commit(trims=(NewTrim("g", wrong, 3),)))
    assert home.store.read_snapshot("g", 1, 0, 99) == log.snapshot_data
    home.store.commit(Commit(trims=(log.trim(log.offer(3), 1),)))
    assert home.store.read_snapshot("g", 1, 0, 99) == b""
    assert home.store.read_snapshot("g", 3, 0, 99) == b"new"
    home.reopen()
    assert groups(home.store) == [log.state()]
    assert home.store.read_snapshot("g", 3, 0, 99) == b"new"


def test_an_unfinished_candidate_is_forgotten_by_a_crash(home: Home) -> None:
    if isinstance(home, MemoryHome):
        pytest.skip("memory has no life after a crash")
    log = filled(home.store, b"a")
    home.store.commit(Commit(chunks=(log.chunk(b"half"),)))
    home.reopen()
    with pytest.raises(AppendRefused, match="whose candidate has None"):
        home.store.commit(Commit(trims=(NewTrim("g", log.offer(1), 1),)))
    with pytest.raises(AppendRefused, match="whose candidate has None bytes"):
        home.store.commit(Commit(chunks=(NewChunk("g", 4, b"rest"),)))
    log.candidate = None
    home.store.commit(Commit(chunks=(log.chunk(b"whole"),)))
    home.store.commit(Commit(trims=(log.trim(log.offer(1), 1),)))
    assert home.store.read_snapshot("g", 1, 0, 99) == b"whole"


def test_all_of_a_trim_can_be_in_one_commit(home: Home) -> None:
    log = Log("g")
    batch = Commit((log.born(),), (log.entry(b"a", 2), log.entry(b"b")))
    chunks = (log.chunk(b"one"), log.chunk(b"two"))
    home.store.commit(batch._replace(chunks=chunks, trims=(log.trim(log.offer(3), 2),)))
    home.reopen()
    assert home.store.look_up("g", 2) == (log.state(), log.floor_chain)
    assert home.store.read("g", 2, 100) == log.rows
    assert home.store.read_snapshot("g", 3, 2, 3) == b"etw"


def test_a_floor_may_lie_between_entries(home: Home) -> None:
    log = Log("g")
    home.store.commit(Commit((log.born(),), tuple(log.entry(b"x", 3) for _ in range(3))))
    home.store.commit(Commit(chunks=(log.chunk(b"s"),)))
    home.store.commit(Commit(trims=(log.trim(log.offer(9), 5),)))
    home.reopen()
    assert home.store.look_up("g", 5) == (log.state(), log.floor_chain)
    assert home.store.look_up("g", 3) == (log.state(), None)
    assert home.store.read("g", 5, 100) == log.rows
    home.store.commit(Commit(trims=(log.trim(None, 5),)))
    home.store.commit(Commit(trims=(log.trim(None, 8),)))
    assert home.store.look_up("g", 8) == (log.state(), log.floor_chain)


def test_an_empty_group_adopts_a_snapshot(home: Home) -> None:
    log = Log("g")
    home.store.commit(Commit((log.born(),), chunks=(log.chunk(b"import"),)))
    snapshot = SnapshotState(70, b"c" * 16, 6, b"d" * 32, 0)
    home.store.commit(Commit(trims=(log.trim(snapshot, 70),)))
    home.reopen()
    assert log.state().head == log.state().floor == 70
    assert home.store.look_up("g", 70) == (log.state(), b"c" * 16)
    assert home.store.read("g", 70, 100) == []
    home.store.commit(Commit((), (log.entry(b"first"),)))
    assert home.store.read("g", 70, 100) == log.rows


@pytest.mark.parametrize(
    ("trim", "said"),
    [
        (NewTrim("g", None, 1), "cannot have its floor at 1"),
        (NewTrim("g", None, 4), "cannot have its floor at 4"),
        (NewTrim("g", SnapshotState(4, b"c" * 16, 2, b"d" * 32, 4), 3), "not a place in its log"),
        (NewTrim("g", SnapshotState(5, b"c" * 16, 2, b"d" * 32, 4), 3), "not a place in its log"),
        (NewTrim("g", SnapshotState(1, b"c" * 16, 2, b"d" * 32, 4), 2), "not a place in its log"),
        (NewTrim("nobody", None, 0), "which is not in the store"),
    ],
)
def test_a_trim_that_does_not_fit_is_refused_with_its_whole_batch(
    home: Home, trim: NewTrim, said: str
) -> None:
    log = trimmed(home.store, b"a", b"b", b"c", b"d", at=3, floor=2)
    home.store.commit(Commit(chunks=(log.chunk(b"x"),)))
    also = Commit(sessions=(change(),), chunks=(NewChunk("g", 1, b"y"),))
    with pytest.raises(AppendRefused, match=said):
        home.store.commit(also._replace(trims=(trim,)))
    assert groups(home.store) == [log.state()]
    home.store.commit(Commit(trims=(log.trim(log.offer(4), 4),)))  # the candidate is as it was
    home.reopen()
    assert home.store.load().sessions == ()
    assert groups(home.store) == [log.state()]


@pytest.mark.parametrize("chunk", [NewChunk("g", 3, b"x"), NewChunk("nobody", 0, b"x")])
def test_a_chunk_that_does_not_fit_is_refused(store: LogStore, chunk: NewChunk) -> None:
    log = filled(store, b"a")
    store.commit(Commit(chunks=(log.chunk(b"12"),)))
    with pytest.raises(AppendRefused, match="a chunk"):
        store.commit(Commit(chunks=(chunk,)))
    store.commit(Commit(dropped_candidates=("g", "nobody")))
    with pytest.raises(AppendRefused, match="a chunk at 2"):
        store.commit(Commit(chunks=(NewChunk("g", 2, b"x"),)))


# ---------------------------------------------------------------- deletion


def test_a_deleted_group_is_gone_and_its_name_is_free(home: Home) -> None:
    log = trimmed(home.store, b"a", b"b", b"c", at=2, floor=1)
    home.store.commit(Commit(chunks=(log.chunk(b"candidate"),)))
    home.store.commit(Commit(deleted_groups=("g", "nobody")))
    again = Log("g", b"j" * 16, keep=True)
    for _ in range(2):
        assert home.store.look_up("g", 0) == (None, None)
        assert groups(home.store) == []
        assert home.store.read("g", 0, 100) == []
        assert home.store.read_snapshot("g", 2, 0, 9) == b""
        home.reopen()
    home.store.commit(Commit((again.born(),), (again.entry(b"new"),)))
    with pytest.raises(AppendRefused, match="whose candidate has None"):
        home.store.commit(Commit(chunks=(NewChunk("g", 9, b"x"),)))
    while home.store.collect(1):
        pass
    home.reopen()
    assert home.store.look_up("g", 1) == (again.state(), again.chain)
    assert home.store.read("g", 0, 100) == again.rows


def test_a_group_may_be_made_and_deleted_in_one_commit(home: Home) -> None:
    log = Log("g")
    batch = Commit((log.born(),), (log.entry(b"a"),), chunks=(log.chunk(b"x"),))
    home.store.commit(batch._replace(deleted_groups=("g",)))
    assert home.store.look_up("g", 0) == (None, None)
    home.store.commit(batch)
    home.reopen()
    assert home.store.read("g", 0, 9) == log.rows


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


def _run(first: int, count: int, position: int, seen: int) -> tuple[StoredOutcome, ...]:
    numbers = range(count)
    return tuple(StoredOutcome(first + n, position + n, "g", False, seen) for n in numbers)


CHANGES = st.builds(
    SessionChange,
    SESSIONS,
    st.text(max_size=3),
    st.integers(0, 2**63 - 1),
    st.integers(0, 9),
    st.one_of(
        st.lists(OUTCOMES, max_size=4, unique_by=lambda outcome: outcome.seq).map(tuple),
        st.builds(_run, st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(0, 1)),
    ),
    st.lists(st.integers(1, 9), max_size=2).map(tuple),
)


def raised(change: SessionChange, old: SessionState | None) -> SessionChange:
    """*change*, with nothing in it that goes down."""
    if old is None:
        return change
    return change._replace(
        last_used_ms=max(change.last_used_ms, old.last_used_ms),
        settled=max(change.settled, old.settled),
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
        self.made = 0

    def teardown(self) -> None:
        self.home.store.close()

    @rule(
        new=st.lists(st.tuples(NAMES, st.booleans()), unique_by=lambda new: new[0], max_size=2),
        entries=st.lists(st.tuples(NAMES, st.binary(max_size=40), st.integers(1, 3)), max_size=4),
        changes=st.lists(CHANGES, max_size=2, unique_by=lambda change: change.session),
        ended=st.lists(SESSIONS, max_size=1),
        deleted=st.lists(NAMES, max_size=1),
    )
    def commit(
        self,
        new: list[tuple[str, bool]],
        entries: list[tuple[str, bytes, int]],
        changes: list[SessionChange],
        ended: list[bytes],
        deleted: list[str],
    ) -> None:
        self.made += 1
        changes = [raised(change, self.sessions.get(change.session)) for change in changes]
        fresh = [
            Log(name, (name.encode() + b"%d" % self.made).ljust(16), keep=keep)
            for name, keep in new
            if name not in self.logs
        ]
        self.logs |= {log.group: log for log in fresh}
        appended = [self.logs[n].entry(e, step) for n, e, step in entries if n in self.logs]
        self.home.store.commit(
            Commit(
                tuple(log.born() for log in fresh),
                tuple(appended),
                tuple(changes),
                tuple(ended),
                deleted_groups=tuple(deleted),
            )
        )
        for name in deleted:
            self.logs.pop(name, None)
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
    @rule(
        name=NAMES,
        payloads=st.lists(st.binary(max_size=9), max_size=2),
        parts=st.lists(st.binary(min_size=1, max_size=20), max_size=3),
        begin=st.booleans(),
        drop=st.booleans(),
        adopt=st.booleans(),
        at=st.integers(0, 20),
        floor=st.integers(0, 30),
    )
    def trim(
        self, name: str, payloads: list[bytes], parts: list[bytes], begin: bool, drop: bool,
        adopt: bool, at: int, floor: int,
    ) -> None:  # fmt: skip
        """Anything of what makes and takes a snapshot, in one commit."""
        log = self.logs.get(name)
        if log is None:
            return
        entries = tuple(log.entry(payload, 2) for payload in payloads)
        dropped: tuple[str, ...] = ()
        if drop:
            log.candidate, dropped = None, (name,)
        chunks = tuple(log.chunk(part, begin=begin and not i) for i, part in enumerate(parts))
        snapshot = None
        if adopt and log.candidate is not None:
            if log.head:
                places = sorted(log.places())
                snapshot = log.offer(places[at % len(places)])
            else:
                snapshot = SnapshotState(at + 1, b"c" * 16, len(log.candidate), b"d" * 32, 0)
                floor = at + 1
        highest = (snapshot or log.snapshot or SnapshotState(0, b"", 0, b"", 0)).position
        trims: tuple[NewTrim, ...] = ()
        if log.floor <= highest:
            trims = (log.trim(snapshot, max(log.floor, min(floor, highest))),)
        self.home.store.commit(
            Commit((), entries, chunks=chunks, trims=trims, dropped_candidates=dropped)
        )

    @precondition(lambda self: self.logs)
    @rule(wrong=st.integers(1, 3), chunk=st.booleans())
    def refused(self, wrong: int, chunk: bool) -> None:
        log = next(iter(self.logs.values()))
        entry = NewEntry(log.group, log.head + wrong + 1, log.head + wrong, b"no", S)
        trim = NewTrim(log.group, None, (log.snapshot.position if log.snapshot else 0) + wrong)
        bad = Commit(trims=(trim,)) if chunk else Commit((), (entry,))
        also = Commit((NewGroup("not made", S),), (), (change(S, taken(1)),), (T,))
        also = also._replace(chunks=(NewChunk(log.group, 0, b"no"),), deleted_groups=(log.group,))
        with pytest.raises(AppendRefused):
            self.home.store.commit(also._replace(entries=bad.entries, trims=bad.trims))

    @rule()
    def reopen(self) -> None:
        self.home.reopen()
        if not isinstance(self.home, MemoryHome):
            for log in self.logs.values():
                log.candidate = None

    @rule(rows_max=st.sampled_from([1, 3, 1000]))
    def collect(self, rows_max: int) -> None:
        self.home.store.collect(rows_max)

    @precondition(lambda self: self.logs)
    @rule(after=st.integers(0, 12), bytes_max=st.integers(0, 100))
    def read(self, after: int, bytes_max: int) -> None:
        for log in self.logs.values():
            behind = [row for row in log.rows if row[0] > after >= log.floor]
            fits, size = 0, 0
            for _, encoded, _ in behind:
                size += len(encoded)
                if fits and size > bytes_max:
                    break
                fits += 1
            assert self.home.store.read(log.group, after, bytes_max) == behind[:fits]

    @precondition(lambda self: self.logs)
    @rule(position=st.integers(0, 12), offset=st.integers(0, 30), bytes_max=st.integers(1, 50))
    def look(self, position: int, offset: int, bytes_max: int) -> None:
        for log in self.logs.values():
            found = self.home.store.look_up(log.group, position)
            assert found == (log.state(), log.places().get(position))
            at = log.snapshot.position if log.snapshot else position
            part = self.home.store.read_snapshot(log.group, at, offset, bytes_max)
            assert part == log.snapshot_data[offset : offset + bytes_max]

    @invariant()
    def the_state_is_the_models(self) -> None:
        state = self.home.store.load()
        listed = {group.name: group for group in groups(self.home.store)}
        expected = {name: log.state() for name, log in self.logs.items()}
        assert self.home.store.look_up("", 0)[0] == expected.pop("", None)
        assert listed == expected
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
