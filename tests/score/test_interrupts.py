"""Ctrl-C at every line of score and ucore, one after the other, inside real calls."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import score
import score_server.wire
import ucore
from score import Client, SMap, UsageError
from score.replica import Feed, Replica
from score.snapshot import encode_dump
from score.tools.compaction import compact
from score_server.wire.entry import snapshot_digest
from score_server.wire.messages import Joined, SnapshotInfo
from ucore import UMap

OURS = tuple(
    str(Path(package.__file__).parent) for package in (score, ucore, score_server.wire)
)  # fmt: skip
# The line that gives the lock back: real signals are looked at after calls and at jumps, and between
# the end of a turn and this call there is neither; a trace function is less careful.
RELEASE = "lock.release()"


class Interrupter:
    """Raises KeyboardInterrupt before line number *at* of the traced call is executed."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.raised = False

    def trace(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line" and not self.raised and not at_release(frame):
            self.left -= 1
            if self.left < 0:
                self.raised = True
                raise KeyboardInterrupt
        return self.trace

    def run(self, call: Callable[[], object]) -> bool:
        """Whether *call* came to its end."""
        before = sys.gettrace()  # coverage's
        sys.settrace(self.trace)
        try:
            call()
        except KeyboardInterrupt:
            return False
        finally:
            sys.settrace(before)
        return True


def at_release(frame: FrameType) -> bool:
    return frame.f_code.co_name == "_in_turn" and frame.f_lineno >= release_line()


def release_line() -> int:
    from score import client

    lines = Path(client.__file__).read_text().splitlines()
    return next(n for n, text in enumerate(lines, 1) if RELEASE in text) - 1


@pytest.fixture
def client() -> Iterator[Client]:
    with score.local(timeout=5) as connected:
        yield connected


def interrupted_at_every_line(
    call: Callable[[int], object], after: Callable[[bool], None], step: int = 1
) -> int:
    """Run *call* once for each of its lines, or every *step*-th, interrupted there; how many it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a socket that was just being made
        for at in range(0, 20_000, step):
            interrupter = Interrupter(at)
            ended = interrupter.run(lambda at=at: call(at))  # type: ignore[misc]
            after(ended)
            if not interrupter.raised:
                return at
    raise AssertionError("the call has no end")


def test_a_submission_interrupted_anywhere_counts_once_or_not_at_all(client: Client) -> None:
    counter = SMap[str, int](client, "counter")
    counter["n"] = 0
    low = high = 0

    def after(ended: bool) -> None:
        nonlocal low, high
        low, high = low + ended, high + 1
        fresh = SMap[str, int](client, "counter")
        counter.sync()
        assert counter == fresh
        assert low <= counter["n"] <= high
        low = high = counter["n"]

    lines = interrupted_at_every_line(lambda _: counter.increment("n"), after)
    assert lines > 150
    assert counter.increment("n") == low + 1


class Intruder:
    """Does *work* before line number *at* of the traced call, as a signal handler or a ``__del__`` may."""

    def __init__(self, at: int, work: Callable[[], object]) -> None:
        self.left = at
        self.work = work
        self.came = self.ended = False
        self.error: Exception | None = None

    def trace(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line" and not self.came:
            self.left -= 1
            if self.left < 0:
                self.came = True
                try:
                    self.work()
                    self.ended = True
                except (UsageError, AssertionError) as error:
                    self.error = error
        return self.trace

    def run(self, call: Callable[[], object]) -> None:
        before = sys.gettrace()  # coverage's
        sys.settrace(self.trace)
        try:
            call()
        finally:
            sys.settrace(before)


@pytest.mark.parametrize("same", [True, False], ids=["same structure", "another"])
def test_a_call_from_within_a_call_is_refused_unless_it_does_no_harm(
    client: Client, same: bool
) -> None:
    outer = SMap[str, int](client, "outer")
    inner = outer if same else SMap[str, int](client, "inner")
    n = m = refused = 0
    for at in range(0, 20_000, 3):
        intruder = Intruder(at, lambda: inner.increment("m"))
        intruder.run(lambda: outer.increment("n"))
        n, m, refused = n + 1, m + intruder.ended, refused + (intruder.error is not None)
        fresh = SMap[str, int](client, inner.group)
        assert (outer["n"], inner.get("m", 0)) == (n, m)
        assert fresh == inner
        if not intruder.came:
            break
    assert refused > 50
    assert m > 20


def test_a_call_from_within_the_applying_of_a_watch_is_refused(client: Client) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](client, "m")
    refused = taken = 0
    with mine.watch(timeout=10) as watch:
        theirs["n"] = 0
        next(watch)  # the connection is made
        for at in range(20_000):
            theirs.increment("n")
            intruder = Intruder(at, lambda: mine.increment("m"))
            intruder.run(lambda: next(watch))
            taken, refused = taken + intruder.ended, refused + (intruder.error is not None)
            mine.sync()
            assert (mine["n"], mine.get("m", 0)) == (at + 1, taken)
            assert mine == SMap(client, "m")
            while mine._view.replica.feeds[0].has_more():
                next(watch)
            if not intruder.came:
                break
    assert refused > 20


def test_a_batch_interrupted_anywhere_is_whole_or_absent_in_every_view(client: Client) -> None:
    lists, other = SMap[str, list[int]](client, "m"), SMap[str, list[int]](client, "m")
    lists.update(a=[], b=[])

    def change(at: int) -> None:
        with lists.batch() as batch:
            batch["a"].append(at)
            batch["b"] = [at]
            batch["b"].append(at)

    def after(ended: bool) -> None:
        lists.sync()
        other.sync()
        assert lists == other == SMap(client, "m")
        assert len(lists["b"]) in (0, 2)
        assert not lists["b"] or lists["a"][-1] == lists["b"][0] == lists["b"][1]

    assert interrupted_at_every_line(change, after) > 150


def test_a_transaction_interrupted_anywhere_counts_once_or_not_at_all_and_locks_nothing(
    client: Client,
) -> None:
    # An interrupt in a turn costs its lease, so not every line: with step 1 this takes 4 minutes.
    step = 31
    mine, theirs = SMap[str, Any](client, "m"), SMap[str, Any](client, "m")
    mine.update(n=0, l=[])
    runs = low = 0

    def bump(t: Any) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            theirs["other"] = low  # a refusal, a turn, a second attempt
        t["n"] += 1
        t["l"].append([t["n"]])

    def change(_: int) -> None:
        nonlocal runs
        runs = 0
        mine.run_transaction(bump)

    def after(ended: bool) -> None:
        nonlocal low
        mine.sync()
        theirs.sync()
        assert mine == theirs
        assert mine["l"] == [[n + 1] for n in range(mine["n"])]
        assert low + ended <= mine["n"] <= low + 1
        low = mine["n"]

    assert interrupted_at_every_line(change, after, step) > 400
    mine.run_transaction(bump)
    assert mine["n"] == low + 1


def test_a_transaction_block_interrupted_anywhere_leaves_the_structure_free(client: Client) -> None:
    mine = SMap[str, int](client, "m")

    def change(at: int) -> None:
        with mine.transaction() as t:
            t["n"] = at

    def after(ended: bool) -> None:
        mine.increment("after")
        fresh = SMap[str, int](client, "m")
        assert mine == fresh

    assert interrupted_at_every_line(change, after, step=3) > 200  # each line costs a connection


def test_a_sync_interrupted_anywhere_leaves_view_and_handles_right(client: Client) -> None:
    mine, theirs = SMap[str, list[int]](client, "m"), SMap[str, list[int]](client, "m")
    mine["a"] = []
    theirs.sync()
    handle = theirs["a"]

    def sync(at: int) -> None:
        theirs.sync()

    def after(ended: bool) -> None:
        theirs.sync()
        assert theirs == mine
        assert theirs["a"] is handle
        mine["a"].append(1)
        mine[str(len(mine))] = [2]

    assert interrupted_at_every_line(sync, after) > 60


def test_a_sync_that_loads_a_snapshot_can_be_interrupted_anywhere(client: Client) -> None:
    mine = SMap[str, object](client, "m")
    mine.update(a=[1], b=2, c={"d": [3]})
    with client.another() as other, client.another() as checker:
        assert compact(other, checker, "m") is not None
    mine["b"] = 4
    handle, replica = mine["a"], mine._view.replica

    def sync(at: int) -> None:
        replica.reset()
        mine.sync()

    def after(ended: bool) -> None:
        mine.sync()
        replica.tree.audit()
        assert mine == {"a": [1], "b": 4, "c": {"d": [3]}}
        assert mine["a"] is handle

    # Nothing is changed in between: what the log holds behind the snapshot is read by every call.
    assert interrupted_at_every_line(sync, after) > 900  # each line costs a connection


def test_a_watch_interrupted_anywhere_tells_every_change_once(client: Client) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](client, "m")
    told: list[object] = []
    count = 0
    with mine.watch(timeout=5) as watch:

        def step(at: int) -> None:
            told.append(next(watch).new)

        def after(ended: bool) -> None:
            nonlocal count
            while len(told) < count:  # what the interrupted step did not hand out
                told.append(next(watch).new)
            assert told == list(range(count))
            theirs["k"] = count
            count += 1

        theirs["k"] = 0
        count = 1
        interrupted_at_every_line(step, after)
    assert count > 60


def test_loading_a_snapshot_interrupted_anywhere_is_made_good_by_the_next_call() -> None:
    root: UMap[str, object] = UMap(a=[1], b=2)
    root._tree.position = 2
    old = encode_dump(root._tree)
    root["a"].append(3)  # type: ignore[attr-defined]
    root._tree.position = 9
    new = encode_dump(root._tree)
    replica = Replica("g", UMap[str, object]()._tree)
    current = replica.tree.root

    def load(position: int, data: bytes) -> None:
        """What a client does with what a server does, from the join to the last chunk."""
        if replica.suspect:
            replica.reset()
        if replica.position >= position:
            return
        info = SnapshotInfo(b"c" * 16, len(data), snapshot_digest(data))
        incoming = replica.joined(Joined(1, b"i" * 16, position, position, info))
        assert incoming is not None
        replica.receive_chunk(incoming, 0, data[:7])
        replica.receive_chunk(incoming, 7, data[7:])

    def begin() -> Feed:
        replica.reset()
        load(2, old)
        feed = Feed(2)
        replica.feeds = [feed]
        return feed

    feed = begin()
    handle = current["a"]  # type: ignore[index]

    def after(ended: bool) -> None:
        nonlocal feed
        load(9, new)
        replica.tree.audit()
        assert current == {"a": [1, 3], "b": 2}
        assert current["a"] is handle  # type: ignore[index]
        assert replica.resume() == (b"i" * 16, 9, b"c" * 16)
        assert feed.has_more()
        assert next(feed.next).kind == "reload"
        assert not feed.has_more()
        feed = begin()

    assert interrupted_at_every_line(lambda _: load(9, new), after) > 60
