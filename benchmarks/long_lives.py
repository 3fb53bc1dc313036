"""Does a group's age show?  Many changes of the same keys against few, after ``score compact``.

    python -m benchmarks.long_lives                    3,000,000 changes of 100,000 keys against 100,000
    python -m benchmarks.long_lives --changes 300000   quicker

For each: the store's size once the server has tidied it, the seconds from starting the server to its first answer,
the seconds that a fresh process takes to join, its resident memory then, and at its height.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import score
from score.tools.compaction import compact

from . import lean, machine, prefill, servers

ROUNDS = 5
SETTLED_S = 3.0  # the store's size has not changed for this long

_JOIN = """
import json, resource, sys, time
import score

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

with score.connect(sys.argv[1], timeout=300) as client:
    before = resident()
    begun = time.perf_counter()
    joined = score.SMap[str, int](client, "lived")
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([len(joined), seconds, resident() - before, peak - before]))
"""


def _changes(count: int, keys: int) -> Iterator[bytes]:
    return (lean.put(f"key {i % keys}", i) for i in range(count))


def _size(path: str) -> int:
    return sum(os.path.getsize(p) for p in (path, f"{path}-wal") if os.path.exists(p))


def _await_tidy(path: str) -> None:
    size, since = _size(path), time.monotonic()
    while time.monotonic() - since < SETTLED_S:
        time.sleep(0.1)
        if _size(path) != size:
            size, since = _size(path), time.monotonic()


def _joined(url: str, keys: int) -> tuple[float, float, float]:
    command = [sys.executable, "-c", _JOIN, url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found, seconds, after, peak = json.loads(said)
    assert found == keys, f"{found} keys"
    return seconds, after / 2**20, peak / 2**20


def measure(changes: int, keys: int) -> dict[str, float]:
    """The figures for a group of *changes* over *keys*, by name with its unit."""
    with servers.scratch() as folder:
        path = str(Path(folder, "lived.db"))
        prefill.log(path, "lived", _changes(changes, keys))
        with servers.score_server(path=path) as running:
            replayed, _, _ = _joined(running.url, keys)
            with score.connect(running.url, timeout=600) as one, one.another() as two:
                begun = time.perf_counter()
                assert compact(one, two, "lived") is not None
                compacting = time.perf_counter() - begun
            _await_tidy(path)
        starts, joins = [], []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            with servers.score_server(path=path) as running:
                with score.connect(running.url) as client:
                    client.ping()
                starts.append(time.perf_counter() - begun)
                joins.append(_joined(running.url, keys))
        seconds, after, peak = map(statistics.median, zip(*joins, strict=True))
        return {
            "join by replay, s": replayed,
            "compact, s": compacting,
            "store, MiB": _size(path) / 2**20,
            "start of the server, s": statistics.median(starts),
            "join, s": seconds,
            "memory of the joined process, MiB": after,
            "at its height, MiB": peak,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether a group's age shows.")
    parser.add_argument("--changes", type=int, default=3_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    options = parser.parse_args()
    old = measure(options.changes, options.keys)
    young = measure(options.keys, options.keys)
    print(machine.describe())
    print(
        f"| {options.keys:,} keys | {options.changes:,} changes | {options.keys:,} changes | ratio |"
    )
    print("|---|---|---|---|")
    for name, value in old.items():
        print(f"| {name} | {value:.2f} | {young[name]:.2f} | {value / young[name]:.2f} |")


if __name__ == "__main__":
    main()
