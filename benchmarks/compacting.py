"""What making a snapshot costs those who write meanwhile.

    python -m benchmarks.compacting [--keys 100000] [--rounds 5]

One blocking client sets keys of a group with many entries, in an SQLite store on this disk.  In turn there is nothing
else; ``score compact`` makes a snapshot of that group, in a process of its own; a process is merely busy, as little
favoured as that one.  Printed: the median and the 99th percentile of the sets in each kind of round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import score

from . import lean, machine, prefill, servers


def _sets(stock: score.SMap[str, int], keys: int, times: list[float], until: float) -> None:
    number = 0
    while time.perf_counter() < until:
        begun = time.perf_counter()
        stock[f"key {number % keys}"] = number
        times.append(time.perf_counter() - begun)
        number += 1


def _beside(command: list[str], stock: score.SMap[str, int], keys: int, times: list[float]) -> None:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            _sets(stock, keys, times, time.perf_counter() + 0.05)
        assert process.returncode == 0


_BUSY = """
import os, time
os.nice(10)
until = time.monotonic() + 1
while time.monotonic() < until:
    sum(range(1000))
"""


def _percentile(times: list[float], share: float) -> float:
    return 1e6 * sorted(times)[int(share * (len(times) - 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description="What a snapshot costs those who write.")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    quiet: list[float] = []
    compacting: list[float] = []
    busy: list[float] = []
    with servers.scratch() as folder:
        path = str(Path(folder, "lived.db"))
        payloads = (lean.put(f"key {i}", i) for i in range(options.keys))
        prefill.log(path, "lived", payloads)
        with servers.score_server(path=path) as running, score.connect(running.url) as client:
            stock = score.SMap[str, int](client, "lived")
            for _ in range(options.rounds):
                _sets(stock, options.keys, quiet, time.perf_counter() + 2.0)
                compact = ["-m", "score", "compact", "--url", running.url, "lived"]
                _beside([sys.executable, *compact], stock, options.keys, compacting)
                _beside([sys.executable, "-c", _BUSY], stock, options.keys, busy)
    print(machine.describe())
    print(f"| sets of a group of {options.keys:,} | how many | p50, us | p99, us |")
    print("|---|---|---|---|")
    for what, times in (
        ("nothing else", quiet),
        ("while a snapshot is made", compacting),
        ("while a process is merely busy", busy),
    ):
        p50 = 1e6 * statistics.median(times)
        print(f"| {what} | {len(times):,} | {p50:,.0f} | {_percentile(times, 0.99):,.0f} |")


if __name__ == "__main__":
    main()
