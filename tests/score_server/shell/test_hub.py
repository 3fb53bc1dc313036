"""Events to the core, effects to connections and the store, and the hub's two refusals."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from score_server.core.events import (
    Committed,
    Disconnected,
    Event,
    Faulted,
    ReadSlice,
    Received,
    StartCommit,
    Stopping,
    Ticked,
    Wake,
)
from score_server.shell.hub import Hub
from score_server.stores.base import Commit, StoreBroken
from score_server.wire.messages import OVERLOADED, Hello, Ping, Pong


class Port:
    """A connection as the hub sees it."""

    def __init__(self, hub: Hub, number: int) -> None:
        self.number = number
        self.name = f"port-{number}"
        self.calls: list[str] = []
        hub.connected(self)

    def flush(self) -> None:
        self.calls.append("flush")

    def close_after_output(self) -> None:
        self.calls.append("close")


HELLO = Hello(1, "ada", [], None)


async def test_effects_reach_the_connections_they_name_in_the_next_turn(
    stage: Any, autojump_clock: Any
) -> None:
    one, two = Port(stage.hub, 1), Port(stage.hub, 2)
    stage.hub.handle(Faulted(2, 1, "text"))
    for token in range(5):
        stage.hub.handle(Received(1, Ping(token)))
    assert (one.calls, two.calls) == ([], ["close"])
    await stage.settled()
    assert one.calls == ["flush"]  # once for all five
    assert two.calls == ["close", "flush"]


async def test_who_was_read_from_is_sent_to_at_once_and_others_in_the_next_turn(
    stage: Any, autojump_clock: Any
) -> None:
    one, two = Port(stage.hub, 1), Port(stage.hub, 2)
    stage.hub.receive(one, [Received(1, Ping(1)), Received(2, Ping(2))])
    assert (one.calls, two.calls) == (["flush"], [])
    await stage.settled()
    assert (one.calls, two.calls) == (["flush"], ["flush"])
    stage.hub.receive(one, [Ticked()])
    await stage.settled()
    assert (one.calls, two.calls) == (["flush"], ["flush"])


async def test_everybody_whom_a_commit_released_is_sent_to_at_once(
    stage: Any, autojump_clock: Any
) -> None:
    one, two = Port(stage.hub, 1), Port(stage.hub, 2)
    stage.core.extra = lambda event: [Wake(1), Wake(2)]
    stage.hub.deliver(Committed())
    assert (one.calls, two.calls) == (["flush"], ["flush"])


async def test_a_store_that_answers_at_once_is_part_of_the_step(
    stage: Any, autojump_clock: Any
) -> None:
    stage.jobs.answers[StartCommit(Commit())] = Committed()
    follow = {Ticked: [StartCommit(Commit())], Committed: [ReadSlice("g", 0, 9)]}
    stage.core.extra = lambda event: list(follow.get(type(event), []))
    stage.hub.handle(Ticked())
    assert stage.core.events == [Ticked(), Committed()]
    assert stage.jobs.jobs == [StartCommit(Commit()), ReadSlice("g", 0, 9)]


async def test_work_for_the_store_is_submitted_in_order(stage: Any, autojump_clock: Any) -> None:
    jobs = [StartCommit(Commit()), ReadSlice("g", 0, 9)]
    stage.core.extra = lambda event: jobs if event == Committed() else []
    stage.hub.handle(Committed())
    assert stage.jobs.jobs == jobs


async def test_events_carry_the_clocks_time(stage: Any, autojump_clock: Any) -> None:
    stage.hub.handle(Ticked())
    await trio.sleep(1.5)
    stage.hub.handle(Ticked())
    assert stage.core.times[1] - stage.core.times[0] == 1500


async def test_output_ends_with_the_connection(stage: Any, autojump_clock: Any) -> None:
    Port(stage.hub, 1)
    stage.hub.handle(Received(1, Ping(7)))
    stage.hub.disconnected(1)
    stage.hub.disconnected(1)
    assert stage.core.told(Disconnected) == [Disconnected(1)]
    assert stage.hub.output(1) == []
    assert not stage.hub.congested(1)


async def test_what_output_finds_to_be_done_is_done(stage: Any, autojump_clock: Any) -> None:
    Port(stage.hub, 1)
    stage.hub.handle(Received(1, Ping(7)))
    stage.core.reads = [ReadSlice("g", 0, 9)]
    assert stage.hub.output(1) == [Pong(7)]
    assert stage.jobs.jobs == [ReadSlice("g", 0, 9)]


async def test_whom_an_output_wakes_is_not_forgotten(stage: Any, autojump_clock: Any) -> None:
    Port(stage.hub, 1)
    other = Port(stage.hub, 2)
    stage.hub.handle(Received(1, Ping(7)))
    await stage.settled()
    stage.core.reads = [Wake(2)]  # as a slice does that two of them waited for
    assert stage.hub.output(1) == [Pong(7)]
    await stage.settled()
    assert other.calls == ["flush"]


async def test_stopping_ends_when_the_core_says_so(stage: Any, autojump_clock: Any) -> None:
    stage.core.stopped = True
    stage.hub.handle(Ticked())
    assert not stage.hub.stopped.is_set()  # nobody has asked for it
    stage.core.stopped = False
    stage.hub.stop()
    assert stage.core.events[-1] == Stopping()
    assert not stage.hub.stopped.is_set()
    stage.core.stopped = True
    stage.hub.handle(Committed())
    assert stage.hub.stopped.is_set()


# ---------------------------------------------------------------- failing


async def test_a_bug_in_the_core_stops_everything_at_once(
    stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    Port(stage.hub, 1)
    stage.hub.handle(Received(1, Ping(7)))
    stage.hub.handle(Received(1, HELLO._replace(label="bug")))
    assert isinstance(stage.hub.failure, ZeroDivisionError)
    assert stage.hub.failed.is_set()
    told = len(stage.core.events)
    stage.hub.handle(Committed())
    assert stage.hub.output(1) == []  # not even what was waiting: it may be half a truth
    assert len(stage.core.events) == told
    assert [r.levelname for r in caplog.records] == ["CRITICAL"]
    assert caplog.records[0].exc_info


async def test_a_broken_store_stops_everything_at_once(
    stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = StoreBroken("fsync failed: EIO")
    stage.hub.fail(first)
    stage.hub.fail(StoreBroken("again"))
    assert stage.hub.failure is first
    assert "stopping at once" in caplog.text
    assert "fsync failed: EIO" in caplog.text
    assert "again" not in caplog.text
    assert not caplog.records[0].exc_info


async def test_a_bug_in_output_stops_everything_too(
    stage: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def output(connection: int, bytes_max: int) -> list[Any]:
        raise ZeroDivisionError

    Port(stage.hub, 1)
    stage.hub.handle(Received(1, Ping(7)))
    monkeypatch.setattr(stage.core, "output", output)
    assert stage.hub.output(1) == []
    assert isinstance(stage.hub.failure, ZeroDivisionError)


# ---------------------------------------------------------------- deadlines


async def test_the_core_is_told_when_its_deadline_has_come(stage: Any, autojump_clock: Any) -> None:
    start_ms = int(trio.current_time() * 1000)
    fired: list[int] = []

    def ticked(event: Event) -> list[Any]:
        fired.append(stage.core.times[-1] - start_ms)
        stage.core.deadline_ms = {1: start_ms + 5250, 2: 1 << 60}[len(fired)]
        return []

    stage.core.extra = ticked
    stage.core.deadline_ms = start_ms + 400
    with trio.move_on_after(20):
        await stage.hub.tick()
    assert fired == [400, 5250]


async def test_a_deadline_that_becomes_due_meanwhile_is_noticed_within_a_second(
    stage: Any, autojump_clock: Any
) -> None:
    start_ms = int(trio.current_time() * 1000)
    stage.core.extra = lambda event: scope.cancel() or []
    async with trio.open_nursery() as nursery:
        scope = nursery.cancel_scope
        nursery.start_soon(stage.hub.tick)
        await trio.sleep(0.5)
        stage.core.deadline_ms = start_ms + 700
    assert stage.core.times[-1] - start_ms <= 1700


async def test_a_deadline_that_stays_in_the_past_does_not_spin(
    stage: Any, autojump_clock: Any
) -> None:
    stage.core.deadline_ms = 0
    with trio.move_on_after(1):
        await stage.hub.tick()
    assert 2 <= len(stage.core.told(Ticked)) <= 101


# ---------------------------------------------------------------- unfinished frames


def held(stage: Any, *sizes: int) -> list[Port]:
    ports = [Port(stage.hub, number) for number in range(1, len(sizes) + 1)]
    for port, size in zip(ports, sizes, strict=True):
        stage.hub.hold_unfinished(port.number, size)
    return ports


def victims(stage: Any) -> list[int]:
    faults = stage.core.told(Faulted)
    assert all(fault.code == OVERLOADED for fault in faults)
    return [fault.connection for fault in faults]


async def test_up_to_the_bound_everybody_may_hold_unfinished_frames(
    stage: Any, autojump_clock: Any
) -> None:
    held(stage, 4000, 3000, 3000)
    assert victims(stage) == []


async def test_over_the_bound_who_holds_the_most_pays(stage: Any, autojump_clock: Any) -> None:
    ports = held(stage, 3000, 6000, 1001)
    assert victims(stage) == [2]
    assert ports[1].calls == ["close"]
    stage.hub.hold_unfinished(1, 8000)  # what the victim held is free again
    assert victims(stage) == [2]


async def test_what_is_finished_or_gone_is_not_counted(stage: Any, autojump_clock: Any) -> None:
    held(stage, 9000, 900)
    stage.hub.hold_unfinished(1, 0)
    stage.hub.hold_unfinished(2, 9000)
    stage.hub.disconnected(2)
    Port(stage.hub, 3)
    stage.hub.hold_unfinished(3, 10_000)
    stage.hub.hold_unfinished(2, 10_000)  # gone: does not count
    assert victims(stage) == []


async def test_as_many_pay_as_needed(stage: Any, autojump_clock: Any) -> None:
    held(stage, *[900] * 11)
    stage.hub.hold_unfinished(1, 1900)
    assert len(victims(stage)) == 1
    stage.hub.hold_unfinished(2, 10_000)
    assert victims(stage)[-1] == 2
