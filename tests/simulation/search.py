"""Run seeds, plant bugs, replay one run.

python -m tests.simulation --seeds 1000              seeds 0 to 999; stops at the first failure
python -m tests.simulation --seed 17                 one run, told step by step
python -m tests.simulation --bugs                    plant each bug, look for it in up to 1,000 seeds
python -m tests.simulation --bugs --table FILE       ... and write the table into that document
python -m tests.simulation --shell ...               the same with the server's real shell, which is slower
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from .bugs import BUGS, Bug, BugRotted, planted
from .oracle import Violation
from .shell_bugs import SHELL_BUGS
from .shrink import Failure, attempt, shrunk
from .world import Options, run

SEEDS_FOR_A_BUG = 1_000
CHUNK = 50

# In a layer that does not run what they break, nobody would find them.
BUGS_OF = {False: BUGS, True: SHELL_BUGS}
BY_NAME = {bug.name: bug for bug in (*BUGS, *SHELL_BUGS)}
MARKS = {False: "bugs", True: "shell bugs"}

Found = tuple[str, int | None, str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module; the exit status is 0 if all is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--shell", action="store_true", help="run the real shell: the second layer")
    parser.add_argument("--seeds", type=int, metavar="N", help="run that many seeds")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="begin with this one")
    parser.add_argument("--seed", type=int, help="run this one and tell what happens")
    parser.add_argument("--bug", choices=sorted(BY_NAME), metavar="NAME", help="plant this bug")
    parser.add_argument("--bugs", action="store_true", help="plant each bug in turn")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the bugs' table there")
    parser.add_argument("--without", default="", metavar="FAULT,...", help="faults to leave out")
    parser.add_argument("--drop", default="", metavar="C.I,...", help="operations to leave out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes to use")
    options = parser.parse_args(arguments)
    bug = BY_NAME[options.bug] if options.bug else None
    shell = options.shell or bug in SHELL_BUGS
    if options.seed is not None:
        return replay(options.seed, _options(shell, options.without, options.drop), bug)
    status = 0
    if options.seeds or not options.bugs:
        status = run_seeds(options.first, options.seeds or 1_000, options.jobs, bug, shell=shell)
    if options.bugs and status == 0:
        status = find_bugs(options.jobs, options.table, shell=shell)
    return status


def _options(shell: bool, without: str, drop: str) -> Options:
    dropped = [tuple(map(int, op.split("."))) for op in filter(None, drop.split(","))]
    return Options(
        shell,
        frozenset(filter(None, without.split(","))),
        frozenset((client, index) for client, index in dropped),
    )


def replay(seed: int, options: Options, bug: Bug | None) -> int:
    """One run, told."""
    try:
        with planted(bug):
            run(seed, options, verbose=True)
    except Violation as violation:
        print(violation)
        return 1
    print("every promise was kept")
    return 0


# ---------------------------------------------------------------- many seeds


def _first_failure(job: tuple[int, int, str | None, bool]) -> int | None:
    first, count, name, shell = job
    gc.disable()
    with planted(BY_NAME[name] if name else None):
        for seed in range(first, first + count):
            if attempt(seed, Options(shell)) is not None:
                return seed
    gc.collect()
    return None


def run_seeds(first: int, count: int, jobs: int, bug: Bug | None, *, shell: bool = False) -> int:
    """Run *count* seeds; report the first failure in full."""
    begun = time.monotonic()
    chunks = [
        (start, min(CHUNK, first + count - start), bug.name if bug else None, shell)
        for start in range(first, first + count, CHUNK)
    ]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for failed in pool.imap(_first_failure, chunks):
            if failed is not None:
                pool.terminate()
                report(failed, bug, shell=shell)
                return 1
    seconds = time.monotonic() - begun
    print(
        f"{count} seeds from {first} on: every promise was kept ({count / seconds * 60:,.0f} a minute)"
    )
    return 0


def report(seed: int, bug: Bug | None, *, shell: bool = False) -> Failure:
    """Print what went wrong, made smaller, and how to see it again."""
    with planted(bug):
        failure = attempt(seed, Options(shell))
    assert failure is not None, (
        f"seed {seed} fails only sometimes: the simulation is not deterministic"
    )
    print(f"seed {seed}, faults {', '.join(sorted(failure.world.faults)) or 'none'}:")
    print(f"  {failure.violation}")
    small = shrunk(failure, bug)
    print(f"made smaller, faults {', '.join(sorted(small.world.faults)) or 'none'}:")
    print(f"  {small.violation}")
    print("\n".join(f"    {line}" for line in small.world.trace))
    print(f"replay: {failure.command(bug)}")
    print(f"smaller: {small.command(bug)}")
    return small


# ---------------------------------------------------------------- planted bugs


def _find(name: str) -> Found:
    bug = BY_NAME[name]
    options = Options(shell=bug in SHELL_BUGS)
    begun = time.monotonic()
    try:
        with planted(bug):
            for seed in range(SEEDS_FOR_A_BUG):
                failure = attempt(seed, options)
                if failure is not None:
                    return name, seed, failure.violation.promise, time.monotonic() - begun
    except BugRotted as error:
        return name, None, str(error), time.monotonic() - begun
    return name, None, f"not in {SEEDS_FOR_A_BUG} seeds", time.monotonic() - begun


def find_bugs(jobs: int, table: Path | None, *, shell: bool = False) -> int:
    """Plant each bug of a layer; all must be found."""
    begun = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        rows = list(pool.imap(_find, [bug.name for bug in BUGS_OF[shell]], chunksize=1))
    for name, seed, promise, seconds in rows:
        where = f"seed {seed}, {promise}" if seed is not None else f"NOT FOUND: {promise}"
        print(f"{name}: {where} ({seconds:.1f} s)")
    missed = [name for name, seed, _, _ in rows if seed is None]
    print(
        f"{len(rows) - len(missed)} of {len(rows)} bugs found in {time.monotonic() - begun:.0f} s"
    )
    if table is not None:
        write_table(table, rows, MARKS[shell])
    return 1 if missed else 0


def write_table(document: Path, rows: Sequence[Found], mark: str) -> None:
    """Put the bugs' table between the document's two marks of that name."""
    lines = ["| planted bug | first seed | promise |", "|---|---|---|"]
    lines += [f"| {name} | {seed} | {promise} |" for name, seed, promise, _ in rows]
    text = document.read_text("utf-8")
    marks = f"(<!-- {mark} -->\n).*(<!-- end of {mark} -->)"
    text = re.sub(marks, lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text, flags=re.DOTALL)
    document.write_text(text, "utf-8")
