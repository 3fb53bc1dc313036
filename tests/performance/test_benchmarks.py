"""The benchmarks still run, and one durable set still takes as few system calls as it did.

No time is looked at.  The peers need not be installed: their rows say so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETS = 200
# What every set needs at least once; the rest (futex, epoll_wait) depends on how threads meet.
CLIENT = {"sendto": 1, "recvfrom": 1, "poll": 1, "ioctl": 0, "getpid": 0}
SERVER = {"fdatasync": 1, "pwrite64": 7, "sendto": 2}
# Connecting, a checkpoint now and then, a wait that was interrupted.
SLACK = 0.25


def run(*command: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_rows_give_figures_and_verdicts(tmp_path: Path) -> None:
    rows = ("4", "5", "9", "10")
    told = run(
        "benchmarks",
        "--quick",
        "--out",
        str(tmp_path),
        *(word for row in rows for word in ("--row", row)),
    )
    found = json.loads((tmp_path / "results.json").read_text())
    assert [str(row["row"]) for row in found["rows"]] == list(rows)
    for row in found["rows"]:
        assert any(
            figure["who"].startswith("score") and not figure["note"] for figure in row["figures"]
        )
        assert row["verdicts"]
    assert "| row | goal | reached | met |" in told


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_durable_set_takes_no_more_system_calls_than_it_did() -> None:
    found = json.loads(run("benchmarks.budget", "--system-calls", "--sets", str(SETS)))
    for side, bounds in (("client", CLIENT), ("server", SERVER)):
        for name, bound in bounds.items():
            assert found[side].get(name, 0) <= bound + SLACK, f"{side}: {name} {found[side][name]}"
