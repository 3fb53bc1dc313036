"""A client's side of one connection, against the server's side of the same wire, without a socket."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from score import errors
from score.conversation import ANSWERS_MAX, ConnectionLost, Conversation, SessionLost
from score.payload import encode_update
from score.replica import Replica
from score.snapshot import encode_dump
from score_server.wire import messages as m
from score_server.wire.connection import Connection, Role
from score_server.wire.entry import Entry, encode_entry, snapshot_digest
from score_server.wire.limits import Limits
from ucore import UMap, Update
from ucore.tree import Tree

INCARNATION, SESSION = b"i" * 16, b"s" * 16
LIMITS = Limits(frame_bytes_max=1_000_000)


class Talk:
    """Both ends; the test plays the server."""

    def __init__(self) -> None:
        self.client = Conversation("ada")
        self.server = Connection(Role.SERVER)

    def heard(self) -> list[m.Message]:
        """What the client has sent since the last time."""
        self.server.receive_data(self.client.data_to_send())
        found: list[m.Message] = []
        while isinstance(message := self.server.next_message(), tuple):
            found.append(message)
        return found

    def say(self, *messages: m.Message) -> None:
        self.client.receive(self.server.send(*messages))

    def joined(self, replica: Replica) -> int:
        channel = self.client.join(replica)
        self.heard()
        self.say(m.Joined(channel, INCARNATION, 0, 0, None))
        assert self.client.poll(("joined", channel), channel) is not None
        return channel


@pytest.fixture
def talk() -> Talk:
    found = Talk()
    assert found.heard() == [m.Hello(1, "ada", [], None)]
    found.say(m.Welcome(1, "test", 0, [], LIMITS))
    return found


def new_replica() -> Replica:
    return Replica("g", Tree(UMap[str, object]()))


def entry(position: int, value: int) -> bytes:
    payload = encode_update(Update([[1, 0, 0, "k", value]]))
    return encode_entry(Entry(position, position - 1, 0, SESSION, position, "ben", payload))


def test_channels_of_what_was_dropped_are_given_up_before_they_are_too_many() -> None:
    talk = Talk()
    talk.heard()
    talk.say(m.Welcome(1, "test", 0, [], LIMITS._replace(channels_max=3)))
    gc.disable()  # as far as Python is concerned, they may stay for long
    try:
        for _ in range(3):
            dropped = new_replica()
            dropped.progress = dropped.__init__  # type: ignore[misc]  # a cycle, as of a structure and its view
            talk.joined(dropped)
        del dropped
        talk.client.join(new_replica())
    finally:
        gc.enable()
    assert [type(message) for message in talk.heard()] == [m.Leave, m.Leave, m.Leave, m.Join]


def test_the_servers_limits_hold_once_it_has_said_them(talk: Talk) -> None:
    assert talk.client.limits == LIMITS
    assert talk.client.poll(("welcome", 0)) is not None
    assert talk.client.poll(("welcome", 0)) is None
    assert talk.client.data_to_send() == b""


def test_each_question_finds_its_answer(talk: Talk) -> None:
    client = talk.client
    numbers = [client.next_number() for _ in range(4)]
    channel = talk.joined(new_replica())
    client.send(m.OpenSession(None))
    client.send(m.Ping(numbers[0]))
    client.send(m.Sync(channel, numbers[1]))
    client.send(m.ListGroups(numbers[2], ""))
    client.send(m.AskOutcome(numbers[3], SESSION, 9))
    talk.heard()
    talk.say(m.SessionOpened(SESSION))
    for seq in (1, 2):
        client.send(m.Submit(channel, seq, 0, 0, m.INTENT, 0, b""))
    talk.heard()
    answers = {
        ("ping", numbers[0]): m.Pong(numbers[0]),
        ("request", numbers[1]): m.Synced(numbers[1], 0),
        ("request", numbers[2]): m.GroupPage(numbers[2], [], False),
        ("request", numbers[3]): m.Outcome(numbers[3], m.OUTCOME_NO, 0),
        ("submit", 1): m.Taken(1, 1),
        ("submit", 2): m.Refused(2, m.NOT_HEAD, 1),
    }
    talk.say(*answers.values())
    assert client.session == SESSION
    assert client.poll(("session", 0)) == m.SessionOpened(SESSION)
    for key, answer in answers.items():
        assert client.poll(key) == answer


def test_entries_go_to_the_replica_of_their_channel(talk: Talk) -> None:
    replica, other = new_replica(), new_replica()
    channel = talk.joined(replica)
    talk.joined(other)
    talk.say(m.Entries(channel, [entry(1, 7), entry(2, 8)]))
    assert (replica.tree.root, replica.position, other.position) == ({"k": 8}, 2, 0)
    assert talk.client.entry_bytes == len(entry(1, 7)) + len(entry(2, 8))
    assert talk.client.channel_of(replica) == channel


def test_a_left_channel_is_said_once_and_what_still_comes_is_ignored(talk: Talk) -> None:
    replica = new_replica()
    channel = talk.joined(replica)
    talk.client.leave(replica)
    talk.client.leave(replica)
    assert talk.client.channel_of(replica) is None
    assert talk.heard() == [m.Leave(channel)]
    assert replica.position == 0
    again = talk.joined(replica)
    assert again != channel


def test_a_replica_that_nobody_holds_is_left_at_the_next_join(talk: Talk) -> None:
    channel = talk.joined(new_replica())
    gc.collect()
    talk.say(m.Entries(channel, [entry(1, 7)]))
    kept = new_replica()
    talk.client.join(kept)
    assert m.Leave(channel) in talk.heard()


def test_an_answer_to_a_join_whose_replica_is_gone_is_ignored(talk: Talk) -> None:
    channel = talk.client.join(new_replica())
    gc.collect()
    talk.heard()
    talk.say(m.Joined(channel, INCARNATION, 0, 0, None))


@pytest.mark.parametrize(
    ("code", "error", "word"),
    [
        (m.GROUP_REPLACED, errors.GroupReplacedError, "join again"),
        (m.GROUP_DAMAGED, errors.GroupDamagedError, "damaged"),
        (m.GROUP_DELETED, errors.GroupDeletedError, "'g' was deleted"),
        (m.TOO_MANY, errors.ServerBusyError, "damaged"),
        (m.TOO_LARGE, errors.ServerError, "damaged"),
    ],
)
def test_an_error_on_a_channel_is_raised_to_who_waits_there(
    code: int, error: type[Exception], word: str, talk: Talk
) -> None:
    replica, other = new_replica(), new_replica()
    channel, fine = talk.joined(replica), talk.joined(other)
    talk.say(m.Error(code, channel, "damaged"))
    with pytest.raises(error, match=word):
        talk.client.poll(("request", 1), channel)
    assert talk.client.poll(("request", 1), fine) is None
    talk.client.leave(replica)  # ended by the server: nothing to say
    assert talk.heard() == []


def test_an_error_on_a_channel_that_nobody_holds_is_kept_for_nobody(talk: Talk) -> None:
    channel = talk.client.join(new_replica())
    gc.collect()
    talk.heard()
    talk.say(m.Error(m.GROUP_DAMAGED, channel, "broken"))
    with pytest.raises(errors.GroupDamagedError):
        talk.client.poll(("joined", channel), channel)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (m.SESSION_FENCED, ConnectionLost),
        (m.SHUTTING_DOWN, ConnectionLost),
        (m.OVERLOADED, ConnectionLost),
        (m.TIMED_OUT, ConnectionLost),
        (m.SESSION_EXPIRED, SessionLost),
        (m.TOO_MANY, errors.ServerBusyError),
        (m.MALFORMED, errors.ProtocolError),
        (m.VERSION_UNSUPPORTED, errors.ProtocolError),
    ],
)
def test_an_error_that_ends_the_connection_says_what_to_do(
    code: int, error: type[Exception], talk: Talk
) -> None:
    with pytest.raises(error, match="because"):
        talk.say(m.Error(code, 0, "because"))


def test_the_end_of_the_stream_is_a_lost_connection(talk: Talk) -> None:
    with pytest.raises(ConnectionLost, match="closed"):
        talk.client.receive(b"")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda talk, channel: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        lambda talk, channel: talk.server.send(m.Entries(channel, [b"\x01"])),
        lambda talk, channel: talk.server.send(m.Entries(channel, [entry(2, 1)])),
    ],
)
def test_a_server_that_breaks_the_protocol_is_named(
    spoil: Callable[[Talk, int], bytes], talk: Talk
) -> None:
    replica = new_replica()
    channel = talk.joined(replica)
    with pytest.raises(errors.ProtocolError, match="check the address"):
        talk.client.receive(spoil(talk, channel))
    assert replica.position == 0


def test_goodbye_says_what_is_settled(talk: Talk) -> None:
    talk.client.bye(7)
    assert talk.heard() == [m.Bye(7)]


def test_a_channel_is_behind_once_its_replica_was_emptied_by_way_of_another(talk: Talk) -> None:
    replica = new_replica()
    assert not talk.client.is_behind_reset(replica)  # it has not joined here
    talk.joined(replica)
    assert not talk.client.is_behind_reset(replica)
    replica.reset()
    assert talk.client.is_behind_reset(replica)
    talk.client.leave(replica)
    talk.joined(replica)
    assert not talk.client.is_behind_reset(replica)


def test_a_replica_that_was_emptied_has_no_channel_any_more(talk: Talk) -> None:
    replica = new_replica()
    channel = talk.joined(replica)
    replica.reset()
    assert talk.client.channel_of(replica) is None
    assert talk.heard() == [m.Leave(channel)]


def test_a_channel_that_has_ended_is_told_whenever_it_is_looked_at(talk: Talk) -> None:
    channel = talk.joined(new_replica())
    talk.client.check(channel)
    talk.say(m.Error(m.GROUP_DAMAGED, channel, "torn"))
    for _ in range(2):
        with pytest.raises(errors.GroupDamagedError, match="torn"):
            talk.client.check(channel)


def test_limits_that_no_client_can_keep_to_are_the_servers_fault() -> None:
    talk = Talk()
    talk.heard()
    talk.say(m.Welcome(1, "tiny", 0, [], LIMITS._replace(name_bytes_max=1)))
    talk.client.send(m.DeleteGroup(1, "a group"))
    with pytest.raises(errors.ProtocolError, match="takes less than a client has to say"):
        talk.client.data_to_send()


def test_answers_that_nobody_asked_for_end_the_conversation(talk: Talk) -> None:
    talk.say(*[m.Pong(token) for token in range(1, ANSWERS_MAX)])
    with pytest.raises(errors.ProtocolError, match="answers that nobody has asked for"):
        talk.say(m.Pong(ANSWERS_MAX))


# ---------------------------------------------------------------- snapshots


def snapshot_at(position: int, channel: int, **content: object) -> tuple[m.Joined, bytes]:
    """What announces the snapshot of a map with *content*, and the snapshot."""
    root: UMap[str, object] = UMap(content)
    root._tree.position = position
    data = encode_dump(root._tree)
    info = m.SnapshotInfo(b"c" * 16, len(data), snapshot_digest(data))
    return m.Joined(channel, INCARNATION, position, position, info), data


def test_a_snapshot_goes_to_the_replica_of_its_channel_before_its_entries(talk: Talk) -> None:
    replica = new_replica()
    channel = talk.client.join(replica)
    talk.heard()
    joined, data = snapshot_at(3, channel, k=1)
    talk.say(joined, m.SnapshotChunk(channel, 0, data[:5]))
    assert talk.client.poll(("joined", channel), channel) == joined
    assert replica.position == 0
    talk.say(m.SnapshotChunk(channel, 5, data[5:]), m.Entries(channel, [entry(4, 7)]))
    assert (replica.tree.root, replica.position) == ({"k": 7}, 4)


def test_whether_a_join_keeps_the_history_is_the_replicas_word(talk: Talk) -> None:
    replica = Replica("g", Tree(UMap[str, object]()), keep=True)
    channel = talk.client.join(replica)
    assert talk.heard() == [m.Join(channel, "g", None, True)]


def test_two_connections_may_load_one_replica_and_the_later_place_stands(talk: Talk) -> None:
    other, replica = Talk(), new_replica()
    other.heard()
    other.say(m.Welcome(1, "test", 0, [], LIMITS))
    channel, there = talk.client.join(replica), other.client.join(replica)
    talk.heard()
    other.heard()
    joined, data = snapshot_at(3, channel, k="old")
    later, newer = snapshot_at(5, there, k="new")
    talk.say(joined, m.SnapshotChunk(channel, 0, data[:5]))
    other.say(later, m.SnapshotChunk(there, 0, newer))
    talk.say(m.SnapshotChunk(channel, 5, data[5:]))
    assert (replica.tree.root, replica.position) == ({"k": "new"}, 5)


def talk_of(incarnation: bytes, replica: Replica) -> tuple[Talk, int]:
    """Another connection of *replica*, which is told that its group is *incarnation*, and empty."""
    found = Talk()
    found.heard()
    found.say(m.Welcome(1, "test", 0, [], LIMITS))
    channel = found.client.join(replica)
    found.heard()
    found.say(m.Joined(channel, incarnation, 0, 0, None))
    return found, channel


def test_what_comes_of_another_group_of_the_same_name_is_ignored() -> None:
    # A watch's connection to a server that ended; a backup of its store was taken, and the group made anew.
    replica = new_replica()
    before, then = talk_of(b"old" + bytes(13), replica)
    after, now = talk_of(b"new" + bytes(13), replica)
    after.say(m.Entries(now, [entry(1, 7)]))
    before.say(m.Entries(then, [entry(1, 0), entry(2, 1), entry(3, 2)]))
    assert (replica.tree.root, replica.position) == ({"k": 7}, 1)
    assert before.client.is_behind_reset(replica)
    assert after.client.channel_of(replica) == now


def test_an_answer_to_a_join_that_came_too_late_moves_nothing() -> None:
    replica = new_replica()
    late = Talk()
    late.heard()
    late.say(m.Welcome(1, "test", 0, [], LIMITS))
    talk_of(b"old" + bytes(13), replica)
    channel = late.client.join(replica)
    late.heard()
    after, now = talk_of(INCARNATION, replica)
    after.say(m.Entries(now, [entry(1, 7)]))
    joined, data = snapshot_at(3, channel, k="old")
    late.say(joined._replace(incarnation=b"old" + bytes(13)), m.SnapshotChunk(channel, 0, data))
    assert late.client.poll(("joined", channel), channel) is not None
    assert (replica.tree.root, replica.position, replica.incarnation) == ({"k": 7}, 1, INCARNATION)


def test_a_snapshot_of_another_group_of_the_same_name_voids_the_other_channels() -> None:
    replica = new_replica()
    before, _ = talk_of(b"old" + bytes(13), replica)
    after = Talk()
    after.heard()
    after.say(m.Welcome(1, "test", 0, [], LIMITS))
    channel = after.client.join(replica)
    after.heard()
    joined, data = snapshot_at(3, channel, k="new")
    after.say(joined, m.SnapshotChunk(channel, 0, data), m.Entries(channel, [entry(4, 7)]))
    assert (replica.tree.root, replica.position) == ({"k": 7}, 4)
    assert before.client.is_behind_reset(replica)
    assert after.client.channel_of(replica) == channel


@pytest.mark.parametrize(
    "spoil",
    [
        lambda channel, data: m.SnapshotChunk(channel, 6, data[6:]),
        lambda channel, data: m.SnapshotChunk(channel, 0, data[:5]),
        lambda channel, data: m.SnapshotChunk(channel, 5, data[5:] + b"x"),
        lambda channel, data: m.SnapshotChunk(channel, 5, data[5:-1] + b"\x00"),
        lambda channel, data: m.Entries(channel, [entry(1, 1)]),
    ],
)
def test_a_server_that_breaks_off_or_changes_a_snapshot_is_named(
    spoil: Callable[[int, bytes], m.Message], talk: Talk
) -> None:
    replica = new_replica()
    channel = talk.client.join(replica)
    talk.heard()
    joined, data = snapshot_at(3, channel, k=1)
    talk.say(joined, m.SnapshotChunk(channel, 0, data[:5]))
    with pytest.raises(errors.ProtocolError, match="check the address"):
        talk.say(spoil(channel, data))
    assert (replica.position, replica.suspect) == (0, False)


def test_a_chunk_that_nothing_announced_is_the_servers_mistake(talk: Talk) -> None:
    replica = new_replica()
    channel = talk.joined(replica)
    with pytest.raises(errors.ProtocolError, match="not announced"):
        talk.say(m.SnapshotChunk(channel, 0, b"x"))


def test_a_snapshot_whose_replica_is_gone_is_not_kept(talk: Talk) -> None:
    replica = new_replica()
    channel = talk.client.join(replica)
    talk.heard()
    joined, data = snapshot_at(3, channel, k=1)
    talk.say(joined, m.SnapshotChunk(channel, 0, data[:5]))
    del replica
    gc.collect()
    talk.say(m.SnapshotChunk(channel, 5, data[5:]), m.Entries(channel, [entry(4, 7)]))
    assert talk.client._incoming == {}
    left = new_replica()
    channel = talk.client.join(left)
    talk.heard()
    talk.say(snapshot_at(3, channel)[0])
    talk.client.leave(left)
    assert talk.client._incoming == {}


def test_a_channel_that_ends_takes_its_snapshot_along(talk: Talk) -> None:
    replica = new_replica()
    channel = talk.client.join(replica)
    talk.heard()
    talk.say(snapshot_at(3, channel)[0], m.Error(m.GROUP_DELETED, channel, "gone"))
    assert talk.client._incoming == {}


def test_a_place_behind_the_log_is_a_lost_connection_to_who_waits_there_alone(talk: Talk) -> None:
    replica, other = new_replica(), new_replica()
    channel, fine = talk.joined(replica), talk.joined(other)
    talk.say(m.Error(m.BEHIND_TRIM, channel, "the log begins at 9"))
    with pytest.raises(ConnectionLost, match="the log begins at 9") as caught:
        talk.client.poll(("request", 1), channel)
    assert talk.client.error_on(channel) is caught.value
    assert talk.client.error_on(fine) is None
    assert talk.client.poll(("request", 1), fine) is None
    assert talk.client.channel_of(replica) is None  # the next call joins again
    assert talk.heard() == []
    assert talk.joined(replica) > fine


def test_a_place_behind_the_log_that_nobody_holds_is_nothing(talk: Talk) -> None:
    channel = talk.joined(new_replica())
    gc.collect()
    talk.say(m.Error(m.BEHIND_TRIM, channel, "the log begins at 9"))
    talk.joined(new_replica())


def test_wishes_for_snapshots_are_told_once_and_are_not_kept_without_end() -> None:
    talk = Talk()
    talk.client = Conversation("ada", ["compact"])
    assert talk.heard() == [m.Hello(1, "ada", ["compact"], None)]
    talk.say(m.Welcome(1, "test", 0, [], Limits()))
    talk.say(m.WantSnapshot("a"), m.WantSnapshot("b"), m.WantSnapshot("a"))
    assert talk.client.wanted() == ["a", "b"]
    talk.say(*[m.WantSnapshot(f"g{number}") for number in range(ANSWERS_MAX + 5)])
    assert len(talk.client.wanted()) == ANSWERS_MAX
    assert talk.client.wanted() == []
