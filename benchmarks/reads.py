"""What a read of a UMap or UVec costs, as a ratio to the exact builtin (SMap and SVec are these).

    python benchmarks/reads.py

Pinned to one core; the two sides take turns; medians over the rounds.
"""

from __future__ import annotations

import os
import platform
import statistics
import timeit
from functools import cache

from ucore import UMap, UVec

SIZE = 10_000
ROUNDS = 31

READS = {
    "m[k]": ("m[k]", 20_000),
    "m.get(k)": ("m.get(k)", 20_000),
    "k in m": ("k in m", 20_000),
    "len(m)": ("len(m)", 20_000),
    "for k in m": ("for _ in m: pass", 20),
    "v[i]": ("v[5]", 20_000),
    "len(v)": ("len(v)", 20_000),
    "for x in v": ("for _ in v: pass", 20),
}


@cache  # made once: where in memory the keys came to lie is a matter of chance, and of some effect
def _names() -> tuple[dict[str, object], dict[str, object]]:
    """What the statements read: ours, and the builtins."""
    content = {f"key {i}": i for i in range(SIZE)}
    ours: dict[str, object] = {"m": UMap(content), "v": UVec(content), "k": "key 77"}
    return ours, {"m": content, "v": list(content), "k": "key 77"}


def seconds_of(name: str) -> float:
    """One read of ours, the loop around it included."""
    statement, number = READS[name]
    return statistics.median(timeit.repeat(statement, globals=_names()[0], number=number)) / number


def ratios(rounds: int = ROUNDS) -> dict[str, float]:
    """Each read's time over that of the exact builtin."""
    found = {}
    for name, (statement, number) in READS.items():
        timers = [timeit.Timer(statement, globals=names) for names in _names()]
        times = [[timer.timeit(number) for timer in timers] for _ in range(rounds)]
        found[name] = statistics.median(t[0] for t in times) / statistics.median(
            t[1] for t in times
        )
    return found


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"Python {platform.python_version()}, ratio to the builtin (1.0 = as fast)\n")
    print("| read | ratio |\n|---|---|")
    for name, ratio in ratios().items():
        print(f"| `{name}` | {ratio:.2f} |")
