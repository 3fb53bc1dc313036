"""Many clients in processes of their own, which begin together and end together.

The processes are forked once, before anything else runs, and then given one job after the other: starting
fifty Pythons for each figure would take longer than measuring.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Protocol

from . import machine


class Job(Protocol):
    """What one process does: ``prepare`` first; all begin ``work`` together."""

    def prepare(self) -> None: ...

    def work(self) -> Any: ...

    def end(self) -> None: ...


# Makes the job of process number *index*; a function of a module, so that its name can be sent.
Maker = Callable[..., Job]


class Crowd:
    """*size* processes that wait for jobs."""

    def __init__(self, size: int) -> None:
        context = multiprocessing.get_context("fork")
        self._ends: list[Connection] = []
        self._processes = []
        for index in range(size):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(index, there), daemon=True)
            process.start()
            there.close()
            self._ends.append(here)
            self._processes.append(process)

    def run(self, maker: Maker, *arguments: object, size: int | None = None) -> list[Any]:
        """Have the first *size* processes do a job each, made by ``maker(index, *arguments)``."""
        ends = self._ends[:size]
        for end in ends:
            end.send((maker, arguments))
        try:
            for end in ends:
                _received(end)  # prepared
            for end in ends:
                end.send(None)  # go
            return [_received(end) for end in ends]
        finally:
            for end in ends:
                end.send(None)  # let go of your connections
            for end in ends:
                _received(end)

    def pin(self, core: int | None) -> None:
        machine.pin(core, [process.pid for process in self._processes if process.pid])

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()


def _received(end: Connection) -> Any:
    found = end.recv()
    if isinstance(found, Exception):
        raise found
    return found


def _serve(index: int, end: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent kills us
    gc.freeze()
    while True:
        try:
            maker, arguments = end.recv()
        except EOFError:
            os._exit(0)
        job: Job | None = None
        try:
            job = maker(index, *arguments)
            job.prepare()
            gc.collect()
            end.send(None)
            end.recv()
            end.send(job.work())
        except Exception as error:
            end.send(RuntimeError(f"process {index}: {error!r}\n{traceback.format_exc()}"))
        end.recv()
        try:
            if job is not None:
                job.end()
        except Exception:
            traceback.print_exc()
        end.send(None)


@contextmanager
def crowd(size: int) -> Iterator[Crowd]:
    made = Crowd(size)
    try:
        yield made
    finally:
        made.close()


def spread(total: int, parts: int) -> Sequence[int]:
    """*total* in *parts* as equal as can be."""
    return [total // parts + (index < total % parts) for index in range(parts)]
