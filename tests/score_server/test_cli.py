"""The command line as a function: statuses, one line each, and what it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from score_server import cli
from score_server.config import Config
from score_server.shell import foreground
from score_server.shell.listening import StartError


def test_a_wrong_command_line_is_status_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--store", "nonsense\n"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(r"score-server: --store 'nonsense\n': give sqlite:///")
    assert printed.err.count("\n") == 1


def test_the_processs_own_arguments_are_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["score-server", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out == "score-server 0.1.0\n"


@pytest.mark.parametrize("status", [0, 3])
def test_the_servers_own_status_is_the_processs(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Config] = []

    def run(config: Config) -> int:
        seen.append(config)
        return status

    monkeypatch.setattr(foreground, "run", run)
    monkeypatch.setattr("score_server.shell.log.configure", lambda level: None)
    assert cli.main(["--store", "memory:"]) == status
    assert [config.store for config in seen] == ["memory:"]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (StartError("port in use"), 1, "port in use"),
        (StartError("a\nb.db is not ours"), 1, r"a\x0ab.db is not ours"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_keeps_a_server_from_starting_is_one_line(
    error: BaseException,
    status: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(config: Config) -> int:
        raise error

    monkeypatch.setattr(foreground, "run", run)
    monkeypatch.setattr("score_server.shell.log.configure", lambda level: None)
    assert cli.main(["--store", "memory:"]) == status
    printed = capsys.readouterr().err
    assert printed.startswith("score-server: ")
    assert text in printed
    assert printed.count("\n") == 1


def test_help_loads_neither_trio_nor_a_store() -> None:
    code = (
        "import sys; before = set(sys.modules); from score_server.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"trio", "cbor2", "sqlite3", "logging", "score_server.shell"}


def test_it_runs_as_a_module_too() -> None:
    command = [sys.executable, "-m", "score_server", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "score-server 0.1.0\n"
