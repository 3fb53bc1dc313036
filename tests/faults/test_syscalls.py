"""A fault at each system call by which a server writes: killed before it, or the call fails.

strace counts the calls of each thread, so "the N-th" is the N-th of the store's thread, and for
``write`` and ``sendto`` of the loop's as well.  A server that is killed or that stops is started again on
its file, without strace, while its clients wait in their calls.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from .ledger import acknowledged, unknown
from .machine import Inject, Scale, Site, Successor, in_parallel, need, site, strace_works

WRITING = "write,pwrite64,fsync,fdatasync,ftruncate,sendto"
OPERATIONS = 4  # of each of two clients


@pytest.fixture(autouse=True)
def _strace() -> None:
    need(strace_works(), "strace")


def calls_of(folder: Path) -> dict[str, int]:
    """How often the busiest thread makes each call in a run without a fault."""
    with site(folder) as here:
        trace = folder / "trace"
        server = here.start(Inject(WRITING, "error=EIO", "60000").command(trace))
        work(here)
        assert server.stop() == 0
    found: Counter[tuple[str, str]] = Counter(
        re.findall(r"^(\d+) +(\w+)\(", trace.read_text(), re.M)
    )
    busiest: dict[str, int] = {}
    for (_, call), times in found.items():
        busiest[call] = max(times, busiest.get(call, 0))
    return busiest


def work(here: Site) -> None:
    """The small workload; its calls take turns, so that each is a commit of its own."""
    workers = here.workers or [here.worker("ada"), here.worker("ben")]
    for _ in range(OPERATIONS):
        for worker in workers:
            worker.run(1)


def through(here: Site, fault: Inject, *, ready: bool = False) -> tuple[list[int], int]:
    """The workload on a server with *fault*, whose successors have none: how those before the last one ended,
    and how many calls were acknowledged.  None may be left unknown: the clients wait long enough."""
    here.start(fault.command(), ready=ready)
    with Successor(here) as successor:
        work(here)
        tries = here.check()
    assert unknown(tries) == 0
    return successor.ends, acknowledged(tries)


def points_of(calls: dict[str, int], *wanted: str) -> list[tuple[str, int]]:
    return [(call, n) for call in sorted(wanted) for n in range(1, calls.get(call, 0) + 1)]


def test_a_server_killed_before_any_write_loses_and_repeats_nothing(
    tmp_path: Path, scale: Scale, figures: dict[str, object]
) -> None:
    calls = calls_of(tmp_path / "dry")

    def kill_at(point: tuple[str, int]) -> tuple[int, int]:
        call, n = point
        with site(tmp_path / f"{call}{n}") as here:
            ends, taken = through(here, Inject(call, "signal=KILL", str(n)))
            assert ends in ([], [-signal.SIGKILL])
            return len(ends), taken

    done = in_parallel(kill_at, scale.spread(points_of(calls, *calls), 10))
    figures |= total(done, "kills")
    assert sum(kills for kills, _ in done) >= len(done) * 0.6


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_failing_sync_stops_the_server_and_its_successor_has_all_that_was_acknowledged(
    tmp_path: Path, scale: Scale, figures: dict[str, object], error: str
) -> None:
    calls = calls_of(tmp_path / "dry")

    def fail_at(point: tuple[str, int]) -> tuple[int, int]:
        call, n = point
        with site(tmp_path / f"{call}{n}") as here:
            ends, taken = through(here, Inject(call, f"error={error}", str(n)))
            log = here.servers[0].log
            assert ends in ([], [1], [3])
            if ends == [1]:
                assert re.fullmatch("score-server: .+ cannot be opened: .+\n", log), log
            if ends == [3]:
                assert re.search("CRITICAL stopping at once, the store is not usable", log), log
            return len(ends), taken

    done = in_parallel(fail_at, scale.spread(points_of(calls, "fdatasync", "fsync"), 4))
    figures |= total(done, "stops")
    assert sum(stops for stops, _ in done) >= len(done) * 0.6


def total(done: list[tuple[int, int]], what: str) -> dict[str, object]:
    return {
        "points": len(done),
        what: sum(count for count, _ in done),
        "acknowledged": sum(taken for _, taken in done),
    }


@pytest.mark.parametrize("error", ["EIO", "EROFS"])
def test_a_failing_write_stops_the_server_and_its_successor_has_all_that_was_acknowledged(
    tmp_path: Path, scale: Scale, figures: dict[str, object], error: str
) -> None:
    calls = calls_of(tmp_path / "dry")

    def fail_at(point: tuple[str, int]) -> tuple[int, int]:
        call, n = point
        with site(tmp_path / f"{call}{n}") as here:
            ends, taken = through(here, Inject(call, f"error={error}", str(n)))
            assert ends in ([], [1], [3])
            return len(ends), taken

    done = in_parallel(fail_at, scale.spread(points_of(calls, "pwrite64"), 4)[:: scale.pick(1, 3)])
    figures |= total(done, "stops")
    assert sum(stops for stops, _ in done) >= len(done) * 0.6


def test_a_disk_that_is_full_at_any_write_is_said_and_the_server_goes_on(
    tmp_path: Path, scale: Scale, figures: dict[str, object]
) -> None:
    calls = calls_of(tmp_path / "dry")

    def fill_at(point: tuple[str, int]) -> tuple[int, int]:
        call, n = point
        with site(tmp_path / f"{call}{n}") as here:
            ends, taken = through(here, Inject(call, "error=ENOSPC", str(n)))
            server = here.servers[0]
            assert ends in ([], [1]), server.log  # it may keep the server from starting
            if ends:
                assert "make room on its disk" in server.log
            here.workers[0].run(3)  # the fault was in the last commit, perhaps
            said = "changes are refused until there is room again" in server.log
            if said:
                here.workers[0].run(1)  # or in the last of these: to end takes more writes
                server.wait_for("there is room again, changes are taken")
            here.check()
            return int(said), taken

    done = in_parallel(fill_at, scale.spread(points_of(calls, "pwrite64"), 4)[:: scale.pick(1, 2)])
    figures |= total(done, "refusals")
