"""Row 11: does a unit of work cost the same when there is much of everything?

One curve for each quantity: entries in the log, connections that are idle or busy, bytes of a value.  The goal is a
flat curve (for values: flat a byte, once bytes are what costs).  ``--full`` goes to 10M entries and 10k
connections; the default stops earlier to fit into the time of one run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from .. import lean, machine, prefill, servers
from ..results import Figure, Result, Series, Verdict
from ..rounds import timed
from . import Scale

TITLE = "growth"
# How much more a unit may cost at the largest size than at the smallest and still count as flat.
FLAT = 1.5


def run(scale: Scale) -> Result:
    result = Result(11, TITLE)
    connections = scale.pick((1, 10), (1, 100, 1000, 3000), (1, 10, 100, 1000, 10_000))
    machine.allow_open_files(connections[-1] + 200)
    count = scale.pick(50, 1000, 3000)
    _log(
        result,
        scale.pick((1, 1000), (1, 10_000, 1_000_000), (1, 10_000, 1_000_000, 10_000_000)),
        count,
    )
    _idle(result, connections, count)
    _busy(result, connections, scale.pick(0.2, 1.5, 3.0))
    _values(
        result,
        scale.pick(
            (10, 10_000),
            (10, 100, 1000, 10_000, 100_000, 1_000_000),
            (10, 100, 1000, 10_000, 100_000, 1_000_000),
        ),
        count,
    )
    machine.pin(None)
    return result


def _note(
    result: Result,
    title: str,
    x: str,
    points: list[tuple[float, float]],
    name: str,
    *,
    judged: bool = True,
) -> None:
    """A curve of microseconds a unit of work."""
    result.series.append(Series(title, x, "µs", name, points))
    result.figures += [
        Figure(11, f"{title}: {size:,.0f}", name, "separate", p50_us=us) for size, us in points
    ]
    if judged:
        growth = points[-1][1] / points[0][1]
        goal = f"{title}, {name}: flat from {points[0][0]:,.0f} to {points[-1][0]:,.0f}"
        result.verdicts.append(Verdict(11, goal, f"{growth:.2f}x", growth <= FLAT))


def _place(running: servers.Running) -> None:
    machine.pin(machine.CLIENT_CORE)
    machine.pin(machine.SERVER_CORES["separate"], [running.pid])


def _blocking(author: lean.Lean, payload: bytes, count: int) -> float:
    """The median of one blocking submission, in microseconds."""
    times = timed(lambda i: lean.pipeline(author, [payload], 1), count)
    return 1e6 * statistics.median(times)


def _log(result: Result, sizes: Sequence[int], count: int) -> None:
    blocking, pipelined, starts = [], [], []
    for size in sizes:
        with servers.scratch() as folder:
            path = str(Path(folder, "log.db"))
            prefill.log(path, "log", (lean.put(f"key {i % 1000}", i) for i in range(size)))
            begun = time.perf_counter()
            with servers.score_server(path=path) as running:
                starts.append((float(size), 1e6 * (time.perf_counter() - begun)))
                _place(running)
                # An author that is up to date, as one is who has written before: it joins another
                # group of the same store for that, and so is spared the log.
                author = lean.Lean(running.port).open_session().join("another")
                payload = lean.put("key 7", 7)
                _blocking(author, payload, count // 10)
                blocking.append((float(size), _blocking(author, payload, count)))
                changes = [payload] * (10 * count)
                pipelined.append((float(size), 1e6 * lean.pipeline(author, changes) / len(changes)))
    title = "a durable change, by entries in the log"
    _note(result, title, "entries in the store", blocking, "blocking")
    _note(result, title, "entries in the store", pipelined, "pipelined")
    _note(
        result, "start of a server, by entries in its log", "entries in the store", starts, "start"
    )


def _idle(result: Result, sizes: Sequence[int], count: int) -> None:
    points = []
    with servers.score_server(connections_max=20_000) as running:
        _place(running)
        author = lean.Lean(running.port).open_session().join("author")
        others: list[lean.Lean] = []
        for size in sizes:
            while len(others) < size - 1:
                others.append(lean.Lean(running.port).join("others"))
            _blocking(author, lean.put("key", 7), count // 10)
            points.append((float(size), _blocking(author, lean.put("key", 7), count)))
        for other in others:
            other.close()
    _note(
        result,
        "a change in memory, by connections",
        "connections",
        points,
        "one writes, others idle",
    )


def _busy(result: Result, sizes: Sequence[int], seconds: float) -> None:
    points = []
    with servers.score_server(connections_max=20_000) as running:
        _place(running)
        authors: list[lean.Lean] = []
        for size in sizes:
            while len(authors) < size:
                author = lean.Lean(running.port).open_session().join(f"group {len(authors)}")
                authors.append(author)
            lean.writers(authors, lean.put("key", 7), seconds / 4)
            done = lean.writers(authors, lean.put("key", 7), seconds)
            points.append((float(size), 1e6 * seconds / done))
        for author in authors:
            author.close()
    _note(
        result, "a change in memory, by connections", "connections", points, "all write, own groups"
    )


def _values(result: Result, sizes: Sequence[int], count: int) -> None:
    for name, durable in (("memory", False), ("SQLite", True)):
        points, by_byte = [], []
        with servers.score_server(durable=durable) as running:
            _place(running)
            author = lean.Lean(running.port).open_session().join("values")
            for size in sizes:
                payload = lean.put("key", b"v" * size)
                times = min(count, max(20, 20_000_000 // size))
                us = _blocking(author, payload, times)
                points.append((float(size), us))
                by_byte.append((float(size), us / size))
        title = "one change, by the bytes of its value"
        _note(result, title, "bytes of the value", points, name, judged=False)
        # Below a few ten thousand bytes a change costs what it costs whatever its size.
        (small, cheap), (large, dear) = by_byte[-2:]
        goal = f"a byte of a value, {name}: no dearer at {large:,.0f} than at {small:,.0f}"
        result.verdicts.append(Verdict(11, goal, f"{dear / cheap:.2f}x", dear / cheap <= FLAT))
