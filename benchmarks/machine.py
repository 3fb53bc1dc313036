"""The machine under the figures: which cores, how described, which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterable
from pathlib import Path

PACKAGES = (
    "score", "score-server", "ucore", "trio", "cbor2", "redis", "hiredis", "pycrdt", "pysyncobj",
    "nats-py", "uvloop",
)  # fmt: skip
CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE = CORES[0]
# Where the server's processes run: "same" as the client, or "separate" from it.
SERVER_CORES = {"same": CORES[0], "separate": CORES[-1]}


def pin(core: int | None, pids: Iterable[int] = (0,)) -> None:
    """Run all threads of *pids* on *core* alone; None lets them run everywhere again."""
    cores = CORES if core is None else [core]
    for pid in pids:
        folder = Path("/proc", str(pid or os.getpid()), "task")
        for thread in folder.iterdir() if folder.exists() else ():
            os.sched_setaffinity(int(thread.name), cores)


def allow_open_files(count: int) -> bool:
    """Raise the limit of open files to *count*, for this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
        except (ValueError, OSError):
            return False
    return True


def memory_kib(pid: int) -> int:
    """Resident memory of one process."""
    for line in Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS in /proc")


def versions() -> dict[str, str]:
    """Whatever takes part, and in which version; what is not installed is left out."""
    found = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for program in ("redis-server", "nats-server"):
        if path := find_program(program):
            told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            found[program] = next(
                (word.lstrip("v=") for word in told.stdout.split() if "." in word), "?"
            )
    return found


def find_program(name: str) -> str | None:
    """On the PATH, or beside this Python (where pip puts the programs of a virtual environment)."""
    import sys

    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def describe() -> str:
    """The machine in words."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return (
        f"{len(CORES)} cores ({model}, shared with other machines), "
        f"{pages * size / 2**30:.0f} GiB, {platform.system()} {platform.release()}, loopback TCP"
    )
