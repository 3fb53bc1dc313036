"""Collected only when asked for: these tests need root, tools and minutes.  ``nox -s faults`` asks.

``SCORE_FAULTS=whole`` runs everything, ``SCORE_FAULTS=share`` a share of each case that fits into the run of
all checks.  Without it only the laws of the checker itself are collected, which need neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import Scale

SCALE = os.environ.get("SCORE_FAULTS")
ALWAYS = {"test_ledger.py"}

if SCALE not in (None, "share", "whole"):
    raise pytest.UsageError(f"SCORE_FAULTS={SCALE!r}: give share or whole")

if SCALE is None:
    collect_ignore = [
        path.name for path in Path(__file__).parent.glob("test_*.py") if path.name not in ALWAYS
    ]


@pytest.fixture
def scale() -> Scale:
    """How much of a case to run."""
    return Scale(whole=SCALE == "whole")


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """What a case reached; said in the summary at the end, for ``docs/guarantees.md``."""
    found: dict[str, object] = {}
    yield found
    REACHED.append(
        f"{request.node.name}: " + ", ".join(f"{value} {of}" for of, value in found.items())
    )


REACHED: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if REACHED:
        terminalreporter.section("figures")
        for line in REACHED:
            terminalreporter.write_line(line)
