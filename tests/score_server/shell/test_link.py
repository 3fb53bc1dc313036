"""A link's two tasks: who sends when, and their end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from score_server.core.events import Disconnected
from score_server.wire.messages import (
    Ping,
    Pong,
)


async def test_what_the_socket_takes_is_sent_at_once_and_the_rest_by_the_writer(
    link_stage: Any, autojump_clock: Any
) -> None:
    client = link_stage.connect()
    await client.greet()
    client.pipe.room = 5
    client.send(*[Ping(token) for token in range(50)])
    assert [await client.receive() for _ in range(50)] == [Pong(token) for token in range(50)]
    assert client.pipe.sends == ["now", "now", "all"]
    await link_stage.settled()
    client.pipe.room = None
    client.send(Ping(7))
    assert await client.receive() == Pong(7)
    assert client.pipe.sends == ["now", "now", "all", "now"]  # the writer has handed it back


async def test_while_the_writer_sends_nobody_else_does(
    link_stage: Any, autojump_clock: Any
) -> None:
    client = link_stage.connect()
    await client.greet()
    client.stop_taking()
    client.send(Ping(1))
    await link_stage.settled()
    client.send(Ping(2))
    await link_stage.settled()
    assert client.pipe.sends == ["now", "now", "all"]
    client.take_again()
    assert [await client.receive(), await client.receive()] == [Pong(1), Pong(2)]
    assert client.pipe.sends == ["now", "now", "all", "all"]


async def test_a_client_that_vanishes_while_it_is_sent_to_is_gone(
    link_stage: Any, autojump_clock: Any
) -> None:
    client = link_stage.connect()
    await client.greet()

    async def reset() -> None:
        raise trio.BrokenResourceError("reset by peer")

    client.pipe.room, client.pipe.on_send = 0, reset
    client.send(Ping(1))
    await link_stage.settled()
    assert link_stage.ended == {1}
    assert link_stage.core.told(Disconnected) == [Disconnected(1)]


@pytest.mark.parametrize("turns", range(12))
async def test_a_flush_at_any_moment_of_a_links_end_does_not_hurt_who_flushes(
    link_stage: Any, autojump_clock: Any, turns: int
) -> None:
    """The flusher serves everybody: nothing that one link is in the middle of may raise there."""
    client = link_stage.connect()
    await client.greet()
    client.pipe.room = 0
    client.close()
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    if 1 in link_stage.core.outbox:
        link_stage.core.outbox[1].append(Pong(1))
    link_stage.connections[0].flush()
    await link_stage.settled()
    assert link_stage.ended == {1}
    assert link_stage.hub.failure is None


async def test_a_cancelled_link_reports_its_end(link_stage: Any, autojump_clock: Any) -> None:
    client = link_stage.connect()
    await client.greet()
    link_stage.connections[0]._scope.cancel()
    await link_stage.settled()
    assert link_stage.core.told(Disconnected) == [Disconnected(1)]
    assert await client.receive() is None
