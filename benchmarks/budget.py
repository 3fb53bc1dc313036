"""Where one blocking durable set spends its time, from call to return.

    python -m benchmarks.budget            the table
    python -m benchmarks.budget --sets 5000

Three passes, since each way of looking disturbs the others:

- *stages*: client and server in this one process, every function between two stages wrapped in a clock; the
  figures are medians, the wrappers' own cost (about 0.1 µs each) is in them;
- *system calls*: ``strace -c -f`` on a client and on a server process of their own;
- *function calls*: ``sys.setprofile`` in both threads of the first pass, without the clocks.

Bytes on the wire are counted by a relay between the two.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import score
from score.testing import server

from . import bytes_on_wire, machine, report, servers

KEYS = [f"key {i}" for i in range(100)]


# ---------------------------------------------------------------- stages


class Clock:
    """The moments at which a set passes from one stage to the next, whichever thread it is in."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, float]] = []

    def mark(self, name: str) -> None:
        self.marks.append((name, time.perf_counter()))

    def around(self, owner: Any, name: str, label: Callable[..., str | None]) -> None:
        """Mark ``label(*arguments)`` with " in" when ``owner.name`` is called, with " out" at its end."""
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            told = label(*arguments)
            if told is None:
                return original(*arguments, **named)
            self.mark(f"{told} in")
            try:
                return original(*arguments, **named)
            finally:
                self.mark(f"{told} out")

        setattr(owner, name, wrapped)


# What has been done when a mark is made the first time after the one before it in this list.
STAGES = (
    ("client send in", "client: check, make the update, encode, name it, frame it"),
    ("client send out", "client: `send`"),
    ("server read in", "the kernel; waking the server; its `recv`"),
    ("core in", "server: cut the frame, decode, check"),
    (
        "core out",
        "server: look the name up, judge, place, encode and hash the entry, seal the commit",
    ),
    ("store in", "waking the committer's thread"),
    ("store out", "store: SQL, write, fdatasync"),
    ("core in", "waking the server's loop"),
    ("core out", "server: publish, release the answer"),
    ("server send in", "server: pull the output"),
    ("server send out", "server: check and encode the output"),
    ("client read out", "server: `send`; the kernel; waking the client; its `recv`"),
    ("client done", "client: decode, check, hash, apply, return"),
)


def stages(sets: int) -> tuple[list[tuple[str, float]], float]:
    """Median microseconds of each stage, and of a whole set."""
    from score.blocking import SocketStream
    from score_server.core import Core
    from score_server.stores.sqlite import SqliteStore
    from score_server.wire.connection import Connection, Role

    def of_server(label: str) -> Callable[..., str | None]:
        return lambda connection, *_: label if connection.role is Role.SERVER else None

    clock = Clock()
    with _restored(SocketStream, Connection, Core, SqliteStore):
        clock.around(SocketStream, "send_all", lambda *_: "client send")
        clock.around(SocketStream, "receive", lambda *_: "client read")
        clock.around(Connection, "receive_data", of_server("server read"))
        clock.around(Connection, "send", of_server("server send"))
        clock.around(Core, "handle_all", lambda *_: "core")
        clock.around(SqliteStore, "commit", lambda *_: "store")
        lengths: list[list[float]] = []
        wholes: list[float] = []
        with servers.scratch() as folder:
            with server(f"sqlite:///{folder}/budget.db") as url, score.connect(url) as client:
                shared = score.SMap[str, int](client, "budget")
                for i in range(sets):
                    clock.marks.clear()
                    begun = time.perf_counter()
                    shared[KEYS[i % 100]] = i
                    clock.mark("client done")
                    if (found := _lengths(begun, clock.marks)) is not None:
                        lengths.append(found)
                        wholes.append(clock.marks[-1][1] - begun)
    medians = [1e6 * statistics.median(column) for column in zip(*lengths, strict=True)]
    what = [told for _, told in STAGES]
    return list(zip(what, medians, strict=True)), 1e6 * statistics.median(wholes)


def _lengths(begun: float, marks: list[tuple[str, float]]) -> list[float] | None:
    """Seconds of each stage; None where something else (a tick) came between."""
    left = iter(sorted(marks, key=lambda mark: mark[1]))
    found = []
    for name, _ in STAGES:
        at = next((at for told, at in left if told == name), None)
        if at is None:
            return None
        found.append(at - begun)
        begun = at
    return found


@contextmanager
def _restored(*owners: type) -> Iterator[None]:
    """Put the methods of *owners* back at the end of the block."""
    kept = [(owner, dict(vars(owner))) for owner in owners]
    try:
        yield
    finally:
        for owner, names in kept:
            for name, value in names.items():
                if callable(value) and vars(owner)[name] is not value:
                    setattr(owner, name, value)


# ---------------------------------------------------------------- bytes


def wire_bytes() -> tuple[int, int]:
    """Bytes (sent, received) by the client for one set, framing included."""
    with bytes_on_wire.relayed_client() as (client, relay):
        shared = score.SMap[str, int](client, "budget")
        shared["key 1"] = 1
        sent, received = relay.sent, relay.received
        shared["key 1"] = 7
        return relay.sent - sent, relay.received - received


# ---------------------------------------------------------------- function calls


def function_calls(sets: int) -> dict[str, tuple[float, float]]:
    """Calls a set of Python functions and of C functions, by who makes them.

    In a process of its own: every thread made from here on is counted.
    """
    counts: dict[str, Counter[str]] = {}

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            counts.setdefault(threading.current_thread().name, Counter())[event] += 1

    threading.setprofile(profile)
    with servers.scratch() as folder:
        with server(f"sqlite:///{folder}/budget.db") as url, score.connect(url) as client:
            shared = score.SMap[str, int](client, "budget")
            shared["warm"] = 1
            before = {name: Counter(found) for name, found in counts.items()}
            sys.setprofile(profile)
            for i in range(sets):
                shared[KEYS[i % 100]] = i
            sys.setprofile(None)
            after = {name: Counter(found) for name, found in counts.items()}
    threading.setprofile(None)
    calls: dict[str, tuple[float, float]] = {}
    for name, found in after.items():
        found.subtract(before.get(name, {}))
        calls[name] = found["call"] / sets, found["c_call"] / sets
    return calls


# ---------------------------------------------------------------- system calls

_LINE = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(?!total)(\w+)$", re.MULTILINE)


def system_calls(sets: int) -> dict[str, dict[str, float]] | None:
    """System calls a set, of each side: the difference between a run with *sets* and one without."""
    if shutil.which("strace") is None:
        return None
    found: dict[str, dict[str, float]] = {}
    many, none = _traced(sets), _traced(0)
    for side in many:
        names = many[side].keys() | none[side].keys()
        a_set = {name: (many[side][name] - none[side][name]) / sets for name in names}
        found[side] = {name: count for name, count in a_set.items() if count >= 0.005}
    return found


def _traced(sets: int) -> dict[str, Counter[str]]:
    with servers.scratch() as folder:
        port = servers.free_port()
        trace = ["strace", "-f", "-c", "-o"]
        serve = [sys.executable, "-m", "score_server", "--listen", f"127.0.0.1:{port}"]
        serve += ["--store", f"sqlite:///{folder}/budget.db"]
        running = subprocess.Popen(
            [*trace, f"{folder}/server", *serve], stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            url = f"score://127.0.0.1:{port}"
            act = [sys.executable, "-m", "benchmarks.budget", "--act", url, str(sets)]
            subprocess.run([*trace, f"{folder}/client", *act], check=True, cwd=servers.ROOT)
        finally:
            _terminate_children(running.pid)
            running.wait()
        return {
            side: Counter(
                {name: int(count) for count, name in _LINE.findall(Path(folder, side).read_text())}
            )
            for side in ("client", "server")
        }


def _terminate_children(pid: int) -> None:
    """Stop what strace runs, in order; strace then writes its summary and ends."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        subprocess.run(["kill", "-TERM", child], check=False)


def act(url: str, sets: int) -> None:
    """The client whose system calls are counted."""
    with score.connect(url, wait=30) as client:
        shared = score.SMap[str, int](client, "budget")
        shared["warm"] = 1
        for i in range(sets):
            shared[KEYS[i % 100]] = i


# ---------------------------------------------------------------- the table


def markdown(sets: int) -> str:
    """All three passes."""
    table, whole = stages(sets)
    lines = [f"| stage of one durable set | µs (median of {sets:,}) |", "|---|---|"]
    lines += [f"| {what} | {us:.0f} |" for what, us in table]
    lines += [f"| the whole call | {whole:.0f} |", ""]
    sent, received = wire_bytes()
    lines += [f"{sent} bytes are sent and {received} received for a set.", ""]
    lines += ["| system calls a set | |", "|---|---|"]
    counted = system_calls(sets)
    for side, calls in (counted or {}).items():
        most = sorted(calls.items(), key=lambda call: -call[1])
        told = ", ".join(f"{name} {count:.1f}" for name, count in most if count >= 0.05)
        lines.append(f"| {side}, {sum(calls.values()):.1f} in all | {told} |")
    if counted is None:
        lines.append("| | strace is not installed |")
    lines += ["", "| function calls a set | Python | C |", "|---|---|---|"]
    for name, (python, c) in function_calls(200).items():
        lines.append(f"| thread {name} | {python:.0f} | {c:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.budget", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--system-calls", action="store_true", help="only those, as JSON")
    parser.add_argument("--write", action="store_true", help="also put it into docs/performance.md")
    parser.add_argument("--act", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act:
        act(options.act[0], int(options.act[1]))
    elif options.system_calls:
        print(json.dumps(system_calls(options.sets)))
    else:
        found = markdown(options.sets)
        print(found)
        if options.write:
            report.put("benchmarks.budget", f"Measured on {machine.describe()}.\n\n{found}")


if __name__ == "__main__":
    main()
