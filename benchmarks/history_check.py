"""How long the history checker takes for a million operations: ``python benchmarks/history_check.py``.

A process of its own checks a file, as a user would; then both halves are shown, reading and checking.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.score.testing.histories import good_history

from score.testing.history import write_history


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        write_history(good_history(1, options.operations, options.clients), path)
        print(f"{path.stat().st_size / 2**20:.0f} MiB of records", flush=True)
        command = [sys.executable, "-m", "score.testing.check", str(path)]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
