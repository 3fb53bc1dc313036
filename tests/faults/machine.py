"""The stage: a server as a process that a tool may stand in front of, its file, its clients' ledgers.

A ``Site`` keeps one port for all its servers, so that clients find the next one where the last one was.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from score.testing.check import check as check_promises
from score.testing.history import read_history
from score.testing.history_log import read_log

from .ledger import Tries, check
from .worker import Worker

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
A = TypeVar("A")

# Nothing here takes that long; it makes a failing test of a hanging one.
STUCK_S = 60.0


class Scale(NamedTuple):
    """How much of a case to run."""

    whole: bool

    def pick(self, share: int, whole: int) -> int:
        return whole if self.whole else share

    def spread(self, points: Sequence[T], share: int) -> list[T]:
        """All of *points*, or about *share* of them, the first and the last included."""
        if self.whole or len(points) <= share:
            return list(points)
        step = (len(points) - 1) / (share - 1)
        return [points[round(i * step)] for i in range(share)]


def in_parallel(work: Callable[[A], T], over: Iterable[A]) -> list[T]:
    """The cases wait for processes most of the time: do a few at once."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(work, over))


# ---------------------------------------------------------------- tools


def works(*command: str) -> bool:
    """Whether *command* can be run here, successfully."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@functools.cache
def strace_works() -> bool:
    return works("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true")


@functools.cache
def mounting_works() -> bool:
    return works("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt") and works("nsenter", "-h")


@functools.cache
def faketime_library() -> str | None:
    for path in sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")):
        return str(path)
    return None


def need(available: bool, what: str) -> None:
    """Skip the test unless *available*; *what* says which tool cannot work here."""
    if not available:
        pytest.skip(f"{what} cannot work here")


class Inject(NamedTuple):
    """A fault that strace puts before the *when*-th call of one thread to one of *calls*."""

    calls: str
    fault: str  # "signal=KILL", "error=EIO"
    when: str  # "3", "3+" from there on

    def command(self, trace: Path | None = None) -> list[str]:
        """What to put in front of the server's command; strace ends as the server does."""
        return [
            *("strace", "-f", "-qq", "-o", str(trace or "/dev/null")),
            *("-e", f"trace={self.calls}"),
            *("-e", f"inject={self.calls}:{self.fault}:when={self.when}"),
        ]


# ---------------------------------------------------------------- a server


class Server:
    """One run of ``score-server``.  ``log`` grows by itself; ``wait`` gives the exit status."""

    def __init__(
        self,
        port: int,
        store: str,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "score_server", "--listen", f"127.0.0.1:{port}", "--store", store],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT,
            env=os.environ | dict(env or {}),
        )  # fmt: skip
        self.log = ""
        self._grown = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self.log += line
                self._grown.notify_all()
        self.process.stderr.close()
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Until *pattern* is in the log."""
        with self._grown:
            self._grown.wait_for(lambda: self._ended or re.search(pattern, self.log), STUCK_S)
            assert re.search(pattern, self.log), f"no {pattern!r} in:\n{self.log}"
            return self.log

    @property
    def pid(self) -> int:
        """The server's own process, also behind a tracer."""
        here = self.process.pid
        children = Path(f"/proc/{here}/task/{here}/children").read_text().split()
        for pid in (here, *map(int, children)):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(sys.executable.encode()):
                return pid
        return here

    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait(self) -> int:
        status = self.process.wait(STUCK_S)
        self._reader.join(STUCK_S)
        return status

    def signal(self, number: int) -> None:
        """Has to run still."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        with contextlib.suppress(OSError):  # gone already
            self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()


# ---------------------------------------------------------------- all of it


class Site:
    """A folder with a store and ledgers, a port, and whatever runs on them."""

    def __init__(self, folder: Path, store: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = folder / "a.db" if store is None else store
        self.port = free_port()
        self.url = f"score://127.0.0.1:{self.port}"
        self.servers: list[Server] = []
        self.workers: list[Worker] = []
        self.programs: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        *,
        ready: bool = True,
    ) -> Server:
        """A server; *ready*: wait until it listens."""
        server = Server(self.port, f"sqlite:///{self.store}", prefix, env)
        self.servers.append(server)
        if ready:
            server.wait_for("listening on")
        return server

    def ledger(self, name: str) -> Path:
        return self.folder / f"{name}.ledger"

    def worker(self, name: str, deadline_s: float = STUCK_S, url: str | None = None) -> Worker:
        """A client in this process."""
        worker = Worker(url or self.url, name, self.ledger(name), deadline_s)
        self.workers.append(worker)
        return worker

    def program(self, name: str, operations: int = 0) -> subprocess.Popen[bytes]:
        """A client as a process; it runs until it is killed or has done its *operations*."""
        with (self.folder / f"{name}.err").open("wb") as errors:
            program = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("worker.py")), self.url, name,
                 str(self.ledger(name)), str(operations)],
                stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip
        self.programs.append(program)
        return program

    def check(self) -> list[Tries]:
        """Whether what a newcomer and every client of this process hold agrees with all ledgers."""
        ledgers = {
            path.stem: path.read_text("utf-8").splitlines(keepends=True)
            for path in sorted(self.folder.glob("*.ledger"))
        }
        newcomer = Worker(self.url, "newcomer", self.folder / "newcomer")
        try:
            values, total = newcomer.contents()
        finally:
            newcomer.close()
        for worker in self.workers:
            assert worker.contents() == (values, total), f"{worker.name} holds something else"
        tries = check(ledgers, values, total)
        self._check_history()
        return tries

    def _check_history(self) -> None:
        """P1 to P8, by what every client recorded and the final logs."""
        history = read_history(*sorted(self.folder.glob("*.history")))
        for group in ("values", "counts"):
            history.log += read_log(self.url, group)
        verdict = check_promises(history)
        assert verdict.ok, str(verdict)

    def end(self) -> None:
        for program in self.programs:
            kill(program)
        for server in self.servers:
            server.kill()
        for worker in self.workers:
            worker.close()


@contextmanager
def site(folder: Path, store: Path | None = None) -> Iterator[Site]:
    """A site whose processes end with the block."""
    made = Site(folder, store)
    try:
        yield made
    except BaseException as error:
        for server in made.servers:
            error.add_note(f"server, status {server.process.poll()}:\n{server.log}")
        raise
    finally:
        made.end()


# Below the ports that systems give to connections: a client must not take a server's between two runs.
_ports = itertools.count(20_000 + os.getpid() % 9_000)


def free_port() -> int:
    for port in _ports:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("unreachable")


def kill(program: subprocess.Popen[bytes]) -> None:
    """Idempotent."""
    program.kill()
    program.wait()


def pause(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)


def resume(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)


class Successor:
    """For the time of the block: whenever the site's server ends, the next one is started.

    *ends*: the exit status of each that ended.
    """

    def __init__(self, here: Site) -> None:
        self._here = here
        self._stopping = False
        self.ends: list[int] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while True:
            status = self._here.servers[-1].process.wait()
            with self._lock:
                if self._stopping:
                    return
                self.ends.append(status)
                self._here.start(ready=False)

    def __enter__(self) -> Successor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopping = True
