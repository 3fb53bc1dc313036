"""How many bytes an idle connection takes in the server's core and wire: what row 10 of the benchmarks sees of them.

Counted by ``tracemalloc``, so neighbours and the allocator's arenas do not matter.  The shell's share, a socket and
two small objects, is not in it.
"""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from score_server.core.events import Connected
from score_server.wire.connection import Connection, Role
from score_server.wire.messages import PROTOCOL_VERSION, Hello, Join, Message, OpenSession

from .test_operation_counts import Host, submissions

COUNT = 200
HELLO = Hello(PROTOCOL_VERSION, "somebody", [], None)
JOIN = Join(1, "g", None)


def idle(host: Host, number: int, *messages: Message, writes: bool = False) -> None:
    """A connection that has said *messages*, and one change if it *writes*, and has read its answers."""
    client = Connection(Role.CLIENT)
    host.wires[number] = Connection(Role.SERVER)
    host.step(Connected(number))
    for message in messages:
        host.receive(number, client.send(message))
        host.read(client, number)
    if writes:
        host.receive(number, submissions(client, 1, 1))
        host.read(client, number)


@pytest.mark.parametrize(
    ("messages", "writes", "bound"),
    [
        ((HELLO,), False, 550),
        ((HELLO, JOIN), False, 745),
        ((HELLO, OpenSession(None), JOIN), True, 1550),
    ],
    ids=["greeted", "joined", "written"],
)
def test_an_idle_connection_takes_a_bounded_number_of_bytes(
    messages: tuple[Message, ...], writes: bool, bound: int
) -> None:
    host = Host()
    for number in range(1, 20):
        idle(host, number, *messages, writes=writes)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20, 20 + COUNT):
            idle(host, number, *messages, writes=writes)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / COUNT <= bound
