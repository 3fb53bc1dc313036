"""Row 9: bytes that leave an author for one small change of a large structure.

Ours: everything that goes up the socket, framing and session included (``benchmarks/bytes_on_wire.py`` counts).
pycrdt's: the update alone, as ``doc.observe`` gives it, without the framing that a provider adds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import score

from .. import bytes_on_wire
from ..results import Figure, Result, Verdict, judge
from . import Scale

TITLE = "bytes on the wire for one change"
BULK = 1000
DOCUMENTS = 9
SET, APPEND, NESTED = "one key set", "one append", "one append to a nested list"


def run(scale: Scale) -> Result:
    entries = scale.pick(1000, 100_000, 100_000)
    result = Result(9, TITLE)
    theirs = _pycrdt(entries)
    for work, (sent, received) in _score(entries).items():
        result.figures.append(Figure(9, work, "score, sent", "", value=sent, unit="bytes"))
        result.figures.append(
            Figure(9, work, "score, received back", "", value=received, unit="bytes")
        )
        if theirs is None:
            result.figures.append(Figure(9, work, "pycrdt", "", note="pycrdt is not installed"))
            result.verdicts.append(Verdict(9, f"{work} <= 0.8x pycrdt", "not measured", None))
            continue
        result.figures.append(
            Figure(9, work, "pycrdt, update", "", value=theirs[work], unit="bytes")
        )
        goal = f"{work} at {entries:,} entries <= 0.8x pycrdt's update"
        result.verdicts.append(judge(9, goal, sent, theirs[work], 0.8, most=True))
    return result


def _score(entries: int) -> dict[str, tuple[int, int]]:
    """Bytes (sent, received) of each kind of change."""
    with bytes_on_wire.relayed_client() as (client, relay):
        table = score.SMap[str, Any](client, "map")
        numbers = score.SVec[int](client, "list")
        for start in range(0, entries, BULK):
            table.update({f"entry {i}": i for i in range(start, start + BULK)})
            numbers.extend(range(start, start + BULK))
        table["key"] = 1
        table["list"] = list(range(BULK))
        inner = table["list"]

        def count(change: Callable[[], object]) -> tuple[int, int]:
            sent, received = relay.sent, relay.received
            change()
            return relay.sent - sent, relay.received - received

        return {
            SET: count(lambda: table.__setitem__("key", 7)),
            APPEND: count(lambda: numbers.append(7)),
            NESTED: count(lambda: inner.append(7)),
        }


def _pycrdt(entries: int) -> dict[str, int] | None:
    """Bytes of each kind of change; the median of some documents, whose random ids differ in length."""
    try:
        import pycrdt
    except ImportError:
        return None
    found = [_pycrdt_sizes(pycrdt, entries) for _ in range(DOCUMENTS)]
    sizes = [int(statistics.median(column)) for column in zip(*found, strict=True)]
    return dict(zip((SET, APPEND, NESTED), sizes, strict=True))


def _pycrdt_sizes(pycrdt: Any, entries: int) -> list[int]:
    doc = pycrdt.Doc()
    table = doc.get("map", type=pycrdt.Map)
    numbers = doc.get("list", type=pycrdt.Array)
    for start in range(0, entries, BULK):
        with doc.transaction():
            table.update({f"entry {i}": i for i in range(start, start + BULK)})
            numbers.extend(range(start, start + BULK))
    table["key"] = 1
    table["list"] = pycrdt.Array(list(range(BULK)))
    inner = table["list"]
    sizes: list[int] = []
    kept = doc.observe(lambda event: sizes.append(len(event.update)))
    table["key"] = 7
    numbers.append(7)
    inner.append(7)
    doc.unobserve(kept)
    return sizes
