"""One connection, whoever moves its bytes: its end, and that nobody else notices what goes wrong in it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from score_server.core.events import CloseAfterOutput, Disconnected, Faulted, Received, Ticked, Wake
from score_server.shell.endpoint import (
    CLOSING_S_MAX,
    EVENTS_MAX,
    LINGER_S_MAX,
    LINGER_WHEN_STOPPING_S_MAX,
    RUN_MAX,
    RUN_PER_EVENT,
)
from score_server.shell.sweeper import REAP_S
from score_server.wire.messages import (
    INTENT,
    MALFORMED,
    OUT_OF_ORDER,
    OVERLOADED,
    SESSION_FENCED,
    SHUTTING_DOWN,
    TOO_LARGE,
    Error,
    Hello,
    Join,
    OpenSession,
    Ping,
    Pong,
    SessionOpened,
    Submit,
    Welcome,
)
from score_server.wire.runs import SubmitRun

# ---------------------------------------------------------------- talking


async def test_a_client_is_greeted_and_answered(stage: Any, autojump_clock: Any) -> None:
    client = stage.connect()
    client.send(Hello(1, "ada", [], None))
    assert isinstance(await client.receive(), Welcome)
    client.send(Ping(7))
    assert await client.receive() == Pong(7)


async def test_what_piled_up_goes_out_in_one_send(stage: Any, autojump_clock: Any) -> None:
    client = stage.connect()
    await client.greet()
    client.send(*[Ping(token) for token in range(100)])
    await stage.settled()
    data = await client.read()
    client.wire.receive_data(data)
    assert [client.wire.next_message() for _ in range(100)] == [Pong(token) for token in range(100)]


async def test_output_is_pulled_until_there_is_none(stage: Any, autojump_clock: Any) -> None:
    stage.core.output_max = 3
    client = stage.connect()
    await client.greet()
    client.send(*[Ping(token) for token in range(10)])
    assert [await client.receive() for _ in range(10)] == [Pong(token) for token in range(10)]


async def test_bytes_may_come_one_at_a_time(stage: Any, autojump_clock: Any) -> None:
    client = stage.connect()
    for byte in client.wire.send(Hello(1, "ada", [], None)):
        client.raw(bytes([byte]))
    assert isinstance(await client.receive(), Welcome)


async def test_the_log_calls_a_client_by_its_address_and_label(
    stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = stage.connect()
    await client.greet("ada\n")
    client.raw(b"\xff" * 4)
    assert await client.receive() is not None
    assert r"peer-1 ('ada\n'): told: " in caplog.text


@pytest.mark.parametrize(
    ("code", "level"),
    [(MALFORMED, "WARNING"), (SESSION_FENCED, "INFO"), (SHUTTING_DOWN, "DEBUG")],
)
async def test_only_mistakes_are_warnings(
    stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture, code: int, level: str
) -> None:
    client = stage.connect()
    with caplog.at_level("DEBUG", "score_server"):
        stage.hub.handle(Faulted(1, code, "why"))
        assert await client.receive() == Error(code, 0, "why")
    assert [r.levelname for r in caplog.records if "told: why" in r.getMessage()] == [level]


# ---------------------------------------------------------------- ends


async def test_a_client_that_closes_is_gone(stage: Any, autojump_clock: Any) -> None:
    client = stage.connect()
    await client.greet()
    client.close()
    await stage.settled()
    assert stage.core.told(Disconnected) == [Disconnected(1)]
    assert stage.ended == {1}


async def test_a_client_that_is_cut_off_in_the_middle_of_a_frame_is_gone(
    stage: Any, autojump_clock: Any
) -> None:
    client = stage.connect()
    await client.greet()
    client.raw(client.wire.send(Ping(1))[:-1])
    client.close()
    await stage.settled()
    assert stage.core.told(Faulted) == []
    assert stage.ended == {1}


BAD = {
    "no frame": (b"\xff\xff\xff\xff", TOO_LARGE),
    "no array": (b"\x00\x00\x00\x01\x01", MALFORMED),
    "out of order": (bytes.fromhex("00000004 81 82 09 01"), OUT_OF_ORDER),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_client_that_breaks_the_protocol_gets_one_typed_error(
    stage: Any, autojump_clock: Any, bad: str
) -> None:
    data, code = BAD[bad]
    client, other = stage.connect(), stage.connect()
    client.raw(data)
    error = await client.receive()
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (code, 0)
    assert await client.read() == b""
    client.close()
    await stage.settled()
    assert stage.ended == {1}
    assert [event.connection for event in stage.core.told(Disconnected)] == [1]
    await other.greet()


async def test_messages_behind_the_mistake_do_not_count(stage: Any, autojump_clock: Any) -> None:
    client = stage.connect()
    await client.greet()
    good = client.wire.send(Ping(1))
    client.raw(good + b"\x00\x00\x00\x01\x01" + good)
    assert await client.receive() == Pong(1)
    assert isinstance(await client.receive(), Error)
    client.raw(good * 10)
    client.close()
    await stage.settled()
    assert stage.core.events.count(Received(1, Ping(1))) == 1


async def test_what_was_answered_comes_before_the_goodbye(stage: Any, autojump_clock: Any) -> None:
    stage.core.output_max = 1
    client = stage.connect()
    await client.greet()
    client.send(Ping(1), Ping(2))
    await stage.settled()
    stage.hub.handle(Faulted(1, SHUTTING_DOWN, "bye"))
    assert [await client.receive() for _ in range(3)] == [
        Pong(1), Pong(2), Error(SHUTTING_DOWN, 0, "bye"),
    ]  # fmt: skip


async def test_what_a_client_says_after_the_goodbye_is_read_and_dropped(
    stage: Any, autojump_clock: Any
) -> None:
    client = stage.connect()
    await client.greet()
    stage.hub.handle(Faulted(1, SHUTTING_DOWN, "bye"))
    client.raw(client.wire.send(Ping(1)))  # crosses the goodbye
    assert await client.receive() == Error(SHUTTING_DOWN, 0, "bye")
    await stage.settled()
    assert stage.core.told(Received) == [Received(1, Hello(1, "ada", [], None))]
    assert stage.ended == set()  # it has not closed yet, and there is time
    client.close()
    await stage.settled()
    assert stage.ended == {1}


async def test_a_peer_that_does_not_take_its_goodbye_has_a_deadline(
    stage: Any, autojump_clock: Any
) -> None:
    client = stage.connect()
    client.stop_taking()
    begun = trio.current_time()
    stage.hub.handle(Faulted(1, MALFORMED, "no"))
    await stage.end_seen.wait()
    assert trio.current_time() - begun == pytest.approx(CLOSING_S_MAX, abs=2 * REAP_S)


@pytest.mark.parametrize(
    ("stopping", "linger_s"), [(False, LINGER_S_MAX), (True, LINGER_WHEN_STOPPING_S_MAX)]
)
async def test_a_peer_that_does_not_close_after_the_goodbye_has_a_deadline(
    stage: Any, autojump_clock: Any, stopping: bool, linger_s: float
) -> None:
    client = stage.connect()
    begun = trio.current_time()
    stage.hub.stopping = stopping
    stage.hub.handle(Faulted(1, MALFORMED, "no"))
    assert await client.receive() == Error(MALFORMED, 0, "no")
    await stage.end_seen.wait()
    assert trio.current_time() - begun == pytest.approx(linger_s, abs=2 * REAP_S)


async def test_a_bug_in_one_connection_is_logged_and_nobody_elses(
    stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client, other = stage.connect(), stage.connect()
    await client.greet()
    stage.core.outbox[1].append(Welcome(1, "twice", 0, [], client.wire.limits))  # not allowed
    stage.connections[0].flush()
    await stage.settled()
    assert stage.ended == {1}
    assert "internal error, connection dropped" in caplog.text
    assert stage.hub.failure is None
    await other.greet()


async def test_an_error_that_nobody_has_sent_yet_is_sent_although_the_peer_has_ended(
    stage: Any, autojump_clock: Any
) -> None:
    client = stage.connect()
    await client.greet()
    client.close()
    stage.hub.handle(Faulted(1, MALFORMED, "no"))
    assert await client.receive() == Error(MALFORMED, 0, "no")


# ---------------------------------------------------------------- bounds


async def test_a_client_that_takes_no_answers_is_not_read_from(
    stage: Any, autojump_clock: Any
) -> None:
    stage.core.congested_by = 2 * EVENTS_MAX
    stage.core.output_max = 1
    client = stage.connect()
    await client.greet()
    client.stop_taking()
    for step in range(20):
        client.send(*[Ping(step * EVENTS_MAX + token) for token in range(EVENTS_MAX)])
    await stage.settled()
    # Asked after each step, so a step more than the bound at most; the rest waits with the client.
    assert len(stage.core.told(Received)) <= 1 + 3 * EVENTS_MAX
    client.take_again()
    for token in range(20 * EVENTS_MAX):
        assert await client.receive() == Pong(token)


async def test_submissions_that_come_together_are_one_event(
    stage: Any, autojump_clock: Any
) -> None:
    opened, asked = SessionOpened(b"s" * 16), Received(1, OpenSession(None))
    stage.core.extra = lambda event: stage.core._say(1, opened) if event == asked else []
    client = stage.connect()
    await client.greet()
    client.send(OpenSession(None), Join(1, "g", None))
    assert await client.receive() == opened
    client.send(*[Submit(1, seq, 0, 0, INTENT, 0, b"x") for seq in range(1, 2 * RUN_MAX + 2)])
    await stage.settled()
    runs = [said.message for said in stage.core.told(Received) if type(said.message) is SubmitRun]
    assert [len(run.payloads) for run in runs] == [RUN_MAX, RUN_MAX]
    # One step for each, so that others have theirs between them.
    assert RUN_MAX // RUN_PER_EVENT >= EVENTS_MAX


async def test_a_congested_client_can_be_told_goodbye(stage: Any, autojump_clock: Any) -> None:
    stage.core.congested_by = 1
    client = stage.connect()
    stage.core.extra = lambda event: []
    await client.greet()
    client.stop_taking()
    client.send(*[Ping(token) for token in range(20)])
    await stage.settled()
    received = len(stage.core.told(Received))
    stage.hub.handle(Faulted(1, SHUTTING_DOWN, "bye"))
    await stage.settled()
    client.take_again()
    said = [await client.receive() for _ in range(received)]
    assert said[-1] == Error(SHUTTING_DOWN, 0, "bye")
    assert len(stage.core.told(Received)) == received


async def test_a_goodbye_within_a_frame_ends_the_reading_at_the_next_step(
    stage: Any, autojump_clock: Any
) -> None:
    def end(event: Any) -> Any:
        return [CloseAfterOutput(1), Wake(1)] if event == Received(1, Ping(2)) else []

    stage.core.extra = end
    client = stage.connect()
    await client.greet()
    client.send(*[Ping(token) for token in range(5 * EVENTS_MAX)])
    await stage.settled()
    assert len(stage.core.told(Received)) == 1 + EVENTS_MAX
    assert await client.receive() == Pong(0)


async def test_frames_that_are_never_finished_are_bounded_over_all_connections(
    stage: Any, autojump_clock: Any
) -> None:
    clients = [stage.connect() for _ in range(3)]
    for client in clients:
        await client.greet()
    start = b"\x00\x10\x00\x00\x81\x85\x05"
    clients[0].raw(start + bytes(3000))
    clients[1].raw(start + bytes(4000))
    await stage.settled()
    assert stage.core.told(Faulted) == []
    clients[2].raw(start + bytes(3500))
    error = await clients[1].receive()
    assert isinstance(error, Error)
    assert error.code == OVERLOADED
    await stage.settled()
    assert [fault.connection for fault in stage.core.told(Faulted)] == [2]


async def test_a_finished_frame_is_not_held_any_more(stage: Any, autojump_clock: Any) -> None:
    client = stage.connect()
    await client.greet()
    for _ in range(3):
        data = client.wire.send(*[Ping(token) for token in range(2000)])
        client.raw(data[:-1])
        await stage.settled()
        client.raw(data[-1:])
        for token in range(2000):
            assert await client.receive() == Pong(token)
    assert stage.hub._unfinished == {}
    assert stage.core.told(Ticked) == []
