"""Ours and the peers, measured side by side.

    python -m benchmarks                 every row; the table on stdout, JSON and a plot in build/benchmarks
    python -m benchmarks --row 5         one row (repeatable)
    python -m benchmarks --quick         a smoke run in less than a minute: the figures mean nothing
    python -m benchmarks --full          as long as it takes
    python -m benchmarks --write         also put the table and the plot into docs/performance.md

``nox -s benchmarks`` installs the peers first; a row says who is not installed and goes on.
Each row runs in a process of its own.  ``SCORE_BENCHMARK_DIR`` names a folder on the disk to be measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from . import machine, report, rows
from .results import Result

OUT = Path("build/benchmarks")


def measure(row: int, scale: str) -> None:
    """One row, in this process; the result as JSON on stdout."""
    begun = time.monotonic()
    found = rows.run(row, rows.Scale(scale))
    found.seconds = time.monotonic() - begun
    print(json.dumps(found.plain()))


def in_a_process(row: int, scale: str) -> Result | None:
    """One row, in a process of its own; None if it failed, which its traceback has said."""
    command = [sys.executable, "-m", "benchmarks", "--in-process", "--row", str(row), f"--{scale}"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        return None
    return Result.load(json.loads(ended.stdout.splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--row", type=int, action="append", choices=sorted(rows.ROWS), metavar="N")
    parser.add_argument("--quick", dest="scale", action="store_const", const="quick")
    parser.add_argument("--default", dest="scale", action="store_const", const="default")
    parser.add_argument("--full", dest="scale", action="store_const", const="full")
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/performance.md"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the JSON and the plot")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    scale = options.scale or "default"
    if options.in_process:
        measure(options.row[0], scale)
        return 0
    begun = time.monotonic()
    run = report.Run(
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        machine=machine.describe(),
        versions=machine.versions(),
        scale=scale,
    )
    failed = False
    options.out.mkdir(parents=True, exist_ok=True)
    for row in options.row or sorted(rows.ROWS):
        print(f"row {row} ...", end=" ", file=sys.stderr, flush=True)
        result = in_a_process(row, scale)
        if result is None:
            failed = True
            print("FAILED", file=sys.stderr)
            continue
        print(f"{result.seconds:.0f} s", file=sys.stderr)
        run.results.append(result)
        run.seconds = time.monotonic() - begun
        report.write_files(run, options.out)  # so far: whatever becomes of the next row
    if options.write:
        report.write_docs(run)
    print(report.markdown(run))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
