"""The house's shape: short functions, modules that fit in a head, no foreign hosts or paths."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 700
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-3:]))
def test_functions_and_modules_stay_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


def test_no_committed_file_names_a_registry_or_a_path_of_one_machine() -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    # Spelt so that this file does not match itself.
    bad = re.compile(
        "|".join(
            [
                "py" + r"pi\.org",
                "python" + r"hosted",
                "npmjs" + r"\.org",
                "/work" + "/main",
                "/tmp" + "/v/",
                "/root" + "/",
            ]
        )
    )
    for name in filter(None, names):
        path = ROOT / name
        if path.is_file():
            found = bad.search(path.read_text("utf-8", errors="replace"))
            assert not found, f"{name} names {found and found[0]}"
