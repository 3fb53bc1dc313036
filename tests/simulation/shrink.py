"""Making a failing run smaller, and saying how to see it again.

Kinds of faults are switched off and operations left out, one after the other, as long as the same promise is
still broken.  Leaving something out changes what the scheduler's choices fall on, so this is a search, and its
result is a smaller failing run, not the smallest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .bugs import Bug, planted
from .oracle import Violation
from .world import SHELL_FAULTS, Options, World, run

ATTEMPTS_MAX = 300


class Failure:
    """A seed that breaks a promise, the options that make it small, and what happened."""

    def __init__(self, seed: int, options: Options, violation: Violation) -> None:
        assert violation.world is not None
        self.seed = seed
        self.options = options
        self.violation = violation
        self.world: World = violation.world

    def command(self, bug: Bug | None) -> str:
        """The one command that replays it."""
        parts = ["python -m tests.simulation", f"--seed {self.seed}"]
        if self.options.shell:
            parts.append("--shell")
        if self.options.without:
            parts.append(f"--without {','.join(sorted(self.options.without))}")
        if self.options.dropped:
            dropped = ",".join(
                f"{client}.{index}" for client, index in sorted(self.options.dropped)
            )
            parts.append(f"--drop {dropped}")
        if bug is not None:
            parts.append(f'--bug "{bug.name}"')
        return " ".join(parts)


def attempt(seed: int, options: Options) -> Failure | None:
    """Run it; what went wrong, if anything did."""
    try:
        run(seed, options)
    except Violation as violation:
        return Failure(seed, options, violation)
    return None


def shrunk(
    failure: Failure, bug: Bug | None = None, *, attempts_max: int = ATTEMPTS_MAX
) -> Failure:
    """A failure of the same promise with fewer faults and operations."""
    best, attempts = failure, 0
    with planted(bug):
        progress = True
        while progress:
            progress = False
            for options in _smaller(best):
                attempts += 1
                if attempts > attempts_max:
                    return best
                found = attempt(best.seed, options)
                if found and found.violation.promise == best.violation.promise:
                    best, progress = found, True
                    break
    return best


def _smaller(failure: Failure) -> Iterator[Options]:
    options = failure.options
    for fault in SHELL_FAULTS:
        if fault in failure.world.faults:
            yield replace(options, without=options.without | {fault})
    kept = [
        (client, index)
        for client, size in sorted(failure.world.plan_size.items())
        for index in range(size)
        if (client, index) not in options.dropped
    ]
    # Whole clients, then halves, then single operations.
    for client in sorted({client for client, _ in kept}):
        yield replace(options, dropped=options.dropped | {op for op in kept if op[0] == client})
    half = len(kept) // 2
    if half > 1:
        yield replace(options, dropped=options.dropped | set(kept[:half]))
        yield replace(options, dropped=options.dropped | set(kept[half:]))
    for op in kept:
        yield replace(options, dropped=options.dropped | {op})
