"""What only a sweeper does: one step for all that is ready, turns for everybody, and the kernel's odd answers."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing

from score_server.core.events import Committed, Disconnected, Event, Faulted, Received
from score_server.shell import sweeper
from score_server.shell.endpoint import EVENTS_MAX
from score_server.shell.sweeper import (
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    SWEEPS_PER_COMMIT,
    Sweeper,
)
from score_server.wire.connection import Connection, Role
from score_server.wire.messages import MALFORMED, Error, Ping, Pong


def pings(count: int) -> list[Ping]:
    return [Ping(token) for token in range(count)]


# ---------------------------------------------------------------- turns


async def test_what_all_have_said_is_one_step_and_one_send_for_each(
    sweeper_stage: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = sweeper_stage
    clients = [stage.connect() for _ in range(3)]
    for client in clients:
        await client.greet()
    steps: list[list[Event]] = []
    handle_all = stage.core.handle_all

    def noted(events: list[Event], now_ms: int, *, hold: bool = False) -> Any:
        steps.append(list(events))
        return handle_all(events, now_ms, hold=hold)

    monkeypatch.setattr(stage.core, "handle_all", noted)
    for client in clients:
        client.send(Ping(1))
        client.send(Ping(2))
    await stage.settled()
    assert steps[1:] == [[]]  # where a commit would begin
    said = {(event.connection, event.message) for event in steps[0]}  # type: ignore[union-attr]
    assert said == {(number, Ping(token)) for number in (1, 2, 3) for token in (1, 2)}
    for client in clients:
        data = await client.read()
        assert int.from_bytes(data[:4], "big") == len(data) - 4  # one frame
    assert stage.sweeper.unheard == []


def steps_of(
    stage: Any, monkeypatch: pytest.MonkeyPatch, then: Any
) -> list[tuple[list[int], bool]]:
    """Who speaks in each step, and whether it holds a commit; after each, *then* is called with their count."""
    steps: list[tuple[list[int], bool]] = []
    handle_all = stage.core.handle_all

    def noted(events: Any, now_ms: int, *, hold: bool = False) -> Any:
        events = list(events)
        steps.append(([getattr(event, "connection", 0) for event in events], hold))
        effects = handle_all(events, now_ms, hold=hold)
        then(len(steps))
        return effects

    monkeypatch.setattr(stage.core, "handle_all", noted)
    return steps


async def test_a_commit_waits_for_those_who_speak_meanwhile_but_not_for_ever(
    sweeper_stage: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = sweeper_stage
    clients = [stage.connect() for _ in range(9)]
    for client in clients:
        await client.greet()
    steps = steps_of(stage, monkeypatch, lambda count: clients[count + 1].send(Ping(1)))
    for client in clients[:2]:
        client.send(Ping(1))
    with trio.move_on_after(1):
        await trio.lowlevel.checkpoint()
        while len(steps) < SWEEPS_PER_COMMIT + 1:
            await trio.lowlevel.checkpoint()
    assert SWEEPS_PER_COMMIT == 3
    assert steps[:4] == [([1, 2], True), ([3], True), ([4], True), ([], False)]


async def test_who_speaks_alone_waits_for_nobody(
    sweeper_stage: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = sweeper_stage
    clients = [stage.connect() for _ in range(2)]
    for client in clients:
        await client.greet()
    steps = steps_of(stage, monkeypatch, lambda count: count == 1 and clients[1].send(Ping(1)))
    clients[0].send(Ping(1))
    await stage.settled()
    assert steps == [([1], False), ([2], False)]


async def test_a_large_commit_waits_for_nobody(
    sweeper_stage: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "HEARD_PER_COMMIT", 1)
    stage = sweeper_stage
    clients = [stage.connect() for _ in range(4)]
    for client in clients:
        await client.greet()
    steps = steps_of(stage, monkeypatch, lambda count: count == 1 and clients[3].send(Ping(1)))
    for client in clients[:2]:
        client.send(Ping(1))
    await stage.settled()
    assert steps == [([1, 2], True), ([4], True), ([], False)]


async def test_who_has_more_to_say_when_a_commit_has_ended_is_heard_to_the_end(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    """The sweeper sleeps then, and what its connections have read already wakes nobody."""
    stage = sweeper_stage
    client = stage.connect()
    await client.greet()
    stage.core.is_waiting = True
    stage.core.extra = lambda event: stage.core.__setattr__("is_waiting", True) or []
    client.send(*pings(3 * EVENTS_MAX))
    stage.hub.deliver(Committed())
    await stage.settled()
    assert len(stage.core.told(Received)) == 1 + 3 * EVENTS_MAX


async def test_when_it_has_ended_nobody_is_heard_any_more(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    stage.sweeper.finish()
    await stage.settled()
    stage.core.extra = lambda event: stage.core.__setattr__("is_waiting", True) or []
    stage.hub.deliver(Committed())
    assert stage.core.told(Committed) == [Committed()]
    assert stage.hub.failure is None


async def test_who_says_a_lot_does_not_keep_others_waiting(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    loud, quiet = stage.connect(), stage.connect()
    await loud.greet()
    await quiet.greet()
    loud.send(*pings(5 * EVENTS_MAX))
    quiet.send(Ping(7))
    await stage.settled()
    said = [event.connection for event in stage.core.told(Received)][2:]
    assert said.index(2) <= EVENTS_MAX
    assert said.count(1) == 5 * EVENTS_MAX


async def test_who_says_something_does_not_wait_for_all_who_take_more_again(
    sweeper_stage: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "SENDS_AT_ONCE", 2)
    stage = sweeper_stage
    quiet, *slow = (stage.connect() for _ in range(6))
    for client in (quiet, *slow):
        await client.greet()
    for client in slow:
        client.stop_taking()
        client.send(Ping(1))
    await stage.settled()
    for client in slow:
        client.take_again()
    assert not stage.hub.somebody_presses()
    quiet.send(Ping(2))
    assert stage.hub.somebody_presses()
    left = []
    while not left or left[-1]:
        stage.sweeper._sweep()
        left.append([swept.number for swept in stage.connections if swept.mask & EPOLLOUT])
        assert quiet.sock.recv(1, socket.MSG_PEEK)  # from the first sweep on it has its answer
    assert [len(numbers) for numbers in left] == [3, 1, 0]
    assert await quiet.receive() == Pong(2)
    for client in slow:
        assert await client.receive() == Pong(1)


async def test_who_has_said_something_that_nobody_has_read_is_pressing(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    client = stage.connect()
    await client.greet()
    assert not stage.hub.somebody_presses()
    client.send(Ping(1))
    assert stage.hub.somebody_presses()
    await stage.settled()
    assert not stage.hub.somebody_presses()


async def test_a_socket_is_asked_about_writing_only_while_something_is_left(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    client = stage.connect()
    await client.greet()
    assert stage.connections[0].mask == EPOLLIN
    client.stop_taking()
    client.send(*pings(20))
    await stage.settled()
    assert stage.connections[0].mask == EPOLLIN | EPOLLOUT
    client.take_again()
    assert [await client.receive() for _ in range(20)] == [Pong(token) for token in range(20)]
    await stage.settled()
    assert stage.connections[0].mask == EPOLLIN


async def test_what_a_full_socket_took_in_parts_arrives_whole(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    client = stage.connect()
    await client.greet()
    client.stop_taking()
    for _ in range(40):
        client.send(*pings(EVENTS_MAX))
        await stage.settled()
    client.take_again()
    for _ in range(40):
        for token in range(EVENTS_MAX):
            assert await client.receive() == Pong(token)


# ---------------------------------------------------------------- ends


async def test_a_reset_ends_that_connection(sweeper_stage: Any, autojump_clock: Any) -> None:
    stage = sweeper_stage
    client, other = stage.connect(), stage.connect()
    await client.greet()
    client.send(Ping(1))
    await stage.settled()
    client.sock.close()  # with an unread answer: the kernel sends a reset
    await stage.settled()
    assert stage.ended == {1}
    assert stage.core.told(Disconnected) == [Disconnected(1)]
    await other.greet()


async def test_a_peer_that_has_gone_before_it_is_sent_to_is_gone(
    sweeper_stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stage = sweeper_stage
    client = stage.connect()
    await client.greet()
    client.sock.close()
    with caplog.at_level("DEBUG", "score_server"):
        stage.hub.receive([Received(1, Ping(1))])
        await stage.settled()
    assert stage.ended == {1}
    assert "connection lost" in caplog.text
    assert "internal error" not in caplog.text


async def test_a_congested_peer_that_hangs_up_is_gone(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    stage.core.congested_by = 1
    client = stage.connect()
    await client.greet()
    client.stop_taking()
    client.send(*pings(2 * EVENTS_MAX))
    await stage.settled()
    client.send(*pings(1))
    await stage.settled()
    assert stage.connections[0].mask & EPOLLIN == 0
    client.sock.close()
    await stage.settled()
    assert stage.ended == {1}


async def test_hanging_up_is_noticed_although_nothing_is_read(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    stage.connect()
    swept = stage.connections[0]
    swept._is_paused = True
    assert not swept.move(EPOLLOUT, [])
    swept._is_paused = True
    stage.core.congested_by = 0
    assert not swept.move(EPOLLIN, [])
    assert stage.ended == set()
    assert not swept.move(EPOLLHUP, [])
    assert stage.ended == {1}


async def test_a_goodbye_that_does_not_fit_reaches_a_peer_that_has_ended_and_nobody_lingers(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    client = stage.connect()
    await client.greet()
    client.stop_taking()
    stage.hub.handle(Faulted(1, MALFORMED, "no"))
    client.close()
    await stage.settled()
    assert stage.ended == set()
    begun = trio.current_time()
    client.take_again()
    assert await client.receive() == Error(MALFORMED, 0, "no")
    assert await client.read() == b""
    await stage.settled()
    assert stage.ended == {1}
    assert trio.current_time() == begun


async def test_being_ready_for_nothing_is_waited_out(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    client = stage.connect()
    assert not stage.connections[0].move(EPOLLIN, [])
    await client.greet()


async def test_closing_and_flushing_what_is_closed_is_nothing(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    stage.connect()
    swept = stage.connections[0]
    swept.close()
    swept.close()
    swept.flush()
    assert stage.core.told(Disconnected) == [Disconnected(1)]
    assert not stage.sweeper.ending


async def test_a_bug_while_more_is_heard_is_nobody_elses(
    sweeper_stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stage = sweeper_stage
    client, other = stage.connect(), stage.connect()
    await client.greet()
    client.send(*pings(EVENTS_MAX + 1))
    wire, heard = stage.connections[0]._connection, []

    class Broken:
        buffered = 0

        def receive_data(self, data: bytes) -> None:
            wire.receive_data(data)

        def send(self, *messages: Any) -> bytes:
            return wire.send(*messages)

        def next_message(self) -> Any:
            heard.append(1)
            if len(heard) > EVENTS_MAX:
                raise ZeroDivisionError("a bug")
            return wire.next_message()

    stage.connections[0]._connection = Broken()
    await stage.settled()
    assert stage.ended == {1}
    assert "internal error, connection dropped" in caplog.text
    assert stage.hub.failure is None
    await other.greet()


# ---------------------------------------------------------------- the sweeper's own end


async def test_it_ends_with_the_last_connection_once_nobody_is_added(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    stage = sweeper_stage
    client = stage.connect()
    await client.greet()
    stage.sweeper.finish()
    await stage.settled()
    assert not stage.sweeper.epoll.closed
    client.close()
    await stage.settled()
    assert stage.sweeper.epoll.closed


async def test_cancelled_it_closes_everybody(sweeper_stage: Any, autojump_clock: Any) -> None:
    stage = sweeper_stage
    clients = [stage.connect() for _ in range(3)]
    await clients[0].greet()
    stage.sweeper._scope.cancel()
    await stage.settled()
    assert stage.ended == {1, 2, 3}
    assert [await client.read() for client in clients] == [b""] * 3


async def test_a_socket_that_cannot_be_waited_for_is_still_its_callers(
    sweeper_stage: Any, autojump_clock: Any
) -> None:
    sweeper: Sweeper = sweeper_stage.sweeper
    ours, theirs = socket.socketpair()
    sweeper.epoll.register(theirs, EPOLLIN)
    with pytest.raises(FileExistsError):
        sweeper.add(theirs, 1, "twice", Connection(Role.SERVER))
    assert sweeper.swept == {}
    assert sweeper_stage.core.events == []
    sweeper.epoll.unregister(theirs)
    ours.close()
    theirs.close()
