"""kill -9 of the server and of a compactor while it makes snapshots, with two writers and somebody who follows.

Whatever was cut short: there is the old snapshot or the new one, with the log behind it; nothing that was acknowledged
is lost or there twice; who follows is told of everything, once or by being loaded anew; and the store is whole.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import score
from score import Change, SVec
from score_server.stores.fsck import fsck
from score_server.stores.sqlite import SqliteStore

from .ledger import check
from .machine import (
    STUCK_S,
    Inject,
    Scale,
    Site,
    Successor,
    in_parallel,
    kill,
    need,
    site,
    strace_works,
)
from .worker import Worker

PROGRAM = str(Path(__file__).with_name("compactor.py"))
WRITERS = ("ada", "ben")
OPERATIONS, ROUNDS = 20, 3
WRITING = "pwrite64,fsync,fdatasync"
SEED = 20261125
LOOK_S = 1.0


class Follower:
    """Watches the list of values, in a thread of its own, until it is stopped."""

    def __init__(self, url: str) -> None:
        self.told: list[str] = []
        self.positions: list[int] = []
        self.reloads = 0
        self.content: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url,), daemon=True)
        self._thread.start()

    def _run(self, url: str) -> None:
        with score.connect(url, timeout=STUCK_S, wait=STUCK_S) as client:
            values = SVec[str](client, "values")
            with values.watch(LOOK_S) as watch:
                stops = False
                while not stops:
                    stops = self._stop.is_set()  # and once more, for what there still is
                    for change in watch:
                        self._note(change)
            values.sync()
            self.content = list(values)

    def _note(self, change: Change) -> None:
        self.positions.append(change.position)
        if change.kind == "reload":
            self.reloads += 1
        else:
            self.told.append(str(change.new))

    def check(self, values: list[str]) -> None:
        """Whether it was told of what is in *values*, in order, each once, or that it was loaded anew."""
        self._stop.set()
        self._thread.join(STUCK_S)
        assert self.content == values
        assert self.positions == sorted(set(self.positions))
        told = set(self.told)
        assert self.told == [value for value in values if value in told]
        if not self.reloads:
            assert self.told == values[len(values) - len(self.told) :]


def compactor(here: Site, rounds: int = 0) -> subprocess.Popen[bytes]:
    """It runs until it is killed, or has gone round so often."""
    with (here.folder / "compactor.err").open("ab") as errors:
        program = subprocess.Popen(
            [sys.executable, PROGRAM, here.url, str(here.folder / "compactor.done"), str(rounds)],
            stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
    here.programs.append(program)
    return program


def snapshots_of(path: Path) -> dict[str, tuple[int, int]]:
    """Position of the snapshot (0: none) and floor of each group in the store at *path*, which is whole."""
    said: list[str] = []
    assert fsck(str(path), said.append), said
    store = SqliteStore(str(path))
    found = {
        state.name: (state.snapshot.position if state.snapshot else 0, state.floor)
        for state in store.list_groups("", 10)
    }
    store.close()
    return found


def made(here: Site) -> dict[str, tuple[int, int]]:
    """Position and floor of the latest snapshot of each group that a compactor was told to be done."""
    done = here.folder / "compactor.done"
    lines = done.read_text().splitlines() if done.exists() else []
    found = {}
    for line in lines:
        group, position, floor = line.split()
        found[group] = int(position), int(floor)
    return found


def assert_nothing_went_back(here: Site, acked: dict[str, tuple[int, int]]) -> None:
    """The server is down; what was *acked* before is there, or what came after it."""
    found = snapshots_of(here.store)
    for group, (position, floor) in acked.items():
        assert found[group][0] >= position, (group, found, acked)
        assert found[group][1] >= floor, (group, found, acked)
        assert found[group][1] <= found[group][0]


def contents(here: Site) -> tuple[list[str], int]:
    """What a newcomer, who joins by the snapshots, finds; it agrees with what everybody was told."""
    ledgers = {
        path.stem: path.read_text("utf-8").splitlines(keepends=True)
        for path in sorted(here.folder.glob("*.ledger"))
    }
    newcomer = Worker(here.url, "newcomer", here.folder / "newcomer")
    try:
        values, total = newcomer.contents()
    finally:
        newcomer.close()
    check(ledgers, values, total)
    return values, total


def written(here: Site) -> int:
    return sum(path.read_bytes().count(b"\n") for path in here.folder.glob("*.ledger"))


def wait_for_lines(here: Site, more: int) -> None:
    wanted, end = written(here) + more, time.monotonic() + STUCK_S
    while written(here) < wanted:
        assert time.monotonic() < end, "the writers do not get on"
        time.sleep(0.005)


def test_random_kills_of_the_server_and_of_a_compactor_leave_old_or_new(
    tmp_path: Path, scale: Scale, figures: dict[str, object]
) -> None:
    choose = random.Random(SEED)
    kills = Counter[str]()
    with site(tmp_path / "s") as here:
        here.start()
        writers = [here.program(name) for name in WRITERS]
        follower = Follower(here.url)
        wait_for_lines(here, 20)
        running = compactor(here)
        for _ in range(scale.pick(6, 80)):
            wait_for_lines(here, 4)
            time.sleep(choose.uniform(0, 1.0))
            if choose.random() < 0.5:
                kill(running)
                running = compactor(here)
                kills["compactor"] += 1
            else:
                acked = made(here)
                here.servers[-1].kill()
                assert_nothing_went_back(here, acked)
                here.start()
                kills["server"] += 1
        wait_for_lines(here, 4)
        assert running.poll() is None, (here.folder / "compactor.err").read_text()
        for program in (running, *writers):
            kill(program)
        values, _ = contents(here)
        follower.check(values)
        here.servers[-1].stop()
        acked = made(here)
        assert_nothing_went_back(here, acked)
        assert any(floor for _, floor in acked.values())
        lines = (here.folder / "compactor.done").read_text().splitlines()
        figures |= {"snapshots": len(lines), "reloads": follower.reloads, "values": len(values)}
        figures |= {f"kills of the {of}": times for of, times in sorted(kills.items())}


def test_a_server_killed_before_any_write_of_a_compaction_goes_on_with_old_or_new(
    tmp_path: Path, scale: Scale, figures: dict[str, object]
) -> None:
    need(strace_works(), "strace")
    trace = tmp_path / "trace"
    compacted(tmp_path / "dry", Inject(WRITING, "error=EIO", "60000"), trace)
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M))
    points = scale.spread(
        [(call, n) for call in sorted(calls) for n in range(1, calls[call] + 1)], 6
    )

    def kill_at(point: tuple[str, int]) -> int:
        call, n = point
        return compacted(tmp_path / f"{call}{n}", Inject(call, "signal=KILL", str(n)))

    killed = in_parallel(kill_at, points)
    figures |= {"points": len(points), "kills": sum(killed), "writes": dict(calls)}
    assert sum(killed) > len(points) / 2


def compacted(folder: Path, fault: Inject, trace: Path | None = None) -> int:
    """Write and compact with *fault* at the first of the servers; how many of them were killed."""
    with site(folder) as here:
        here.start(fault.command(trace), ready=False)
        with Successor(here) as successor:
            writers = [here.program(name, OPERATIONS) for name in WRITERS]
            follower = Follower(here.url)
            running = [*writers, compactor(here, ROUNDS)]
            for program in running:
                assert program.wait(STUCK_S) == 0, [f.read_text() for f in folder.glob("*.err")]
            compactor(here, 1).wait(STUCK_S)  # with nothing in its way
            values, total = contents(here)
            assert (len(values), total) == (OPERATIONS, OPERATIONS)
            follower.check(values)
        here.servers[-1].stop()
        assert_nothing_went_back(here, made(here))
        return len(successor.ends)
