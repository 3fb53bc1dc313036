"""Row 10: resident memory of the server's process for what is idle.

*Greeted*: connected, Hello and Welcome exchanged.  *Joined*: also one channel on a group that all share.
*Written*: also a session of its own with one settled change, as most blocking clients are.  The kernel's
buffers are not in a process's resident memory, on either side.
"""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable
from pathlib import Path

from .. import lean, machine, prefill, servers
from ..results import Figure, Result, Verdict
from ..rounds import Missing
from . import Scale

TITLE = "memory per idle connection and per idle group"
KIB_MAX = 2.0


def _greeted(port: int) -> lean.Lean:
    return lean.Lean(port)


def _joined(port: int) -> lean.Lean:
    return lean.Lean(port).join("shared")


def _written(port: int) -> lean.Lean:
    author = lean.Lean(port).open_session().join("shared")
    lean.pipeline(author, [lean.put("key", 1)], 1)
    return author


STAGES: dict[str, Callable[[int], lean.Lean]] = {
    "greeted": _greeted,
    "joined": _joined,
    "written": _written,
}


def run(scale: Scale) -> Result:
    result = Result(10, TITLE)
    sizes = scale.pick((100,), (1000, 5000), (1000, 5000))
    if not machine.allow_open_files(sizes[-1] + 200):
        result.verdicts.append(Verdict(10, "idle connections", "too few open files allowed", None))
        return result
    for stage, connect in STAGES.items():
        for size, kib in _connections(connect, sizes).items():
            work = f"idle connection of {size:,}, {stage}"
            result.figures.append(Figure(10, work, "score", "", value=kib, unit="KiB"))
            result.verdicts.append(
                Verdict(10, f"{work} <= 2 KiB", f"{kib:.2f} KiB", kib <= KIB_MAX)
            )
    try:
        for size, kib in _redis(sizes).items():
            work = f"idle connection of {size:,}"
            result.figures.append(Figure(10, work, "redis", "", value=kib, unit="KiB"))
    except Missing as missing:
        result.figures.append(Figure(10, "idle connection", "redis", "", note=str(missing)))
    groups = scale.pick(1000, 100_000, 100_000)
    kib = _groups(groups)
    work = f"idle group of {groups:,}"
    result.figures.append(Figure(10, work, "score, SQLite", "", value=kib, unit="KiB"))
    result.verdicts.append(Verdict(10, f"{work} <= 2 KiB", f"{kib:.2f} KiB", kib <= KIB_MAX))
    return result


def _connections(connect: Callable[[int], lean.Lean], sizes: tuple[int, ...]) -> dict[int, float]:
    found = {}
    with servers.score_server(connections_max=20_000) as running:
        # What the first ones need is there for all: modules, tables, the allocator's first arenas.
        opened = [connect(running.port) for _ in range(50)]
        before = machine.memory_kib(running.pid)
        for size in sizes:
            while len(opened) < size + 50:
                opened.append(connect(running.port))
            opened[-1].ping()
            found[size] = (machine.memory_kib(running.pid) - before) / size
        for one in opened:
            one.close()
        gc.collect()
    return found


def _redis(sizes: tuple[int, ...]) -> dict[int, float]:
    found = {}
    with servers.redis_server(durable=False) as running:
        opened: list[socket.socket] = []

        def connect() -> None:
            sock = socket.create_connection(("127.0.0.1", running.port))
            sock.sendall(b"PING\r\n")
            assert sock.recv(100) == b"+PONG\r\n"
            opened.append(sock)

        for _ in range(50):
            connect()
        before = machine.memory_kib(running.pid)
        for size in sizes:
            while len(opened) < size + 50:
                connect()
            found[size] = (machine.memory_kib(running.pid) - before) / size
        for sock in opened:
            sock.close()
    return found


def _groups(count: int) -> float:
    used = []
    for size in (1, count):
        with servers.scratch() as folder:
            path = str(Path(folder, "groups.db"))
            prefill.groups(path, size, lean.put("key", 1))
            with servers.score_server(path=path) as running:
                lean.Lean(running.port).close()
                used.append(machine.memory_kib(running.pid))
    return (used[1] - used[0]) / count
