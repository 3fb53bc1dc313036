"""Hostile servers and hostile peers: whatever comes, a client raises one of its own errors or stops its view."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score.conversation import ANSWERS_MAX, ConnectionLost, Conversation, SessionLost
from score.errors import ScoreError
from score.replica import Replica
from score_server.wire import codec
from score_server.wire import messages as m
from score_server.wire.connection import Connection, Role
from score_server.wire.entry import Entry, encode_entry, snapshot_digest
from score_server.wire.limits import Limits
from score_server.wire.messages import CODES
from ucore import UMap, UStack, UVec
from ucore.tree import Tree

from ..score_server.wire.hostile import MESSAGES, frame, variants

INCARNATION, SESSION = b"i" * 16, b"s" * 16
REPLICAS: list[Replica] = []  # alive while a conversation with them is
ENTRIES = [
    encode_entry(Entry(position, position - 1, 0, SESSION, position, "peer", payload))
    for position, payload in enumerate(
        [b"\x81\x01", b"\x82\x01\x85\x01\x00\x00\x61a\x01", b"\x82\x01\x80", b"\xff", b""], 1
    )
]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=4)
    | st.binary(max_size=4) | st.integers(0, 40),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
OPERATION = st.tuples(
    st.integers(0, 26), st.integers(0, 3), st.integers(0, 3), st.lists(PLAIN, max_size=4)
).map(lambda parts: [parts[0], parts[1], parts[2], *parts[3]])
CHANGE = st.lists(OPERATION, min_size=1, max_size=3).map(lambda ops: [1, *ops])


def new_replica() -> Replica:
    REPLICAS[:] = [Replica("g", Tree(UMap[Any, Any]()))]
    return REPLICAS[0]


def joined_conversation() -> tuple[Conversation, Connection, Replica]:
    """A conversation with a session, on whose channel 1 a group was joined."""
    client, server = Conversation("me"), Connection(Role.SERVER)
    replica = new_replica()
    server.receive_data(client.data_to_send())
    server.next_message()
    client.receive(server.send(m.Welcome(1, "hostile", 0, [], Limits())))
    client.send(m.OpenSession(None))
    channel = client.join(replica)
    server.receive_data(client.data_to_send())
    while isinstance(server.next_message(), tuple):
        pass
    client.receive(
        server.send(m.SessionOpened(SESSION), m.Joined(channel, INCARNATION, 0, 0, None))
    )
    return client, server, replica


# ---------------------------------------------------------------- a hostile server


def new() -> Conversation:
    return Conversation("me")


def greeted() -> Conversation:
    client = new()
    client.data_to_send()
    return client


def welcomed() -> Conversation:
    client = greeted()
    client.receive(frame([[CODES[m.Welcome], *m.Welcome(1, "hostile", 0, [], Limits())]]))
    return client


def opening() -> Conversation:
    client = welcomed()
    client.send(m.OpenSession(None))
    client.data_to_send()
    return client


def joining() -> Conversation:
    client = opening()
    client.join(new_replica())
    client.data_to_send()
    return client


def loading() -> Conversation:
    client = joining()
    info = m.SnapshotInfo(b"c" * 16, 9, bytes(32))
    joined = m.Joined(1, INCARNATION, 5, 5, info)
    client.receive(frame([[CODES[m.Joined], *joined], [CODES[m.SnapshotChunk], 1, 0, b"snap"]]))
    return client


def joined() -> Conversation:
    return joined_conversation()[0]


def asking() -> Conversation:
    client, _, replica = joined_conversation()
    replica.expect(SESSION, 1)
    client.send(m.Submit(1, 1, 0, 0, 0, 0, b"\x81\x01"))
    client.send(m.Sync(1, 1))
    client.send(m.AskTurn(1, 2))
    client.data_to_send()
    return client


def left() -> Conversation:
    client, _, replica = joined_conversation()
    client.leave(replica)
    client.data_to_send()
    return client


def leaving() -> Conversation:
    client = joined()
    client.bye(0)
    client.data_to_send()
    return client


STATES = {
    state.__name__: state
    for state in (new, greeted, welcomed, opening, joining, joined, asking, left, leaving, loading)
}


def survives(client: Conversation, *frames: bytes) -> None:
    """*client* takes the frames or ends by an error of its own, and holds little more than their bytes."""
    with contextlib.suppress(ScoreError, ConnectionLost, SessionLost):
        for data in frames:
            client.receive(data)
            client.data_to_send()
    assert len(client._answers) <= ANSWERS_MAX + 1
    assert client._wire.buffered <= 4 + Limits().frame_bytes_max
    for incoming in client._incoming.values():
        assert incoming.received < incoming.size
    for place in client._places.values():
        replica = place()
        assert isinstance(replica, Replica)
        assert not replica.tree.interrupted
        replica.tree.verify_all()


@pytest.mark.parametrize("state", STATES)
def test_every_message_in_every_state_ends_the_conversation_by_a_typed_error_at_worst(
    state: str,
) -> None:
    for kind in MESSAGES:
        rng = random.Random(f"{state}/{kind}")
        for data in variants(kind, rng, ENTRIES[:1], ENTRIES[:3], ENTRIES[1:]):
            survives(STATES[state](), data, data)


@pytest.mark.parametrize("state", STATES)
def test_noise_in_every_state_ends_the_conversation_by_a_typed_error_at_worst(state: str) -> None:
    rng = random.Random(state)
    for _ in range(60):
        survives(STATES[state](), rng.randbytes(rng.randint(1, 40)))
        survives(STATES[state](), b"\0\0\0\x20" + rng.randbytes(32))


@pytest.mark.parametrize("kind", ["Taken", "Refused", "Synced", "Outcome", "Pong", "GroupPage"])
def test_answers_that_nobody_asked_for_are_not_kept_without_end(kind: str) -> None:
    client = joined()
    code, first, *rest = CODES[type(MESSAGES[kind])], *MESSAGES[kind]
    with pytest.raises(ScoreError, match="answers that nobody has asked for"):
        for start in range(1, 100_000, 50):
            client.receive(frame([[code, start + more, *rest] for more in range(50)]))
    assert first is not None
    assert len(client._answers) <= ANSWERS_MAX + 1


# ---------------------------------------------------------------- hostile peers


@pytest.mark.parametrize("make", [UMap, UVec, UStack])
@settings(max_examples=400, derandomize=True, deadline=None)
@given(changes=st.lists(CHANGE | PLAIN, max_size=4))
def test_a_hostile_peers_changes_are_applied_or_fail_or_stop_the_view(
    make: type[Any], changes: list[Any]
) -> None:
    replicas = [Replica("g", Tree(make())) for _ in range(2)]
    for replica in replicas:
        replica.joined(m.Joined(1, INCARNATION, 0, 0, None))
    for position, change in enumerate(changes, 1):
        entry = Entry(position, position - 1, 0, SESSION, position, "peer", codec.encode(change))
        for replica in replicas:
            replica.receive(encode_entry(entry))
            assert not replica.suspect
            if make is not UStack:
                replica.tree.verify_all()
    first, second = replicas
    assert first.position == second.position
    assert repr(first.tree.dump()) == repr(second.tree.dump())
    assert (first.failure is None) == (second.failure is None)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_change_stop_the_view_at_its_last_whole_change(payload: bytes) -> None:
    replica = Replica("g", Tree(UMap[Any, Any]()))
    replica.joined(m.Joined(1, INCARNATION, 0, 0, None))
    replica.receive(encode_entry(Entry(1, 0, 0, SESSION, 1, "peer", payload)))
    assert (replica.position == 0) == (replica.failure is not None)


def test_a_snapshot_without_end_costs_what_has_come_and_ends_with_what_was_announced() -> None:
    client = joining()
    info = m.SnapshotInfo(b"c" * 16, 100, bytes(32))
    client.receive(frame([[CODES[m.Joined], *m.Joined(1, INCARNATION, 5, 5, info)]]))
    incoming = client._incoming[1]
    with pytest.raises(ScoreError, match="not the one that was announced"):
        for offset in range(200):
            client.receive(frame([[CODES[m.SnapshotChunk], 1, offset, b"x"]]))
            assert incoming.received == offset + 1
    assert client._incoming == {}
    assert REPLICAS[0].position == 0


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.one_of(PLAIN, st.tuples(st.just(1), st.just(5), PLAIN, PLAIN).map(list)))
def test_a_hostile_peers_dump_is_loaded_or_stops_the_view(plain: Any) -> None:
    client = joining()
    data = codec.encode(plain)
    info = m.SnapshotInfo(b"c" * 16, len(data), snapshot_digest(data))
    client.receive(
        frame(
            [
                [CODES[m.Joined], *m.Joined(1, INCARNATION, 5, 5, info)],
                [CODES[m.SnapshotChunk], 1, 0, data],
            ]
        )
    )
    (replica,) = REPLICAS
    assert (replica.failure is None) is (replica.position == 5)
    assert not replica.suspect
    replica.tree.audit()
