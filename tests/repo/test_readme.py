"""README's first screen holds the two commands, and they are the ones that are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FIRST_SCREEN = "\n".join(README.splitlines()[:20])


def commands(text: str) -> list[str]:
    """The indented one-line shell commands, in order."""
    return [line.strip() for line in text.splitlines() if re.match(r" {4}\S", line)]


def test_both_commands_stand_on_the_first_screen() -> None:
    demo, nox = commands(FIRST_SCREEN)
    assert demo.endswith("-m score demo")
    assert nox.endswith("/nox")


def test_the_first_command_installs_the_three_paths_and_agrees(tmp_path: Path) -> None:
    demo = commands(FIRST_SCREEN)[0].replace(".venv", str(tmp_path / "venv"))
    demo = demo.replace("python3 -m venv", f"{sys.executable} -m venv")
    done = subprocess.run(demo, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed the client" in done.stdout
    assert "killed the server" in done.stdout
    assert "all five replicas are equal" in done.stdout


def test_ci_reads_the_test_command_out_of_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    pattern = re.search(r"grep -m1 -E '([^']+)' README\.md", script)
    assert pattern
    found = [line.strip() for line in README.splitlines() if re.search(pattern[1], line)]
    assert found[0] == commands(FIRST_SCREEN)[1]


def test_every_relative_link_leads_to_a_file() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        prose = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose.replace("`", "")):
            path = document.parent / target
            assert path.exists() or path.with_suffix(".md").exists(), f"{document.name}: {target}"


def test_installing_the_root_fails_by_a_telling_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No module named pip" in done.stderr:
        pytest.skip("this environment was made without pip")
    assert done.returncode != 0
    assert "install_the_three_packages" in done.stdout + done.stderr
