"""Servers for the length of a ``with`` block, each on a free port of 127.0.0.1 and in a folder of its own.

All of them are killed at the end: nothing that they have learned is of use to anybody.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .machine import find_program
from .rounds import Missing

START_S_MAX = 30.0
ROOT = Path(__file__).resolve().parents[1]


class Running(NamedTuple):
    """A server that answers."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"score://127.0.0.1:{self.port}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(command: Sequence[str], port: int, folder: str) -> Iterator[Running]:
    log = Path(folder, "log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=ROOT, preexec_fn=_die_with_parent
        )
    try:
        _await(process, port, log)
        yield Running(process.pid, port)
    finally:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    """However the benchmark ends, its servers do too (Linux: PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no server: {log.read_text('utf-8', 'replace')}") from None
            time.sleep(0.02)


@contextmanager
def scratch() -> Iterator[str]:
    """A folder on the disk that the durable rows measure (``SCORE_BENCHMARK_DIR``)."""
    parent = os.environ.get("SCORE_BENCHMARK_DIR")
    with tempfile.TemporaryDirectory(prefix="score-bench-", dir=parent) as folder:
        yield folder


@contextmanager
def score_server(
    *,
    durable: bool = False,
    path: str | None = None,
    connections_max: int = 0,
    uvloop: bool = False,
) -> Iterator[Running]:
    """Ours, as ``score-server`` runs it; or its core under asyncio and uvloop (``uvloop_server``).

    *path*: an SQLite file that is there already.  *connections_max*: another limit than the default.
    """
    if uvloop:
        _import("uvloop")
    with scratch() as folder:
        file = path or (str(Path(folder, "score.db")) if durable else None)
        store = f"sqlite:///{file}" if file else "memory:"
        port = free_port()
        command = [sys.executable, "-m"]
        if uvloop:
            command += ["benchmarks.uvloop_server", str(port), store]
        elif connections_max:
            command += ["benchmarks.large_server", str(port), store, str(connections_max)]
        else:
            command += ["score_server", "--listen", f"127.0.0.1:{port}", "--store", store]
        with _running(command, port, folder) as running:
            yield running


@contextmanager
def redis_server(*, durable: bool) -> Iterator[Running]:
    """redis-server: without any persistence, or with each command synced to its append-only file."""
    for module in ("redis", "hiredis"):
        _import(module)
    program = _program("redis-server")
    with scratch() as folder:
        port = free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--save", "", "--maxclients", "20000"]
        if durable:
            command += ["--appendonly", "yes", "--appendfsync", "always"]
            command += ["--auto-aof-rewrite-percentage", "0"]
        with _running(command, port, folder) as running:
            yield running


@contextmanager
def nats_server() -> Iterator[Running]:
    """NATS with JetStream on files, every message synced before it is acknowledged."""
    _import("nats")
    program = _program("nats-server")
    with scratch() as folder:
        port = free_port()
        config = Path(folder, "nats.conf")
        config.write_text(
            f'listen: "127.0.0.1:{port}"\n'
            f'jetstream {{ store_dir: "{folder}/jetstream", sync_interval: always }}\n'
        )
        with _running([program, "-c", str(config)], port, folder) as running:
            yield running


def _program(name: str) -> str:
    path = find_program(name)
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def _import(name: str) -> None:
    try:
        __import__(name)
    except ImportError:
        raise Missing(f"{name} is not installed") from None
