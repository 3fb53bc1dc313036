"""What ucore exports, and nothing by accident."""

from __future__ import annotations

import subprocess
import sys

import ucore


def test_the_public_names_are_these() -> None:
    assert ucore.__all__ == sorted(ucore.__all__)
    assert set(ucore.__all__) == {
        "ABSENT", "CannotApplyError", "InterruptedUpdateError", "LocalDivergenceError", "MalformedUpdateError",
        "MapOverlay", "SkeletonError", "StackOverlay", "StaleHandleError", "Transaction", "TransactionError",
        "UCoreError", "UMap", "UStack", "UVec", "UnknownTypeError", "UnstorableError", "Updatable", "Update",
        "UpgradeNeededError", "VecOverlay", "WrongTypeError", "conformance", "primitive", "recording",
    }  # fmt: skip
    for name in ucore.__all__:
        assert getattr(ucore, name).__doc__, name


def test_importing_it_reads_the_debug_switch() -> None:
    for value, expected in (("", False), ("0", False), ("1", True)):
        done = subprocess.run(
            [sys.executable, "-c", "import ucore.tree; print(ucore.tree.DEBUG)"],
            env={"UCORE_DEBUG": value, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == str(expected)
