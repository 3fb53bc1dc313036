"""The replica's laws: gap-free, once, stopped for good by what it cannot read, rebuilt when in doubt."""

from __future__ import annotations

import pytest

from score import replica as module
from score.errors import ProtocolError, ServerError, WatchOverflowError
from score.payload import encode_update
from score.replica import Change, Feed, Replica
from score.runs import RUN_ENTRIES_MAX
from score.snapshot import Incoming, Progress, encode_dump
from score_server.wire import codec
from score_server.wire.entry import Entry, encode_entry, next_chain, snapshot_digest
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.messages import Joined, Resume, SnapshotInfo
from ucore import ABSENT, UMap, Update, UVec
from ucore.base import Strict
from ucore.errors import (
    CannotApplyError,
    MalformedUpdateError,
    SkeletonError,
    UnknownTypeError,
    UpgradeNeededError,
)
from ucore.node import Container
from ucore.tree import Tree

INCARNATION, SESSION = b"i" * 16, b"s" * 16
PUT, CLEAR, APPEND, SPLICE, REVERSE = 1, 7, 16, 19, 24
Ops = list[list[object]]


class Log:
    """Entries as a server would make them, by somebody's session."""

    def __init__(self) -> None:
        self.head = 0
        self.chain = INCARNATION

    def entry(
        self,
        *ops: list[object],
        seq: int = 1,
        payload: bytes | None = None,
        session: bytes = SESSION,
    ) -> bytes:
        if payload is None:
            payload = encode_update(Update([list(op) for op in ops]))
        entry = Entry(self.head + 1, self.head, 1000 + self.head, session, seq, "ada", payload)
        self.head += 1
        encoded = encode_entry(entry)
        self.chain = next_chain(self.chain, encoded)
        return encoded


def put(key: str, value: object) -> list[object]:
    return [PUT, 0, 0, key, value]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def replica() -> Replica:
    root: UMap[str, object] = UMap()
    tree = Tree(root)
    found = Replica("g", tree)
    found.joined(Joined(1, INCARNATION, 0, 0, None))
    return found


def content(replica: Replica) -> dict[str, object]:
    assert isinstance(replica.tree.root, UMap)
    return dict(replica.tree.root)


def taken(feed: Feed) -> Change:
    """The next one."""
    assert feed.has_more()
    return next(feed.next)


def test_entries_are_applied_in_order_and_the_chain_follows(log: Log, replica: Replica) -> None:
    assert replica.resume() is None
    replica.receive_all([log.entry(put("a", 1)), log.entry(put("b", 2))])
    assert content(replica) == {"a": 1, "b": 2}
    assert replica.resume() == Resume(INCARNATION, 2, log.chain)
    assert not replica.suspect


def test_an_empty_replica_that_waits_for_its_own_change_asks_for_the_log(replica: Replica) -> None:
    """A snapshot would hold the change, and not say what it gave."""
    replica.expect(b"s" * 16, 1)
    assert replica.resume() == Resume(INCARNATION, 0, INCARNATION)


def test_an_entry_that_is_held_already_is_passed_over(log: Log, replica: Replica) -> None:
    first = log.entry(put("a", 1))
    replica.receive(first)
    replica.receive(log.entry(put("a", 2)))
    replica.receive(first)
    assert content(replica) == {"a": 2}


def test_a_gap_and_what_is_no_entry_are_the_servers_mistakes(log: Log, replica: Replica) -> None:
    log.entry(put("a", 1))
    with pytest.raises(RemoteProtocolError, match="does not follow"):
        replica.receive(log.entry(put("b", 2)))
    with pytest.raises(RemoteProtocolError, match="not an entry"):
        replica.receive(b"\x01")
    assert content(replica) == {}


def test_a_change_that_cannot_be_read_stops_the_view_for_good(log: Log, replica: Replica) -> None:
    replica.receive(log.entry(put("a", 1)))
    replica.receive(log.entry(put("b", [4711, 1])))
    replica.receive(log.entry(put("c", 3)))
    assert isinstance(replica.failure, UnknownTypeError)
    assert "stops at change 1" in replica.failure.__notes__[0]
    assert (content(replica), replica.position) == ({"a": 1}, 1)
    with pytest.raises(CannotApplyError):
        replica.own(3)


def test_an_empty_replica_that_follows_another_history_voids_its_channels(replica: Replica) -> None:
    before = replica.resets
    replica.joined(Joined(2, INCARNATION, 0, 5, None))
    assert replica.resets == before  # the same one
    replica.joined(Joined(3, b"n" * 16, 0, 5, None))
    assert replica.resets == before + 1
    assert (replica.incarnation, replica.position) == (b"n" * 16, 0)


def test_joining_anew_or_from_elsewhere_than_asked_is_the_servers_mistake(
    log: Log, replica: Replica
) -> None:
    replica.receive(log.entry(put("a", 1)))
    replica.joined(Joined(2, INCARNATION, 1, 1, None))
    for position, incarnation in ((7, INCARNATION), (0, INCARNATION), (1, b"j" * 16)):
        with pytest.raises(RemoteProtocolError):
            replica.joined(Joined(3, incarnation, position, 9, None))


def test_the_own_change_gives_what_it_gave_where_it_landed(log: Log, replica: Replica) -> None:
    replica.expect(SESSION, 7)
    replica.receive(log.entry([8, 0, 0, "n", 5], seq=6))
    replica.receive(log.entry([8, 0, 0, "n", 5], seq=7))
    replica.receive(log.entry([8, 0, 0, "n", 5], seq=8))
    assert replica.own(2).results == [10]
    with pytest.raises(ProtocolError, match="did not send"):
        replica.own(2)


def test_the_own_entry_may_come_on_one_connection_and_its_answer_on_the_next(
    log: Log, replica: Replica
) -> None:
    replica.expect(SESSION, 7)
    replica.receive(log.entry([8, 0, 0, "n", 5], seq=7))
    replica.expect(SESSION, 7)  # the submission is sent again
    assert replica.own(1).results == [5]


def test_a_server_that_skips_the_own_entry_is_caught(log: Log, replica: Replica) -> None:
    replica.expect(SESSION, 7)
    replica.receive(log.entry(put("a", 1), seq=7))
    with pytest.raises(ProtocolError, match="stands at 2"):
        replica.own(2)


@pytest.mark.parametrize("where", ["marked by the tree", "between tree and chain"])
def test_doubt_is_noticed_and_reset_begins_anew(where: str, log: Log, replica: Replica) -> None:
    entries = [log.entry(put("a", 1)), log.entry(put("b", 2))]
    replica.receive(entries[0])
    if where == "marked by the tree":
        replica.tree.interrupted = True
    else:
        replica.tree.position = 5
    assert replica.suspect
    replica.reset()
    assert not replica.suspect
    assert replica.resume() is None
    replica.joined(Joined(2, INCARNATION, 0, 2, None))
    for entry in entries:
        replica.receive(entry)
    assert replica.resume() == Resume(INCARNATION, 2, log.chain)


def test_a_reset_before_any_join_is_the_empty_beginning() -> None:
    replica = Replica("g", Tree(UMap[str, object]()))
    replica.reset()
    assert replica.resume() is None


# ---------------------------------------------------------------- feeds


def test_a_feed_tells_each_change_once_also_across_a_replay(log: Log, replica: Replica) -> None:
    feed = Feed(0)
    replica.feeds.append(feed)
    entries = [log.entry(put("a", 1)), log.entry(put("a", 2), put("b", 3)), log.entry(put("a", 1))]
    replica.receive(entries[0])
    replica.receive(entries[1])
    assert feed.has_more()
    first = taken(feed)
    assert first[:3] == (1, 1000, "ada")
    assert first[3:] == (replica.tree.root, "put", "a", ABSENT, 1)
    replica.reset()
    replica.joined(Joined(2, INCARNATION, 0, 3, None))
    for entry in entries:
        replica.receive(entry)
    found = []
    while feed.has_more():
        change = taken(feed)
        found.append((change.position, change.key, change.old, change.new))
    assert found == [(2, "a", 1, 2), (2, "b", ABSENT, 3), (3, "a", 2, 1)]


def test_a_feed_that_nobody_reads_ends_in_an_error_behind_what_it_kept(
    log: Log, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_CHANGES_MAX", 2)
    feed = Feed(0)
    replica.feeds.append(feed)
    replica.receive(log.entry(put("a", 1), put("b", 1), put("c", 1)))  # one change is never split
    for key in "xyz":
        replica.receive(log.entry(put(key, 1)))
    assert [taken(feed).key for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(WatchOverflowError):
        feed.has_more()


def test_a_change_without_effects_is_told_to_nobody(log: Log, replica: Replica) -> None:
    feed = Feed(0)
    replica.feeds.append(feed)
    replica.receive(log.entry([2, 0, 0, "missing"]))
    assert not feed.has_more()
    assert next(feed.next, None) is None
    assert replica.position == 1


@pytest.mark.parametrize("room", [1, 9, 10, 15, 20])  # 20: to the last place
def test_a_feed_that_a_run_fills_ends_in_an_error_behind_what_it_kept(
    log: Log, replica: Replica, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(module, "WATCH_CHANGES_MAX", room)
    feed = Feed(0)
    replica.feeds.append(feed)
    for _ in range(4):
        replica.receive_all([log.entry(put("a", log.head)) for _ in range(10)])
    found = []
    with pytest.raises(WatchOverflowError):
        while feed.has_more():
            found += list(feed.next)
    assert [change.new for change in found] == list(range(room))
    assert not replica.suspect


def test_a_run_behind_a_change_that_alone_is_more_than_a_feed_keeps_is_left_out(
    log: Log, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_CHANGES_MAX", 5)
    feed = Feed(0)
    replica.feeds.append(feed)
    replica.receive(log.entry(*[put("a", number) for number in range(30)]))
    replica.receive_all([log.entry(put("a", 0)) for _ in range(10)])
    assert [taken(feed).new for _ in range(30)] == list(range(30))
    with pytest.raises(WatchOverflowError):
        feed.has_more()


def test_a_feed_counts_what_was_taken_of_what_came_together(
    log: Log, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_CHANGES_MAX", 15)
    feed = Feed(0)
    replica.feeds.append(feed)
    read = 0
    for _ in range(9):
        replica.receive_all([log.entry(put("a", log.head)) for _ in range(10)])
        for _ in range(10 if read else 6):  # four of them stay
            assert taken(feed).new == read
            read += 1
    replica.receive_all([log.entry(put("a", log.head)) for _ in range(12)])  # one too many
    with pytest.raises(WatchOverflowError):
        while feed.has_more():
            read += len(list(feed.next))
    assert read == 101


# ---------------------------------------------------------------- conflicts


@pytest.mark.parametrize(
    ("between", "last", "conflict"),
    [
        ([APPEND, 1, 1, 9], 2, False),
        ([SPLICE, 1, 1, 3, 0, 9], 2, False),
        ([SPLICE, 1, 1, 2, 1, 9], 2, True),
        ([SPLICE, 1, 1, 0, 0, 9], 2, True),
        ([REVERSE, 1, 1], 2, True),
        ([APPEND, 1, 1, 9], None, True),
        (put("other", 1), None, False),
        (put("v", 1), 0, True),
        ([2, 0, 0, "missing"], None, False),
    ],
)
def test_only_what_a_strict_change_relies_on_conflicts(
    between: list[object], last: int | None, conflict: bool, log: Log, replica: Replica
) -> None:
    replica.receive(log.entry(put("v", [33, 1, 2, 3, 4])))
    replica.note_effects()
    replica.receive(log.entry(between))
    assert replica.conflicts_with(Strict((1, 1), last)) is conflict
    replica.stop_noting_effects()
    replica.note_effects()
    assert not replica.conflicts_with(Strict((0, 0), None))


def test_a_change_of_a_maps_key_conflicts_with_what_relies_on_the_map(
    log: Log, replica: Replica
) -> None:
    replica.note_effects()
    replica.receive(log.entry(put("v", 1)))
    assert replica.conflicts_with(Strict((0, 0), 3))


def test_what_relies_on_everything_always_conflicts(replica: Replica) -> None:
    replica.note_effects()
    assert replica.conflicts_with(Strict(None, None))


# ---------------------------------------------------------------- many at a time


def twins() -> tuple[Replica, Replica]:
    made = [Replica("g", Tree(UMap[str, object]())) for _ in range(2)]
    for one in made:
        one.joined(Joined(1, INCARNATION, 0, 0, None))
    return made[0], made[1]


INCREMENT = 8
MANY = RUN_ENTRIES_MAX + 20


@pytest.mark.parametrize(
    "ops",
    [
        [put(f"k{i % 7}", i) for i in range(MANY)],
        [put("k", i) if i % 3 else [INCREMENT, 0, 0, "n", i] for i in range(MANY)],
        [put("k", [33]) if i == 9 else put("k", i) for i in range(MANY)],
        [put("k", 1) if i < MANY - 1 else [APPEND, 0, 0, 1] for i in range(MANY)],
        [put("k", "x") if i < RUN_ENTRIES_MAX else [INCREMENT, 0, 0, "k", i] for i in range(MANY)],
    ],
    ids=["a run", "mixed", "a container among them", "one that fails", "a run that fails"],
)
@pytest.mark.parametrize("watched", [False, True])
def test_many_entries_together_come_to_the_same_as_one_by_one(
    log: Log, ops: Ops, watched: bool
) -> None:
    together, each = twins()
    if watched:
        for one in (together, each):
            one.feeds = [Feed(0)]
    encoded = [log.entry(op) for op in ops]
    together.receive_all(encoded)
    for entry in encoded:
        each.receive(entry)
    assert repr(together.tree.dump()) == repr(each.tree.dump())
    assert together.resume() == each.resume() == Resume(INCARNATION, log.head, log.chain)
    assert not together.suspect
    while watched and each.feeds[0].has_more():
        ours, theirs = taken(together.feeds[0]), taken(each.feeds[0])
        assert repr(ours._replace(node=None)) == repr(theirs._replace(node=None))


def test_a_change_that_cannot_be_applied_ends_a_run_where_it_stands(log: Log) -> None:
    together, each = twins()
    ops = [put("k", i) if i != 12 else [99, 0, 0] for i in range(20)]
    encoded = [log.entry(op) for op in ops]
    together.receive_all(encoded)
    for entry in encoded:
        each.receive(entry)
    assert together.position == each.position == 12
    assert content(together) == {"k": 11}
    assert isinstance(together.failure, CannotApplyError)
    assert together.failure.__notes__ == each.failure.__notes__  # type: ignore[union-attr]
    together.receive_all(encoded)
    assert together.position == 12
    assert together.resume() == each.resume()


@pytest.mark.parametrize("own", [0, 3, 11, 12, 13, 15, 19])
def test_nothing_is_applied_behind_what_cannot_be_whosever_it_is(log: Log, own: int) -> None:
    replica, _ = twins()
    ops = [put("k", i) if i != 12 else [99, 0, 0] for i in range(20)]
    sessions = [SESSION if i == own else b"o" * 16 for i in range(20)]
    encoded = [
        log.entry(op, seq=7, session=session) for op, session in zip(ops, sessions, strict=True)
    ]
    replica.expect(SESSION, 7)
    replica.receive_all(encoded)
    assert isinstance(replica.failure, CannotApplyError)
    assert (replica.position, content(replica)) == (12, {"k": 11})
    assert not replica.suspect


def test_the_entries_before_a_fault_have_counted(log: Log) -> None:
    replica, _ = twins()
    encoded = [log.entry(put("k", i)) for i in range(20)]
    with pytest.raises(RemoteProtocolError):
        replica.receive_all([*encoded[:12], *encoded[13:]])
    assert (replica.position, content(replica)) == (12, {"k": 11})
    assert not replica.suspect


def test_what_the_own_entry_gives_is_kept_in_a_run_as_well(log: Log) -> None:
    replica, other = twins()
    encoded = [log.entry(put("k", i), seq=i + 1) for i in range(20)]
    replica.expect(SESSION, 7)
    replica.receive_all(encoded)
    assert replica.own(7).failure is None
    other.expect(b"o" * 16, 7)
    other.receive_all(encoded)
    assert other.tree.dump() == replica.tree.dump()


@pytest.mark.parametrize("own", [0, 3, 12, 19])
def test_the_own_entry_among_others_gives_what_it_gave_in_its_place(log: Log, own: int) -> None:
    replica, other = twins()
    sessions = [SESSION if i == own else b"o" * 16 for i in range(20)]
    encoded = [log.entry([INCREMENT, 0, 0, "n", 1], seq=7, session=session) for session in sessions]
    replica.expect(SESSION, 7)
    replica.receive_all(encoded)
    other.receive_all(encoded)
    assert replica.own(own + 1).results == [own + 1]
    assert content(replica) == content(other) == {"n": 20}
    assert replica.resume() == other.resume()
    assert not replica.suspect


def test_an_own_entry_with_the_bytes_that_were_sent_is_not_decoded(
    log: Log, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = log.entry(put("k", 1), seq=7)
    update = Update([put("k", 1)])
    replica.expect(SESSION, 7, encode_update(update), update)
    with monkeypatch.context() as patch:
        patch.setattr("score.replica.decode_update", None)
        replica.receive(mine)
    assert replica.own(1).failure is None
    assert content(replica) == {"k": 1}
    replica.expect(SESSION, 7, encode_update(update), update)
    replica.receive(log.entry(put("k", 2), seq=7))  # other bytes: what was ordered counts
    assert content(replica) == {"k": 2}
    replica.own(2)
    replica.receive(log.entry(put("k", 3)))
    assert content(replica) == {"k": 3}


def test_an_own_change_that_cannot_be_read_here_stops_the_view(log: Log, replica: Replica) -> None:
    update = Update([[99, 0, 0]])
    replica.expect(SESSION, 7, encode_update(update), update)
    replica.receive(log.entry([99, 0, 0], seq=7))
    assert isinstance(replica.failure, CannotApplyError)
    assert replica.position == 0


@pytest.mark.parametrize("code", [1, INCREMENT, 3])  # 3: DISCARD, which is no run
def test_a_feed_is_told_of_each_change_of_a_run(log: Log, code: int) -> None:
    together, each = twins()
    entries = [log.entry(put("k", 0))]
    for i in range(20):
        key = f"k{i % 3}"
        entries.append(log.entry([code, 0, 0, key] if code == 3 else [code, 0, 0, key, i]))
    told = []
    for replica in (together, each):
        feed = Feed(3)  # as if some had been read before the view was rebuilt
        replica.feeds.append(feed)
        replica.receive(entries[0])
        if replica is together:
            replica.receive_all(entries[1:])
        else:
            for entry in entries[1:]:
                replica.receive(entry)
        told.append([])
        while feed.has_more():
            change = taken(feed)
            told[-1].append((*change[:3], *change[4:]))
    assert told[0] == told[1]
    assert len(told[0]) == (0 if code == 3 else 18)
    assert together.resume() == each.resume()


def test_effects_that_are_asked_for_come_from_a_run_as_well(log: Log) -> None:
    replica, _ = twins()
    replica.note_effects()
    replica.receive_all([log.entry(put("k", i)) for i in range(20)])
    assert replica.conflicts_with(Strict((0, 0), None))


# ---------------------------------------------------------------- snapshots


def dump_of(position: int, root: Container | None = None, **content: object) -> bytes:
    """The snapshot at *position* of a map with *content*, or of *root*."""
    tree = (root if root is not None else UMap(content))._tree
    tree.position = position
    tree.skeleton = [tree.root._kind_, None]
    return encode_dump(tree)


def announce(replica: Replica, position: int, data: bytes, chain: bytes = b"c" * 16) -> Incoming:
    info = SnapshotInfo(chain, len(data), snapshot_digest(data))
    incoming = replica.joined(Joined(2, INCARNATION, position, position + 1, info))
    assert incoming is not None
    return incoming


def load(replica: Replica, position: int, data: bytes) -> None:
    incoming = announce(replica, position, data)
    half = len(data) // 2
    assert not replica.receive_chunk(incoming, 0, data[:half])
    assert replica.receive_chunk(incoming, half, data[half:])


def test_a_snapshot_becomes_the_content_and_entries_follow_it(log: Log, replica: Replica) -> None:
    load(replica, 4, dump_of(4, a=1))
    assert content(replica) == {"a": 1}
    assert replica.resume() == Resume(INCARNATION, 4, b"c" * 16)
    assert not replica.suspect
    log.head, log.chain = 4, b"c" * 16
    replica.receive_all([log.entry(put("b", 2))])
    assert content(replica) == {"a": 1, "b": 2}
    assert replica.resume() == Resume(INCARNATION, 5, log.chain)


def test_a_replica_that_lags_is_loaded_anew_and_its_handles_go_on(replica: Replica) -> None:
    other: UMap[str, object] = UMap()
    other["a"] = [1]
    load(replica, 1, dump_of(1, other))
    handle = replica.tree.root["a"]  # type: ignore[index]
    other["a"].append(2)  # type: ignore[attr-defined]
    load(replica, 9, dump_of(9, other))
    assert replica.tree.root["a"] is handle  # type: ignore[index]
    assert handle == [1, 2]


def test_a_watch_is_told_of_a_reload_once_and_of_what_follows(log: Log, replica: Replica) -> None:
    replica.receive(log.entry(put("a", 1)))
    feed = Feed(replica.position)
    replica.feeds = [feed]
    data = dump_of(4, a=2)
    load(replica, 4, data)
    replica.reset()  # as after an interrupt
    load(replica, 4, data)
    log.head = 4
    replica.receive(log.entry(put("a", 3)))
    told = []
    while feed.has_more():
        told.append(taken(feed))
    root = replica.tree.root
    assert told[0] == Change(4, 0, "", root, "reload", None, ABSENT, ABSENT)
    assert [(change.position, change.kind, change.old, change.new) for change in told[1:]] == [
        (5, "put", 2, 3)
    ]
    replica.reset()
    load(replica, 4, data)
    assert not feed.has_more()


def test_a_watch_that_has_overflowed_is_told_of_no_reload_either(
    log: Log, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_CHANGES_MAX", 1)
    feed = Feed(0)
    replica.feeds = [feed]
    replica.receive(log.entry(put("a", 1)))
    replica.receive(log.entry(put("a", 2)))
    load(replica, 4, dump_of(4))
    assert taken(feed).position == 1
    with pytest.raises(WatchOverflowError):
        feed.has_more()


def test_a_strict_change_conflicts_with_a_reload(log: Log, replica: Replica) -> None:
    replica.receive(log.entry(put("a", 1)))
    replica.note_effects()
    assert not replica.conflicts_with(Strict((0, 0), None))
    load(replica, 4, dump_of(4, a=1))
    assert replica.conflicts_with(Strict((0, 0), None))
    replica.stop_noting_effects()
    replica.note_effects()
    assert not replica.conflicts_with(Strict((0, 0), None))


def test_a_snapshot_that_came_too_late_is_passed_over(log: Log, replica: Replica) -> None:
    data = dump_of(2, a="old")
    incoming = announce(replica, 2, data)
    replica.receive_all([log.entry(put("a", value)) for value in range(3)])
    assert replica.receive_chunk(incoming, 0, data)
    assert content(replica) == {"a": 2}
    assert replica.position == 3


def test_a_snapshot_that_does_not_lead_on_is_the_servers_mistake(
    log: Log, replica: Replica
) -> None:
    info = SnapshotInfo(b"c" * 16, 1, bytes(32))
    with pytest.raises(RemoteProtocolError, match="position 0 is answered with an older snapshot"):
        replica.joined(Joined(2, INCARNATION, 0, 1, info))
    replica.receive(log.entry(put("a", 1)))
    for message in (Joined(2, INCARNATION, 1, 1, info), Joined(2, b"x" * 16, 5, 5, info)):
        with pytest.raises(RemoteProtocolError, match="position 1 is answered"):
            replica.joined(message)
    assert content(replica) == {"a": 1}


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"\xff", MalformedUpdateError, "cannot be read"),
        (codec.encode([1, 4, None]), MalformedUpdateError, "a dump is"),
        (codec.encode([1, 5, None, [35, 0, 0]]), MalformedUpdateError, "says it is of 5"),
        (codec.encode([1, 4, None, 7]), MalformedUpdateError, "root is a container"),
        (codec.encode([1, 4, None, [99]]), CannotApplyError, "99"),
        (codec.encode([2, 4, None, None, None]), UpgradeNeededError, "2"),
        (codec.encode([1, 4, None, [35, 0, 0, "a", [9999, 1]]]), UnknownTypeError, "9999"),
        (dump_of(4, UVec([1])), SkeletonError, "group 'g' holds a vec, not a map"),
    ],
)
def test_a_snapshot_that_cannot_be_understood_stops_the_view_for_good(
    log: Log, replica: Replica, data: bytes, error: type[Exception], text: str
) -> None:
    replica.receive(log.entry(put("a", 1)))
    load(replica, 4, data)
    assert isinstance(replica.failure, error)
    assert text in str(replica.failure)
    assert replica.failure.__notes__ == [
        "group 'g', snapshot of change 4; this view stops at change 1"
    ]
    log.head = 4
    replica.receive(log.entry(put("a", 2)))
    load(replica, 6, dump_of(6, a=3))
    assert content(replica) == {"a": 1}
    with pytest.raises(error):
        replica.own(2)


def test_what_an_own_change_gave_is_lost_where_the_snapshot_holds_it(
    log: Log, replica: Replica
) -> None:
    replica.expect(SESSION, 1)
    load(replica, 4, dump_of(4))
    with pytest.raises(ServerError, match="took effect at 3, and what it gave is not known"):
        replica.own(3)
    log.head = 4
    replica.expect(SESSION, 2)
    replica.receive(log.entry(put("a", 1), seq=2))
    assert replica.own(5).failure is None


def test_progress_is_told_of_both_phases(log: Log, replica: Replica) -> None:
    told: list[Progress] = []
    replica.progress = told.append
    data = dump_of(4, a=1)
    load(replica, 4, data)
    log.head = 4
    replica.receive_all([log.entry(put("b", 2))])
    assert told == [
        Progress("snapshot", len(data) // 2, len(data)),
        Progress("snapshot", len(data), len(data)),
        Progress("changes", 5, 5),
    ]


@pytest.mark.parametrize(
    "until", [0, 10, RUN_ENTRIES_MAX - 1, RUN_ENTRIES_MAX, RUN_ENTRIES_MAX + 9]
)
def test_a_replica_with_an_end_takes_in_nothing_behind_it(log: Log, until: int) -> None:
    replica = Replica("g", UMap[str, object]()._tree, until=until)
    replica.joined(Joined(1, INCARNATION, 0, 0, None))
    encoded = [log.entry(put("a", value)) for value in range(2 * RUN_ENTRIES_MAX)]
    replica.receive_all(encoded)
    assert content(replica) == ({"a": until - 1} if until else {})
    assert (replica.position, replica.suspect) == (until, False)
    replica.receive_all(encoded[until:])
    assert replica.position == until


def test_a_run_up_to_the_end_is_taken_in_one_go(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica("g", UMap[str, object]()._tree, until=RUN_ENTRIES_MAX)
    replica.joined(Joined(1, INCARNATION, 0, 0, None))
    encoded = [log.entry(put("a", value)) for value in range(RUN_ENTRIES_MAX)]
    monkeypatch.setattr(Replica, "receive", None)
    replica.receive_all(encoded)
    assert replica.position == RUN_ENTRIES_MAX
