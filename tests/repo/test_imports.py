"""The one-way import contract of design.md section 2, read from the sources and from ``sys.modules``."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# package prefix -> the foreign top-level names (or dotted prefixes) it may import.
ALLOWED: dict[str, tuple[str, ...]] = {
    "ucore": (),
    "score_server.wire": ("cbor2", "score_server.wire", "score_server"),
    "score_server.core": ("score_server.core", "score_server.wire", "score_server.stores.base", "score_server"),
    "score_server.stores": ("cbor2", "score_server.stores", "score_server.wire", "score_server"),
    "score_server": ("trio", "cbor2", "score_server"),
    "score.local": ("ucore", "score_server", "score"),
    "score.testing": ("ucore", "score_server", "score"),
    "score": ("ucore", "score_server.wire", "score", "cbor2"),
}  # fmt: skip


def modules() -> list[tuple[str, Path]]:
    found = []
    for source in sorted(ROOT.glob("packages/*/src")):
        for path in sorted(source.rglob("*.py")):
            dotted = ".".join(path.relative_to(source).with_suffix("").parts)
            found.append((dotted.removesuffix(".__init__"), path))
    return found


def imported_names(path: Path, module: str) -> set[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                stem = parts[: len(parts) - node.level + 1]
                base = ".".join([*stem, base] if base else stem)
            names.add(base)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def rule_for(module: str) -> tuple[str, ...]:
    prefix = max((p for p in ALLOWED if module == p or module.startswith(p + ".")), key=len)
    return ALLOWED[prefix]


OURS = ("ucore", "score_server", "score")


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value)[-60:])
def test_a_module_imports_only_what_its_layer_may(module: str, path: Path) -> None:
    allowed = rule_for(module)
    for name in imported_names(path, module):
        top = name.split(".")[0]
        # _typeshed is what type checkers know; it is never there at run time.
        if top in sys.stdlib_module_names or top in ("__future__", "_typeshed"):
            continue
        if module.split(".")[0] == top == "ucore":
            continue
        ok = any(name == a or (name.startswith(a + ".") and a not in OURS[1:]) for a in allowed)
        # A bare package name allows that package's own attributes (``from score import X``)
        # and, where nothing narrower is listed, all its submodules.
        for bare in OURS[1:]:
            if bare in allowed and top == bare:
                narrower = [a for a in allowed if a.startswith(bare + ".")]
                ok = (
                    ok
                    or not narrower
                    or name.count(".") == 0
                    or name.rpartition(".")[2] == "__version__"
                )
        assert ok, (
            f"{module} imports {name}; its layer may import {allowed or 'the standard library'}"
        )


def loaded_after(statement: str) -> set[str]:
    # Where coverage follows into subprocesses, it loads modules of its own there.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True, env=env,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import score", {"trio", "score_server.shell", "score_server.core", "score_server.stores", "sqlite3"}),
        ("import ucore", {"cbor2", "trio", "score_server", "score"}),
        ("import score_server.wire", {"trio", "sqlite3", "ucore"}),
        ("import score_server.core", {"trio", "sqlite3", "ucore"}),
        ("import score_server.shell", {"ucore", "score"}),
    ],
)  # fmt: skip
def test_importing_it_does_not_load(statement: str, absent: set[str]) -> None:
    assert not loaded_after(statement) & absent


def test_the_contract_notices_a_forbidden_import(tmp_path: Path) -> None:
    bad = tmp_path / "core.py"
    bad.write_text("from score import Client\nimport trio\nfrom ..stores import sqlite\n")
    names = imported_names(bad, "score_server.core.bad")
    assert {"score", "trio", "score_server.stores.sqlite"} <= names
    assert not any(
        name.startswith(("trio", "score.")) for name in rule_for("score_server.core.bad")
    )
