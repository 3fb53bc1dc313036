"""The three tables, cell by cell: what is not allowed here is refused there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import product
from random import Random
from typing import ClassVar, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_server.wire.messages import (
    CODES,
    AskOutcome,
    AskTurn,
    Bye,
    Credit,
    EndTurn,
    Entries,
    Error,
    Hello,
    Join,
    Joined,
    Leave,
    ListGroups,
    Message,
    OfferSnapshot,
    OpenSession,
    Ping,
    Pong,
    PutSnapshot,
    Refused,
    SessionOpened,
    SnapshotChunk,
    Submit,
    Sync,
    Synced,
    Taken,
    Trim,
    Welcome,
)
from score_server.wire.states import (
    CHANNEL,
    CHANNEL_KINDS,
    CONNECTION,
    DROPPED_WHEN_GONE,
    SESSION,
    SESSION_KINDS,
    ChannelState,
    ConnectionState,
    Ending,
    OutOfOrder,
    SessionState,
    Standing,
)

from .golden import GOLDEN

# One message of each type, on channel 1 where it has one; the Error on channel 0 under Ending.
SAMPLES: dict[object, Message] = {type(message): message for message, _ in GOLDEN.values()}
SAMPLES[Join] = GOLDEN["join_fresh"][0]
SAMPLES[Error] = Error(8, 1, "")
SAMPLES[Submit] = GOLDEN["submit"][0]
SAMPLES[Ending] = Error(1, 0, "")

# How to bring about each state of a connection, and of a channel once it is open.
CONNECTIONS: dict[ConnectionState, list[object]] = {
    ConnectionState.NEW: [],
    ConnectionState.GREETED: [Hello],
    ConnectionState.OPEN: [Hello, Welcome],
    ConnectionState.LEAVING: [Hello, Welcome, Bye],
    ConnectionState.ENDED: [Ending],
}
SESSIONS: dict[SessionState, list[object]] = {
    SessionState.NONE: [],
    SessionState.OPENING: [OpenSession],
    SessionState.OPEN: [OpenSession, SessionOpened],
}
CHANNELS: dict[ChannelState, list[object]] = {
    ChannelState.UNUSED: [],
    ChannelState.JOINING: [Join],
    ChannelState.OPEN: [Join, Joined],
    ChannelState.GONE: [Join, Joined, Leave],
}
OPEN = CONNECTIONS[ConnectionState.OPEN]

# The tables once more, as sentences: who reads states.py compares with docs/protocol.md, which has these.
ALLOWED_ON_A_CONNECTION = {
    ConnectionState.NEW: {Hello, Ending},
    ConnectionState.GREETED: {Welcome, Ending},
    ConnectionState.OPEN: set(SAMPLES) - {Hello, Welcome},
    ConnectionState.LEAVING: {kind for kind, sample in SAMPLES.items() if CODES[type(sample)] > 64}
    - {Welcome},
    ConnectionState.ENDED: set(),
}
ALLOWED_IN_A_SESSION = {
    SessionState.NONE: {OpenSession},
    SessionState.OPENING: {SessionOpened},
    SessionState.OPEN: {Submit, Taken, Refused},
}
FROM_CLIENTS = {Submit, Sync, Credit, AskTurn, EndTurn, OfferSnapshot, PutSnapshot, Trim, Leave}
ALLOWED_ON_A_CHANNEL = {
    ChannelState.UNUSED: {Join},
    ChannelState.JOINING: FROM_CLIENTS | {Joined, Error},
    ChannelState.OPEN: FROM_CLIENTS | {SnapshotChunk, Entries, Error},
    ChannelState.GONE: FROM_CLIENTS | {Joined, SnapshotChunk, Entries, Error},
}


def standing(*kinds: object) -> Standing:
    found = Standing()
    for kind in kinds:
        found.advance(SAMPLES[kind])
    return found


def cells(states: Iterable[object], kinds: Iterable[type]) -> list[tuple[object, type]]:
    """Every cell of a table, in an order that does not change."""
    return list(product(states, sorted(kinds, key=lambda kind: kind.__name__)))


def channels(found: Standing) -> dict[int, ChannelState]:
    """Those that are joining or open."""
    states = {number: found.channel(number) for number in range(found.highest + 2)}
    away = ChannelState.GONE, ChannelState.UNUSED
    return {number: state for number, state in states.items() if state not in away}


def snapshot(found: Standing) -> tuple[object, ...]:
    return found.connection, found.session, channels(found), found.highest


@pytest.mark.parametrize(("state", "kind"), list(product(CONNECTIONS, SAMPLES)))
def test_a_connection_lets_through_what_its_table_has(state: ConnectionState, kind: type) -> None:
    allowed = kind in ALLOWED_ON_A_CONNECTION[state]
    assert ((state, kind) in CONNECTION) is allowed
    if not allowed:
        found = standing(*CONNECTIONS[state])
        before = snapshot(found)
        with pytest.raises(OutOfOrder, match=f"while the connection is {state.name}"):
            found.advance(SAMPLES[kind])
        assert snapshot(found) == before


@pytest.mark.parametrize(("state", "kind"), cells(SESSIONS, SESSION_KINDS))
def test_a_session_lets_through_what_its_table_has(state: SessionState, kind: type) -> None:
    found = standing(*OPEN, Join, *SESSIONS[state])
    before = snapshot(found)
    if kind in ALLOWED_IN_A_SESSION[state]:
        assert found.advance(SAMPLES[kind])
        assert found.session is SESSION[state, kind]
    else:
        assert (state, kind) not in SESSION
        with pytest.raises(OutOfOrder, match=f"while the session is {state.name}"):
            found.advance(SAMPLES[kind])
        assert snapshot(found) == before


@pytest.mark.parametrize(("state", "kind"), cells(CHANNELS, CHANNEL_KINDS))
def test_a_channel_lets_through_what_its_table_has(state: ChannelState, kind: type) -> None:
    found = standing(*OPEN, OpenSession, SessionOpened, *CHANNELS[state])
    assert found.channel(1) is state
    before = snapshot(found)
    if kind in ALLOWED_ON_A_CHANNEL[state]:
        kept = found.advance(SAMPLES[kind])
        assert found.channel(1) is CHANNEL[state, kind]
        assert kept is not (state is ChannelState.GONE and kind in DROPPED_WHEN_GONE)
    else:
        assert (state, kind) not in CHANNEL
        with pytest.raises(OutOfOrder, match=f"while channel 1 is {state.name}"):
            found.advance(SAMPLES[kind])
        assert snapshot(found) == before


def test_states_are_reached_as_the_tables_say() -> None:
    for states, of in ((CONNECTIONS, "connection"), (SESSIONS, "session")):
        for state, way in states.items():
            prefix = OPEN if of == "session" else []
            assert getattr(standing(*prefix, *way), of) is state
    assert CONNECTION[ConnectionState.OPEN, Bye] is ConnectionState.LEAVING


def test_an_error_for_channel_0_ends_every_connection_that_has_not_ended() -> None:
    for state in set(ConnectionState) - {ConnectionState.ENDED}:
        assert CONNECTION[state, Ending] is ConnectionState.ENDED


def test_every_message_has_its_place_in_the_tables() -> None:
    assert {kind for _, kind in CONNECTION} == {*get_args(Message), Ending}
    for kind in get_args(Message):
        assert ("channel" in kind._fields) is (kind in CHANNEL_KINDS)


def test_a_channels_number_is_higher_than_all_before_it() -> None:
    found = standing(*OPEN)
    found.advance(Join(5, "a", None))
    for number in (1, 4, 5):
        with pytest.raises(OutOfOrder, match=f"Join while channel {number} is"):
            found.advance(Join(number, "b", None))
    found.advance(Join(6, "b", None))
    assert found.channel(4) is ChannelState.GONE
    assert found.channel(7) is ChannelState.UNUSED


def test_a_submission_needs_its_session_and_its_channel_and_moves_neither_without() -> None:
    found = standing(*OPEN, Join)
    with pytest.raises(OutOfOrder, match="Submit while the session is NONE"):
        found.advance(SAMPLES[Submit])
    found = standing(*OPEN, OpenSession, SessionOpened)
    with pytest.raises(OutOfOrder, match="Submit while channel 1 is UNUSED"):
        found.advance(SAMPLES[Submit])


def test_gone_channels_take_no_memory() -> None:
    found = standing(*OPEN)
    for number in range(1, 1000):
        found.advance(Join(number, "a", None))
        found.advance(Leave(number) if number % 2 else Error(8, number, ""))
    assert not channels(found)
    assert not found._others


def test_one_channel_takes_no_dict_and_more_are_found_whichever_goes_first() -> None:
    for gone in product((1, 2, 3), repeat=2):
        found = standing(*OPEN, Join)
        assert found._others is None
        for number in (2, 3):
            found.advance(Join(number, "a", None))
        expected = dict.fromkeys((1, 2, 3), ChannelState.JOINING)
        for number in sorted(set(gone), key=gone.index):
            assert channels(found) == expected
            found.advance(Leave(number))
            del expected[number]
        found.advance(Join(4, "a", None))
        found.advance(SAMPLES[Joined]._replace(channel=4))  # type: ignore[attr-defined]
        assert channels(found) == expected | {4: ChannelState.OPEN}


def test_both_ends_agree_after_any_allowed_conversation() -> None:
    # What is in flight when the other side ends a channel: every crossing of two messages.
    for first, second in product((Leave, Error), (Leave, Error, Sync, Credit, Entries, Submit)):
        found = standing(*OPEN, OpenSession, SessionOpened, Join, Joined, first)
        found.advance(SAMPLES[second])
        assert found.channel(1) is ChannelState.GONE


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(SAMPLES)), st.integers(1, 3)), max_size=30))
def test_any_sequence_moves_within_the_tables_or_not_at_all(
    steps: list[tuple[object, int]],
) -> None:
    found = standing(*OPEN)
    for kind, channel in steps:
        message = SAMPLES[kind]
        if kind in CHANNEL_KINDS:
            message = message._replace(channel=channel)  # type: ignore[call-arg]
        before = snapshot(found)
        try:
            found.advance(message)
        except OutOfOrder:
            assert snapshot(found) == before
        assert found.channel(found.highest + 1) is ChannelState.UNUSED


class Crossing:
    """Two ends that send whatever their tables allow, and messages on their way between them."""

    KINDS: ClassVar[dict[bool, list[object]]] = {
        True: [
            Joined,
            Joined,
            Joined,
            Entries,
            SnapshotChunk,
            SessionOpened,
            Taken,
            Refused,
            Error,
        ],
        False: [Join, Leave, Submit, Submit, Sync, Credit, OfferSnapshot, Trim, OpenSession],
    }

    def __init__(self, seed: int) -> None:
        self.choose = Random(seed)
        self.ends = {True: standing(*OPEN), False: standing(*OPEN)}  # True: the server
        self.to: dict[bool, deque[Message]] = {True: deque(), False: deque()}

    def run(self) -> None:
        for _ in range(80):
            end = self.choose.random() < 0.5
            if self.choose.random() < 0.3:
                self.take(end)
            else:
                self.send(end, self.choose.choice(self.KINDS[end]))
        if self.choose.random() < 0.3:
            self.send(False, Bye)
        if self.choose.random() < 0.3:
            self.send(True, Ending)
        while self.to[True] or self.to[False]:
            self.take(self.choose.random() < 0.5)

    def send(self, end: bool, kind: object) -> None:
        message = SAMPLES[kind]
        if kind in CHANNEL_KINDS:
            highest = self.ends[end].highest
            channel = highest + 1 if kind is Join else self.choose.randint(1, max(1, highest))
            message = message._replace(channel=channel)  # type: ignore[call-arg]
        try:
            self.ends[end].advance(message)
        except OutOfOrder:
            return
        self.to[not end].append(message)

    def take(self, end: bool) -> None:
        if self.ends[end].connection is ConnectionState.ENDED:
            self.to[end].clear()  # as Connection does
        elif self.to[end]:
            self.ends[end].advance(self.to[end].popleft())


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 500, 100)])
def test_what_one_end_may_send_the_other_accepts_however_messages_cross(seeds: range) -> None:
    for seed in seeds:
        crossing = Crossing(seed)
        crossing.run()
        server, client = crossing.ends[True], crossing.ends[False]
        assert server.connection is client.connection
        if server.connection is not ConnectionState.ENDED:
            assert snapshot(server) == snapshot(client)


def test_messages_without_channel_or_session_pass_while_open() -> None:
    found = standing(*OPEN)
    for message in (Ping(1), Pong(1), ListGroups(1, ""), AskOutcome(1, bytes(16), 1), Synced(1, 1)):
        assert found.advance(message)
