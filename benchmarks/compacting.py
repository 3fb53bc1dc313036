"""What making a snapshot costs those who write meanwhile.

    python -m benchmarks.compacting [--keys 100000] [--rounds 5]

One blocking client sets keys of a group with many entries, in an SQLite store on this disk; ``score compact`` makes a
snapshot of that group, in a process of its own, in every second round.  Printed: the median and the 99th percentile
of the sets in either kind of round.
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


def _compacting(url: str, stock: score.SMap[str, int], keys: int, times: list[float]) -> None:
    command = [sys.executable, "-m", "score", "compact", "--url", url, "lived"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            _sets(stock, keys, times, time.perf_counter() + 0.05)
        assert process.returncode == 0


def _percentile(times: list[float], share: float) -> float:
    return 1e6 * sorted(times)[int(share * (len(times) - 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description="What a snapshot costs those who write.")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    quiet: list[float] = []
    busy: list[float] = []
    with servers.scratch() as folder:
        path = str(Path(folder, "lived.db"))
        payloads = (lean.put(f"key {i}", i) for i in range(options.keys))
        prefill.log(path, "lived", payloads)
        with servers.score_server(path=path) as running, score.connect(running.url) as client:
            stock = score.SMap[str, int](client, "lived")
            for _ in range(options.rounds):
                _sets(stock, options.keys, quiet, time.perf_counter() + 2.0)
                _compacting(running.url, stock, options.keys, busy)
    print(machine.describe())
    print(f"| sets of a group of {options.keys:,} | how many | p50, us | p99, us |")
    print("|---|---|---|---|")
    for what, times in (("nothing else", quiet), ("while a snapshot is made", busy)):
        p50 = 1e6 * statistics.median(times)
        print(f"| {what} | {len(times):,} | {p50:,.0f} | {_percentile(times, 0.99):,.0f} |")


if __name__ == "__main__":
    main()
