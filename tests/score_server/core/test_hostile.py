"""Whatever a client says, in every state: a typed end at worst, nothing kept, nobody else harmed.

Bytes take the way they take in a server: through the connection's protocol into the core, and what the core
says back out through it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from score_server.core.events import Connected, Disconnected, Faulted, Received, Stopping, Ticked
from score_server.core.group import Recent
from score_server.core.outgoing import GROUPS_PER_PAGE
from score_server.core.peer import ANSWERS_MAX
from score_server.wire.connection import Connection, Role
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.fields import GROUPS_MAX
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    CODES,
    AskTurn,
    Bye,
    Credit,
    Hello,
    Join,
    Leave,
    Message,
    OpenSession,
    Ping,
    Resume,
    Sync,
    Taken,
)
from score_server.wire.states import ChannelState

from ..wire.hostile import MESSAGES, frame, variants
from .playbook import Playbook, submit

BAD, HONEST = 1, 2
LIMITS = Limits(
    frame_bytes_max=5000, change_bytes_max=4000, unsettled_max=16, pinned_max=4, channels_max=8,
    sessions_max=32, credit_bytes_max=1000,
)  # fmt: skip
EVENTS_MAX = 64  # as the shell gives them to the core
FIRST_ID = 1000
OWN_SESSION = (FIRST_ID + 3).to_bytes(
    16, "big"
)  # the bad client's, behind the honest one's and the group
STALE = Resume(b"i" * 16, 1, b"c" * 16)


class Bench:
    """A core with an honest client and a bad one, which sends bytes."""

    def __init__(self) -> None:
        self.book = Playbook(LIMITS)
        self.wire = Connection(Role.SERVER, LIMITS)
        self.seq = 0
        self.book._ids = FIRST_ID  # the honest client's session is nothing that EDGES guess
        self.book.open(HONEST)
        self.incarnation = self.book.join(HONEST).incarnation
        self.submit_honestly()
        self.book.handle(Connected(BAD))

    def submit_honestly(self) -> None:
        """An honest client is served as ever."""
        self.seq += 1
        self.book.say(HONEST, submit(self.seq, settled=self.seq - 1))
        for _ in range(3):
            self.book.settle_all()
            self.book.now_ms += LIMITS.turn_lease_ms
            self.book.handle(Ticked())
        told = self.book.out(HONEST)
        assert any(type(said) is Taken and said.seq == self.seq for said in told), told

    def hear(self, data: bytes) -> None:
        """The bad client's bytes arrive, and it reads what it is told."""
        self.wire.receive_data(data)
        while events := self._events():
            self.book.handle(*events)
            peer = self.book.core._peers[BAD]
            assert peer.answers() <= ANSWERS_MAX + EVENTS_MAX
            self.answer()

    def answer(self) -> None:
        if BAD in self.book.core._peers:
            for message in self.book.out(BAD):
                self.wire.send(message)

    def _events(self) -> list[Any]:
        events: list[Any] = []
        try:
            while len(events) < EVENTS_MAX:
                message = self.wire.next_message()
                if not isinstance(message, tuple):
                    break
                events.append(Received(BAD, message))
        except RemoteProtocolError as error:
            if BAD not in self.book.closing:
                events.append(Faulted(BAD, error.code, error.text))
        if BAD in self.book.closing:
            return []  # the shell reads no more
        return events

    def say(self, *messages: Message) -> None:
        self.hear(frame([[CODES[type(message)], *message] for message in messages]))


# ---------------------------------------------------------------- states


def new(_: Bench) -> None: ...


def greeted(bench: Bench) -> None:
    bench.say(Hello(1, "bad", [], None))


def opening(bench: Bench) -> None:
    greeted(bench)
    bench.say(OpenSession(None))


def opened(bench: Bench) -> None:
    opening(bench)
    bench.book.settle_all()
    bench.answer()
    assert OWN_SESSION in bench.book.core._sessions


def joined(bench: Bench) -> None:
    opened(bench)
    bench.say(Join(1, "g", None))


def joined_without_session(bench: Bench) -> None:
    greeted(bench)
    bench.say(Join(1, "g", None))


def joining(bench: Bench) -> None:
    """The chain at the place where it resumes is being looked up, in the store."""
    opened(bench)
    group = bench.book.core._residents.groups["g"]
    group.recent = Recent(group.durable_head)
    bench.submit_honestly()
    _, chain = bench.book.store.look_up("g", 1)
    assert chain is not None
    bench.say(Join(1, "g", Resume(bench.incarnation, 1, chain)))
    assert bench.book.reads


def committing(bench: Bench) -> None:
    joined(bench)
    bench.say(submit(1))


def following(bench: Bench) -> None:
    joined(bench)
    bench.say(Credit(1, 1000))


def in_turn(bench: Bench) -> None:
    joined(bench)
    bench.say(AskTurn(1, 1))
    bench.book.settle_all()
    bench.answer()


def waiting_for_a_turn(bench: Bench) -> None:
    joined(bench)
    bench.book.say(HONEST, AskTurn(1, 99))
    bench.say(AskTurn(1, 1), submit(1))


def channel_gone(bench: Bench) -> None:
    joined(bench)
    bench.say(Leave(1))


def leaving(bench: Bench) -> None:
    joined(bench)
    bench.say(Bye(0))


def ended(bench: Bench) -> None:
    joined(bench)
    bench.hear(b"\0\0\0\0")


def fenced(bench: Bench) -> None:
    joined(bench)
    session = bench.book.core._peers[BAD].session
    assert session is not None
    bench.book.connect(3)
    bench.book.say(3, OpenSession(session.id))


STATES: dict[str, Callable[[Bench], None]] = {
    state.__name__: state
    for state in (
        new, greeted, opening, opened, joined, joined_without_session, joining, committing, following, in_turn,
        waiting_for_a_turn, channel_gone, leaving, ended, fenced,
    )
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_every_message_in_every_state_ends_the_bad_connection_at_worst(state: str) -> None:
    for kind in MESSAGES:
        rng = random.Random(f"{state}/{kind}")
        for data in variants(kind, rng, OWN_SESSION):
            bench = Bench()
            STATES[state](bench)
            bench.hear(data)
            bench.hear(data)
            gone_without_a_trace(bench)


def gone_without_a_trace(bench: Bench) -> None:
    """The bad client leaves; nothing is held for it, and the honest one goes on."""
    book, core = bench.book, bench.book.core
    assert bench.wire.buffered <= 4 + LIMITS.frame_bytes_max
    book.handle(Disconnected(BAD))
    book.closing.discard(BAD)
    bench.submit_honestly()
    assert BAD not in core._peers
    assert not core._greeting
    assert not core._residents._lookups
    assert not core._out.feed._holders
    assert not any(core._out.feed._waiting.values())
    assert not core._turns.busy
    assert set(core._residents.groups) == {"g"}
    assert all(cursor.peer.number == HONEST for cursor in core._residents.groups["g"].cursors)
    assert len(core._sessions) <= 3
    for session in core._sessions.values():
        assert session.count() <= LIMITS.unsettled_max + LIMITS.pinned_max


@pytest.mark.parametrize("state", STATES)
def test_noise_in_every_state_ends_the_bad_connection_at_worst(state: str) -> None:
    rng = random.Random(state)
    for _ in range(40):
        bench = Bench()
        STATES[state](bench)
        bench.hear(rng.randbytes(rng.randint(1, 40)))
        bench.hear(b"\0\0\0\x20" + rng.randbytes(32))
        gone_without_a_trace(bench)


@pytest.mark.parametrize("state", STATES)
def test_a_server_that_stops_stops_whatever_a_bad_client_is_doing(state: str) -> None:
    for kind in MESSAGES:
        bench = Bench()
        STATES[state](bench)
        bench.hear(frame([[CODES[type(MESSAGES[kind])], *MESSAGES[kind]]]))
        bench.book.handle(Stopping())
        bench.hear(frame([[CODES[Ping], 1]]))
        bench.book.settle_all()
        assert bench.book.core.stopped


def test_long_talk_leaves_nothing_behind() -> None:
    bench = Bench()
    joined(bench)
    for number in range(2, 400):
        bench.say(Join(number, f"group {number}", None), Sync(number, 1), Leave(number))
        bench.say(submit(number, settled=number - 1), Ping(number))
        bench.book.settle_all()
        bench.answer()
    standing = bench.wire.standing
    assert (standing.channel(1), standing._others) == (ChannelState.OPEN, {})
    assert set(bench.book.core._residents.groups) == {"g"}
    gone_without_a_trace(bench)


def test_a_page_of_groups_is_no_longer_than_it_is_counted() -> None:
    assert GROUPS_PER_PAGE <= GROUPS_MAX
