"""Run each pure module's own mirrored test file and ask it for every branch.

    python tests/repo/mirror.py ucore/src/ucore score/src/score/replica.py ...

A module is pinned by the tests that carry its name, not by whatever happens to pass
through it (the idea: websockets' ``tests/maxi_cov.py``).  Two processes at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def mirrored_test(module: Path) -> Path:
    """``packages/P/src/p/a/b.py`` -> ``tests/p/a/test_b.py`` (``__init__`` -> ``test_init``)."""
    parts = module.relative_to(ROOT / "packages").parts[2:]
    return ROOT.joinpath("tests", *parts[:-1], f"test_{module.stem.strip('_')}.py")


def modules(arguments: list[str]) -> list[Path]:
    """The modules named, folders unrolled; a file without statements has nothing to cover."""
    found: list[Path] = []
    for argument in arguments:
        path = ROOT / "packages" / argument
        if not path.exists():
            raise SystemExit(f"mirror: {path} does not exist")
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [path for path in found if path.name != "__init__.py"]


def check(module: Path) -> str | None:
    """None when the mirrored file covers all of it, else what is missing."""
    test = mirrored_test(module)
    if not test.exists():
        return f"{module.relative_to(ROOT)}: no mirrored test file {test.relative_to(ROOT)}"
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"COVERAGE_FILE": f"{folder}/data"}
        include = f"--include={module}"
        steps = [
            ["run", "--branch", "--parallel-mode", include, "-m", "pytest", "-q", "-p",
             "no:cacheprovider", str(test)],
            ["combine", "--quiet"],
            ["report", include, "--show-missing", "--fail-under=100", "--precision=2"],
        ]  # fmt: skip
        for step in steps:
            done = subprocess.run(
                [sys.executable, "-m", "coverage", *step],
                cwd=ROOT, env=env, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                return f"{module.relative_to(ROOT)} by {test.relative_to(ROOT)}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
    return None


def main() -> None:
    wanted = modules(sys.argv[1:])
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        problems = [problem for problem in pool.map(check, wanted) if problem]
    for problem in problems:
        print(problem)
    print(f"{len(wanted) - len(problems)} modules covered by their own tests, {len(problems)} not")
    if problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
