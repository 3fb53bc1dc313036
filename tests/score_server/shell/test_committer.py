"""The store's thread: commits first, results in order, and an end that is certain.

Time stands still where a test wants it to: the store's calls wait at gates that the test opens.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from score_server.core.events import (
    CommitFailed,
    Committed,
    LookedUp,
    LookUp,
    PageRead,
    ReadFailed,
    ReadPage,
    ReadSlice,
    ReadSnapshot,
    SliceRead,
    SnapshotRead,
    StartCommit,
)
from score_server.shell import committer
from score_server.shell.committer import InlineCommitter, ThreadCommitter, open_committer
from score_server.stores.base import (
    AppendRefused,
    Commit,
    GroupDamaged,
    GroupState,
    LogStore,
    NewChunk,
    NewTrim,
    StoreBroken,
    StoreFull,
    StoreState,
    StoreUnusable,
)

GROUP = GroupState("g", b"i" * 16, 0, b"c" * 16, 0, 0, False, 0, None)
STATE = StoreState(())


class Script(LogStore):
    """A store that notes what it is asked, in which thread, and raises what it is told to."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.threads = {threading.get_ident()}
        self.commit_error: Exception | None = None
        self.read_error: Exception | None = None
        self.load_error: Exception | None = None
        self.close_error: Exception | None = None
        self.collect_error: Exception | None = None
        self.garbage = 0  # slices of it
        self.collected: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.reading: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.gate = threading.Semaphore(1000)

    def _note(self, call: object, error: Exception | None) -> None:
        self.threads.add(threading.get_ident())
        self.calls.append(call)
        if error is not None:
            raise error

    def load(self) -> StoreState:
        self._note("load", self.load_error)
        return STATE

    def commit(self, batch: Commit) -> None:
        self._note(batch, self.commit_error)

    def read(self, group: str, after: int, bytes_max: int) -> list[tuple[int, bytes, bytes]]:
        self.reading.put(None)
        self.gate.acquire()
        self._note(("read", group, after, bytes_max), self.read_error)
        return [(after + 1, b"entry", b"chain")]

    def look_up(self, group: str, position: int) -> tuple[GroupState | None, bytes | None]:
        self._note(("look up", group, position), self.read_error)
        return GROUP, b"chain"

    def list_groups(self, after: str, count: int) -> list[GroupState]:
        self._note(("list", after, count), None)
        return [GROUP]

    def read_snapshot(self, group: str, position: int, offset: int, bytes_max: int) -> bytes:
        self._note(("snapshot", group, position, offset, bytes_max), self.read_error)
        return b"part"

    def collect(self, rows_max: int) -> bool:
        if self.collect_error is not None:
            raise self.collect_error
        self.garbage = max(0, self.garbage - 1)
        more = self.garbage > 0
        self.collected.put(None)
        return more

    def close(self) -> None:
        self._note("close", self.close_error)


class Bench:
    """A committer on a scripted store; ``answers`` is what came back, in order."""

    def __init__(self) -> None:
        self.store: Script | None = None
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.committer = ThreadCommitter(self.open)
        self.committer.attach(
            lambda call, result: call(result),
            self.answers.put,
            lambda error: self.answers.put(("failed", error)),
        )

    def open(self) -> Script:
        self.store = Script()
        return self.store

    @property
    def script(self) -> Script:
        assert self.store is not None
        return self.store


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.committer.close()


def test_the_store_is_loaded_when_the_constructor_returns(bench: Bench) -> None:
    assert bench.committer.state == STATE


def test_the_store_is_opened_used_and_closed_in_one_thread(bench: Bench) -> None:
    bench.committer.submit(StartCommit(Commit()))
    bench.committer.submit(ReadSlice("g", 0, 9))
    bench.committer.submit(LookUp("g", 4))
    bench.committer.close()
    assert bench.script.calls == [
        "load", Commit(), ("read", "g", 0, 9), ("look up", "g", 4), "close",
    ]  # fmt: skip
    assert len(bench.script.threads) == 1
    assert threading.get_ident() not in bench.script.threads


def test_every_job_is_answered_in_order(bench: Bench) -> None:
    bench.committer.submit(StartCommit(Commit()))
    assert bench.answers.get() == Committed()
    bench.committer.submit(ReadSlice("g", 3, 9))
    assert bench.answers.get() == SliceRead("g", 3, [(4, b"entry", b"chain")])
    bench.committer.submit(LookUp("g", 3))
    assert bench.answers.get() == LookedUp("g", 3, GROUP, b"chain")
    bench.committer.submit(ReadSnapshot("g", 3, 5, 9))
    assert bench.answers.get() == SnapshotRead("g", 3, 5, b"part")
    bench.committer.submit(ReadPage(7, 8, "f", 2))
    assert bench.answers.get() == PageRead(7, 8, [GROUP])
    assert bench.script.calls[-3:] == [
        ("look up", "g", 3), ("snapshot", "g", 3, 5, 9), ("list", "f", 2),
    ]  # fmt: skip


def test_a_commit_passes_all_reads_but_the_one_that_is_running(bench: Bench) -> None:
    bench.script.gate = threading.Semaphore(0)
    for after in range(3):
        bench.committer.submit(ReadSlice("g", after, 9))
    bench.script.reading.get()  # the first is running
    bench.committer.submit(StartCommit(Commit()))
    bench.script.gate.release(3)
    answers = [type(bench.answers.get()) for _ in range(4)]
    assert answers == [SliceRead, Committed, SliceRead, SliceRead]


def test_a_full_disk_is_an_answer_and_the_thread_goes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.script.commit_error = StoreFull("no space left")
    with caplog.at_level("INFO", "score_server"):
        for _ in range(3):
            bench.committer.submit(StartCommit(Commit()))
            assert bench.answers.get() == CommitFailed("no space left")
        bench.script.commit_error = None
        for _ in range(3):
            bench.committer.submit(StartCommit(Commit()))
            assert bench.answers.get() == Committed()
    assert [record.getMessage() for record in caplog.records] == [
        "changes are refused until there is room again: no space left",
        "there is room again, changes are taken",
    ]


def test_a_damaged_group_is_an_answer_and_the_thread_goes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.script.read_error = GroupDamaged("g", 3, "hash")
    bench.committer.submit(ReadSlice("g", 3, 9))
    bench.committer.submit(LookUp("g", 3))
    bench.committer.submit(ReadSnapshot("g", 3, 0, 9))
    text = "group 'g' is damaged after position 3: hash"
    assert [bench.answers.get() for _ in range(3)] == [ReadFailed("g", text)] * 3
    assert text in caplog.text


@pytest.mark.parametrize(
    "error", [StoreBroken("EIO"), AppendRefused("somebody else"), ZeroDivisionError("a bug")]
)
def test_after_any_other_failure_nothing_more_is_done_or_answered(
    bench: Bench, error: Exception
) -> None:
    bench.script.commit_error = error
    bench.committer.submit(StartCommit(Commit()))
    bench.committer.submit(ReadSlice("g", 0, 9))
    bench.committer.close()
    assert bench.answers.get() == ("failed", error)
    assert bench.answers.empty()
    assert bench.script.calls == ["load", Commit(), "close"]


def test_closing_finishes_what_was_submitted_and_may_be_repeated(bench: Bench) -> None:
    bench.script.gate = threading.Semaphore(0)
    bench.committer.submit(ReadSlice("g", 0, 9))
    bench.script.reading.get()
    bench.committer.submit(StartCommit(Commit()))
    bench.script.gate.release()
    bench.committer.close()
    bench.committer.close()
    assert [type(bench.answers.get_nowait()) for _ in range(2)] == [SliceRead, Committed]


def test_a_store_that_does_not_open_is_the_constructors_error() -> None:
    def unusable() -> LogStore:
        raise StoreUnusable("locked by another server")

    with pytest.raises(StoreUnusable, match="locked by another"):
        ThreadCommitter(unusable)


def test_a_store_that_does_not_load_is_closed_and_the_constructors_error() -> None:
    store = Script()
    store.load_error = StoreUnusable("not a database")
    with pytest.raises(StoreUnusable, match="not a database"):
        ThreadCommitter(lambda: store)
    assert store.calls == ["load", "close"]


def test_a_store_that_fails_to_close_has_kept_what_it_committed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.script.close_error = StoreBroken("checkpoint failed")
    bench.committer.submit(StartCommit(Commit()))
    with caplog.at_level("WARNING", "score_server"):
        bench.committer.close()
    assert bench.answers.get() == Committed()
    assert "checkpoint failed" in caplog.text


def test_results_before_anybody_is_attached_are_dropped() -> None:
    committer = ThreadCommitter(Script)
    committer.submit(StartCommit(Commit()))
    committer.close()


# ---------------------------------------------------------------- what nothing refers to


def test_an_idle_store_is_tidied_until_nothing_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its start, and after commits that leave something behind."""
    monkeypatch.setattr(committer, "IDLE_S", 0)
    bench.script.collected.get()
    for batch in (
        Commit(dropped_candidates=("g",)),
        Commit(chunks=(NewChunk("g", 0, b"x"),)),
        Commit(trims=(NewTrim("g", None, 0),)),
        Commit(deleted_groups=("g",)),
    ):
        bench.script.garbage = 3
        bench.committer.submit(StartCommit(batch))
        assert bench.answers.get() == Committed()
        for _ in range(3):
            bench.script.collected.get()
    bench.committer.submit(StartCommit(Commit()))
    assert bench.answers.get() == Committed()
    bench.committer.close()
    assert bench.script.collected.empty()


def test_a_store_that_is_to_be_closed_is_not_tidied_first() -> None:
    bench = Bench()
    bench.script.garbage = 1 << 60
    bench.committer.close()


def test_a_failure_to_tidy_is_reported_as_that_of_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "IDLE_S", 0)
    bench = Bench()
    bench.script.collected.get()
    bench.script.collect_error = error = StoreBroken("EIO")
    bench.committer.submit(StartCommit(Commit(deleted_groups=("g",))))
    assert bench.answers.get() == Committed()
    assert bench.answers.get() == ("failed", error)
    bench.committer.close()
    assert bench.script.calls[-1] == "close"


# ---------------------------------------------------------------- a store that never waits


def test_an_inline_committer_answers_at_once_and_in_the_callers_thread() -> None:
    store = Script()
    committer = InlineCommitter(lambda: store)
    committer.attach(print, print, print)
    assert committer.state == STATE
    assert committer.submit(StartCommit(Commit())) == Committed()
    assert committer.submit(ReadSlice("g", 3, 9)) == SliceRead("g", 3, [(4, b"entry", b"chain")])
    committer.close()
    assert store.threads == {threading.get_ident()}
    assert store.calls[-1] == "close"


def test_an_inline_committer_raises_what_makes_going_on_unsafe() -> None:
    store = Script()
    store.commit_error = StoreBroken("EIO")
    committer = InlineCommitter(lambda: store)
    with pytest.raises(StoreBroken):
        committer.submit(StartCommit(Commit()))


def test_only_a_store_in_memory_is_worked_on_inline() -> None:
    def open_store(url: str) -> Script:
        urls.append(url)
        return Script()

    urls: list[str] = []
    inline = open_committer(open_store, "memory:")
    thread = open_committer(open_store, "sqlite:///a.db")
    assert isinstance(inline, InlineCommitter)
    assert isinstance(thread, ThreadCommitter)
    assert urls == ["memory:", "sqlite:///a.db"]
    inline.close()
    thread.close()
