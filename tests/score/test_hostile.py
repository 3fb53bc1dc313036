"""Hostile servers and hostile peers: whatever comes, a client raises one of its own errors or stops its view."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score.conversation import ConnectionLost, Conversation, SessionLost
from score.errors import ScoreError
from score.replica import Replica
from score_server.wire import codec
from score_server.wire import messages as m
from score_server.wire.connection import Connection, Role
from score_server.wire.entry import Entry, encode_entry
from score_server.wire.limits import Limits
from ucore import UMap, UStack, UVec
from ucore.tree import Tree

from ..score_server.wire.golden import GOLDEN

INCARNATION, SESSION = b"i" * 16, b"s" * 16
FRAMES = [bytes.fromhex(frame) for _, frame in GOLDEN.values()]
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


def joined_conversation() -> tuple[Conversation, Connection, Replica]:
    """A conversation with a session, on whose channel 1 a group was joined."""
    client, server = Conversation("me"), Connection(Role.SERVER)
    replica = Replica("g", Tree(UMap[Any, Any]()))
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


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A frame of the protocol with a few bytes changed, cut or put in."""
    frame = bytearray(draw(st.sampled_from(FRAMES)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(frame) - 1))
        frame[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
        frame = frame or bytearray(b"\0")
    return bytes(frame)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.sampled_from(["greeting", "joined"]), st.lists(spoiled(), max_size=4))
def test_a_hostile_server_ends_the_conversation_by_a_typed_error_at_worst(
    state: str, frames: list[bytes]
) -> None:
    client, replica = Conversation("me"), None
    if state == "joined":
        client, _, replica = joined_conversation()
    try:
        for frame in frames:
            client.receive(frame)
    except (ScoreError, ConnectionLost, SessionLost):
        pass
    assert replica is None or not replica.tree.interrupted


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
