"""Many writers on one group: commits a second, attempts a commit, slowest over fastest writer.

    python benchmarks/contention.py                       1, 4 and 32 writers, memory store
    python benchmarks/contention.py --writers 32 --seconds 5 --store sqlite

Each writer is a process with one blocking client.  Three ways to count to the same number:
*intents* (``m.increment``), *strict* (read, then a strict change, again until it is accepted, without
turns), *transactions* (``run_transaction``, which takes a turn after a refusal, and from then on before each first
attempt for as long as others come between).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

import score
from score.demo import Server

WAYS = ("intents", "strict", "transactions")


class Contention(NamedTuple):
    """What *writers* reached together; *fairness* is the slowest's commits over the fastest's."""

    way: str
    writers: int
    commits_s: float
    attempts_each: float
    fairness: float


def bump(t: Any) -> None:
    t["n"] = t.get("n", 0) + 1


def write(
    url: str,
    way: str,
    seconds: float,
    go: Event,
    out: multiprocessing.SimpleQueue[tuple[int, int]],
) -> None:
    commits = attempts = 0
    with score.connect(url, timeout=60, wait=30) as client:
        m = score.SMap[str, int](client, "contended")

        def attempt(t: Any) -> None:
            nonlocal attempts
            attempts += 1
            bump(t)

        out.put((0, 0))
        go.wait()
        # By each process's own clock: an event to ask would be one more thing to contend for.
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if way == "intents":
                m.increment("n")
                attempts += 1
            elif way == "transactions":
                m.run_transaction(attempt)
            else:
                try:
                    with m.transaction() as t:
                        attempt(t)
                except score.ConflictError:
                    continue
            commits += 1
    out.put((commits, attempts))


def measure(url: str, way: str, writers: int, seconds: float) -> Contention:
    """Have *writers* processes contend for *seconds*."""
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    out: multiprocessing.SimpleQueue[tuple[int, int]] = context.SimpleQueue()
    processes = [
        context.Process(target=write, args=(url, way, seconds, go, out)) for _ in range(writers)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        out.get()
    begun = time.monotonic()
    go.set()
    found = [out.get() for _ in processes]
    took = time.monotonic() - begun
    for process in processes:
        process.join()
    commits, attempts = (sum(column) for column in zip(*found, strict=True))
    counts = [commits for commits, _ in found]
    fairness = min(counts) / max(counts) if max(counts) else 0.0
    each = attempts / commits if commits else float("nan")
    return Contention(way, writers, commits / took, each, fairness)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writers", type=int, nargs="*", default=[1, 4, 32], metavar="N")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--store", choices=["memory", "sqlite"], default="memory")
    options = parser.parse_args()
    print(f"{options.store} store, {os.cpu_count()} cores, {options.seconds} s each\n")
    print("| way | writers | commits/s | attempts a commit | slowest/fastest |")
    print("|---|---|---|---|---|")
    for writers in options.writers:
        for way in WAYS:
            with tempfile.TemporaryDirectory() as folder:
                server = Server(
                    Path(folder), store="memory:" if options.store == "memory" else None
                )
                try:
                    with score.connect(server.url, wait=30):
                        found = measure(server.url, way, writers, options.seconds)
                    print(
                        f"| {way} | {writers} | {found.commits_s:,.0f} | {found.attempts_each:.2f} "
                        f"| {found.fairness:.2f} |",
                        flush=True,
                    )
                finally:
                    server.stop()


if __name__ == "__main__":
    main()
