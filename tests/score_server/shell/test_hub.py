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
from score_server.shell.hub import FOLLOWERS_AT_ONCE, FOLLOWERS_PER_ANSWER, Followed, Hub
from score_server.stores.base import Commit, StoreBroken
from score_server.wire.messages import OVERLOADED, Entries, Hello, Ping, Pong


class Port:
    """A connection as the hub sees it."""

    def __init__(self, hub: Hub, number: int) -> None:
        self.number = number
        self.name = f"port-{number}"
        self.is_asking = False
        self.calls: list[str] = []
        hub.connected(self)

    def flush(self) -> None:
        self.is_asking = False
        self.calls.append("flush")

    def close_after_output(self) -> None:
        self.calls.append("close")


HELLO = Hello(1, "ada", [], None)


async def test_effects_reach_the_connections_they_name_in_the_next_turn(
    link_stage: Any, autojump_clock: Any
) -> None:
    one, two = Port(link_stage.hub, 1), Port(link_stage.hub, 2)
    link_stage.hub.handle(Faulted(2, 1, "text"))
    for token in range(5):
        link_stage.hub.handle(Received(1, Ping(token)))
    assert (one.calls, two.calls) == ([], ["close"])
    await link_stage.settled()
    assert one.calls == ["flush"]  # once for all five
    assert two.calls == ["close", "flush"]


async def test_who_has_asked_is_sent_to_at_once_and_followers_some_in_each_turn(
    link_stage: Any, autojump_clock: Any
) -> None:
    ports = [Port(link_stage.hub, number) for number in range(1, FOLLOWERS_AT_ONCE + 12)]
    ports[-1].is_asking = ports[-2].is_asking = True
    link_stage.core.extra = lambda event: [Wake(port.number) for port in ports]
    link_stage.hub.deliver(Committed())
    served = [port.number for port in ports if port.calls == ["flush"]]
    assert served == [*range(1, FOLLOWERS_AT_ONCE + 1), ports[-2].number, ports[-1].number]
    await link_stage.settled()
    assert all(port.calls == ["flush"] for port in ports)


async def test_who_presses_is_heard_before_all_followers_have_been_sent_to(
    link_stage: Any, autojump_clock: Any
) -> None:
    ports = [Port(link_stage.hub, number) for number in range(1, FOLLOWERS_AT_ONCE + 12)]
    ports[-1].is_asking = True
    link_stage.core.extra = lambda event: [Wake(port.number) for port in ports]
    link_stage.hub.somebody_presses = lambda: True
    link_stage.hub.deliver(Committed())
    served = [port.number for port in ports if port.calls == ["flush"]]
    assert served == [*range(1, 2 * FOLLOWERS_PER_ANSWER + 1), ports[-1].number]
    await link_stage.settled()
    assert all(port.calls == ["flush"] for port in ports)


async def test_a_follower_that_asks_before_its_turn_has_come_is_sent_to_once(
    link_stage: Any, autojump_clock: Any
) -> None:
    port, other = Port(link_stage.hub, 1), Port(link_stage.hub, 2)
    link_stage.hub.handle(Received(1, Ping(1)), Received(2, Ping(1)))
    port.is_asking = True
    link_stage.hub.receive([Received(1, Ping(2)), Received(1, Ping(3))])
    assert (port.calls, other.calls) == (["flush"], ["flush"])
    link_stage.hub.receive([Ticked()])
    await link_stage.settled()
    assert (port.calls, other.calls) == (["flush"], ["flush"])


async def test_who_has_asked_and_gone_on_following_is_still_answered_first(
    link_stage: Any, autojump_clock: Any
) -> None:
    port = Port(link_stage.hub, 1)
    port.is_asking = True
    link_stage.hub.handle(Received(1, Ping(1)))
    port.is_asking = False
    link_stage.hub.handle(Received(1, Ping(2)))
    await link_stage.settled()
    assert port.calls == ["flush"]


async def test_a_store_that_answers_at_once_is_part_of_the_step(
    link_stage: Any, autojump_clock: Any
) -> None:
    link_stage.jobs.answers[StartCommit(Commit())] = Committed()
    follow = {Ticked: [StartCommit(Commit())], Committed: [ReadSlice("g", 0, 9)]}
    link_stage.core.extra = lambda event: list(follow.get(type(event), []))
    link_stage.hub.handle(Ticked())
    assert link_stage.core.events == [Ticked(), Committed()]
    assert link_stage.jobs.jobs == [StartCommit(Commit()), ReadSlice("g", 0, 9)]


async def test_work_for_the_store_is_submitted_in_order(
    link_stage: Any, autojump_clock: Any
) -> None:
    jobs = [StartCommit(Commit()), ReadSlice("g", 0, 9)]
    link_stage.core.extra = lambda event: jobs if event == Committed() else []
    link_stage.hub.handle(Committed())
    assert link_stage.jobs.jobs == jobs


async def test_events_carry_the_clocks_time(link_stage: Any, autojump_clock: Any) -> None:
    link_stage.hub.handle(Ticked())
    await trio.sleep(1.5)
    link_stage.hub.handle(Ticked())
    assert link_stage.core.times[1] - link_stage.core.times[0] == 1500


async def test_output_ends_with_the_connection(link_stage: Any, autojump_clock: Any) -> None:
    Port(link_stage.hub, 1)
    link_stage.hub.handle(Received(1, Ping(7)))
    link_stage.hub.disconnected(1)
    link_stage.hub.disconnected(1)
    assert link_stage.core.told(Disconnected) == [Disconnected(1)]
    assert link_stage.hub.output(1) == []
    assert not link_stage.hub.congested(1)


async def test_what_output_finds_to_be_done_is_done(link_stage: Any, autojump_clock: Any) -> None:
    Port(link_stage.hub, 1)
    link_stage.hub.handle(Received(1, Ping(7)))
    link_stage.core.reads = [ReadSlice("g", 0, 9)]
    assert link_stage.hub.output(1) == [Pong(7)]
    assert link_stage.jobs.jobs == [ReadSlice("g", 0, 9)]


async def test_whom_an_output_wakes_is_not_forgotten(link_stage: Any, autojump_clock: Any) -> None:
    Port(link_stage.hub, 1)
    other = Port(link_stage.hub, 2)
    link_stage.hub.handle(Received(1, Ping(7)))
    await link_stage.settled()
    link_stage.core.reads = [Wake(2)]  # as a slice does that two of them waited for
    assert link_stage.hub.output(1) == [Pong(7)]
    await link_stage.settled()
    assert other.calls == ["flush"]


async def test_an_empty_output_leads_to_the_next(link_stage: Any, autojump_clock: Any) -> None:
    Port(link_stage.hub, 1)
    link_stage.hub.handle(Received(1, Ping(7)))
    link_stage.core.output_max = 0
    link_stage.core.reads = [ReadSlice("g", 0, 9)]
    submit = link_stage.jobs.submit

    def answered(job: object) -> None:
        link_stage.core.output_max = 1
        submit(job)

    link_stage.jobs.submit = answered
    assert link_stage.hub.output(1) == [Pong(7)]


async def test_a_follower_that_is_gone_before_its_turn_is_passed_over(
    link_stage: Any, autojump_clock: Any
) -> None:
    one, two = Port(link_stage.hub, 1), Port(link_stage.hub, 2)
    one.flush = lambda: link_stage.hub.disconnected(2)  # type: ignore[method-assign]
    link_stage.core.extra = lambda event: [Wake(1), Wake(2)] if event == Ticked() else []
    link_stage.hub.deliver(Ticked())
    assert two.calls == []
    assert link_stage.core.told(Disconnected) == [Disconnected(2)]


async def test_stopping_ends_when_the_core_says_so(link_stage: Any, autojump_clock: Any) -> None:
    link_stage.core.stopped = True
    link_stage.hub.handle(Ticked())
    assert not link_stage.hub.stopped.is_set()  # nobody has asked for it
    link_stage.core.stopped = False
    link_stage.hub.stop()
    assert link_stage.core.events[-1] == Stopping()
    assert not link_stage.hub.stopped.is_set()
    link_stage.core.stopped = True
    link_stage.hub.handle(Committed())
    assert link_stage.hub.stopped.is_set()


# ---------------------------------------------------------------- frames


class Wire:
    """A connection that notes whether it made bytes or was told of bytes."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def send(self, entries: Entries) -> bytes:
        self.calls.append("made")
        return repr(entries).encode()

    def sent(self, messages: tuple[Entries]) -> None:
        self.calls.append("told")


def test_who_follows_at_the_same_place_is_sent_the_same_bytes() -> None:
    followed = Followed()
    one, two, three = Wire(), Wire(), Wire()
    for wire in (one, two, three):
        assert (
            followed.send(wire, Entries(1, [b"a", b"b"])) == repr(Entries(1, [b"a", b"b"])).encode()
        )  # type: ignore[arg-type]
    assert [wire.calls for wire in (one, two, three)] == [["made"], ["told"], ["told"]]


@pytest.mark.parametrize(
    "other", [Entries(2, [b"a"]), Entries(1, [b"b"]), Entries(1, [b"a", b"b"])]
)
def test_who_follows_elsewhere_is_sent_what_is_there(other: Entries) -> None:
    followed = Followed()
    wire = Wire()
    for entries in (Entries(1, [b"a"]), other, Entries(1, [b"a"])):
        assert followed.send(wire, entries) == repr(entries).encode()  # type: ignore[arg-type]
    assert wire.calls == ["made"] * 3


# ---------------------------------------------------------------- failing


async def test_a_bug_in_the_core_stops_everything_at_once(
    link_stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    Port(link_stage.hub, 1)
    link_stage.hub.handle(Received(1, Ping(7)))
    link_stage.hub.handle(Received(1, HELLO._replace(label="bug")))
    assert isinstance(link_stage.hub.failure, ZeroDivisionError)
    assert link_stage.hub.failed.is_set()
    told = len(link_stage.core.events)
    link_stage.hub.handle(Committed())
    assert link_stage.hub.output(1) == []  # not even what was waiting: it may be half a truth
    assert len(link_stage.core.events) == told
    assert [r.levelname for r in caplog.records] == ["CRITICAL"]
    assert caplog.records[0].exc_info


async def test_a_broken_store_stops_everything_at_once(
    link_stage: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = StoreBroken("fsync failed: EIO")
    link_stage.hub.fail(first)
    link_stage.hub.fail(StoreBroken("again"))
    assert link_stage.hub.failure is first
    assert "stopping at once" in caplog.text
    assert "fsync failed: EIO" in caplog.text
    assert "again" not in caplog.text
    assert not caplog.records[0].exc_info


async def test_a_bug_in_output_stops_everything_too(
    link_stage: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def output(connection: int, bytes_max: int) -> list[Any]:
        raise ZeroDivisionError

    Port(link_stage.hub, 1)
    link_stage.hub.handle(Received(1, Ping(7)))
    monkeypatch.setattr(link_stage.core, "output", output)
    assert link_stage.hub.output(1) == []
    assert isinstance(link_stage.hub.failure, ZeroDivisionError)


# ---------------------------------------------------------------- deadlines


async def test_the_core_is_told_when_its_deadline_has_come(
    link_stage: Any, autojump_clock: Any
) -> None:
    start_ms = int(trio.current_time() * 1000)
    fired: list[int] = []

    def ticked(event: Event) -> list[Any]:
        fired.append(link_stage.core.times[-1] - start_ms)
        link_stage.core.deadline_ms = {1: start_ms + 5250, 2: 1 << 60}[len(fired)]
        return []

    link_stage.core.extra = ticked
    link_stage.core.deadline_ms = start_ms + 400
    with trio.move_on_after(20):
        await link_stage.hub.tick()
    assert fired == [400, 5250]


async def test_a_deadline_that_becomes_due_meanwhile_is_noticed_within_a_second(
    link_stage: Any, autojump_clock: Any
) -> None:
    start_ms = int(trio.current_time() * 1000)
    link_stage.core.extra = lambda event: scope.cancel() or []
    async with trio.open_nursery() as nursery:
        scope = nursery.cancel_scope
        nursery.start_soon(link_stage.hub.tick)
        await trio.sleep(0.5)
        link_stage.core.deadline_ms = start_ms + 700
    assert link_stage.core.times[-1] - start_ms <= 1700


async def test_a_deadline_that_stays_in_the_past_does_not_spin(
    link_stage: Any, autojump_clock: Any
) -> None:
    link_stage.core.deadline_ms = 0
    with trio.move_on_after(1):
        await link_stage.hub.tick()
    assert 2 <= len(link_stage.core.told(Ticked)) <= 101


# ---------------------------------------------------------------- unfinished frames


def held(link_stage: Any, *sizes: int) -> list[Port]:
    ports = [Port(link_stage.hub, number) for number in range(1, len(sizes) + 1)]
    for port, size in zip(ports, sizes, strict=True):
        link_stage.hub.hold_unfinished(port.number, size)
    return ports


def victims(link_stage: Any) -> list[int]:
    faults = link_stage.core.told(Faulted)
    assert all(fault.code == OVERLOADED for fault in faults)
    return [fault.connection for fault in faults]


async def test_up_to_the_bound_everybody_may_hold_unfinished_frames(
    link_stage: Any, autojump_clock: Any
) -> None:
    held(link_stage, 4000, 3000, 3000)
    assert victims(link_stage) == []


async def test_over_the_bound_who_holds_the_most_pays(link_stage: Any, autojump_clock: Any) -> None:
    ports = held(link_stage, 3000, 6000, 1001)
    assert victims(link_stage) == [2]
    assert ports[1].calls == ["close"]
    link_stage.hub.hold_unfinished(1, 8000)  # what the victim held is free again
    assert victims(link_stage) == [2]


async def test_what_is_finished_or_gone_is_not_counted(
    link_stage: Any, autojump_clock: Any
) -> None:
    held(link_stage, 9000, 900)
    link_stage.hub.hold_unfinished(1, 0)
    link_stage.hub.hold_unfinished(2, 9000)
    link_stage.hub.disconnected(2)
    Port(link_stage.hub, 3)
    link_stage.hub.hold_unfinished(3, 10_000)
    link_stage.hub.hold_unfinished(2, 10_000)  # gone: does not count
    assert victims(link_stage) == []


async def test_as_many_pay_as_needed(link_stage: Any, autojump_clock: Any) -> None:
    held(link_stage, *[900] * 11)
    link_stage.hub.hold_unfinished(1, 1900)
    assert len(victims(link_stage)) == 1
    link_stage.hub.hold_unfinished(2, 10_000)
    assert victims(link_stage)[-1] == 2
