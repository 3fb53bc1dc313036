"""Contenders take turns, round by round, so that whatever else the machine does hits all of them.

A *contender* is somebody who can do the row's work.  It is opened once for a row, then each round does
the same number of operations and gives the seconds that each one took.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple, Protocol

from . import machine
from .results import Figure


class Opened(Protocol):
    """A contender ready to work; *pids* are its servers' processes."""

    @property
    def pids(self) -> Sequence[int]: ...

    def round(self, count: int) -> list[float]:
        """Do *count* operations, one after the other; the seconds of each."""
        ...


class Missing(Exception):
    """A peer that is not installed."""


class Contender(NamedTuple):
    """*open* raises ``Missing`` if the peer is not there."""

    name: str
    open: Callable[[], AbstractContextManager[Opened]]


def timed(operate: Callable[[int], object], count: int) -> list[float]:
    """Call *operate* with 0 to *count* - 1; the seconds of each call."""
    clock = time.perf_counter
    found = []
    for i in range(count):
        begun = clock()
        operate(i)
        found.append(clock() - begun)
    return found


def percentile(times: Sequence[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def compare(
    row: int,
    work: str,
    contenders: Sequence[Contender],
    *,
    rounds: int,
    count: int,
    placements: Sequence[str] = ("same", "separate"),
    per: int = 1,
) -> list[Figure]:
    """*rounds* times *count* operations of each contender, interleaved, for each placement.

    *per*: how much work one operation is, for the throughput.
    """
    figures: list[Figure] = []
    with ExitStack() as stack:
        opened: dict[str, Opened] = {}
        for contender in contenders:
            try:
                opened[contender.name] = stack.enter_context(contender.open())
            except Missing as missing:
                figures.append(Figure(row, work, contender.name, "", note=str(missing)))
        for placement in placements:
            times: dict[str, list[float]] = {name: [] for name in opened}
            machine.pin(machine.CLIENT_CORE)
            for one in opened.values():
                machine.pin(machine.SERVER_CORES[placement], one.pids)
            for one in opened.values():
                one.round(max(1, count // 10))  # warm
            for _ in range(rounds):
                for name, one in opened.items():
                    gc.collect()
                    times[name] += one.round(count)
            for name, found in times.items():
                figures.append(
                    Figure(
                        row, work, name, placement,
                        p50_us=1e6 * statistics.median(found),
                        p99_us=1e6 * percentile(found, 0.99),
                        rate=per * len(found) / sum(found),
                    )
                )  # fmt: skip
        machine.pin(None)
    return figures
