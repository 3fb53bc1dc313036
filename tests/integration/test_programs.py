"""Programs that share: real client processes, a real server process, a real SQLite file, real signals."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import score
from score import SMap, SStack, SVec
from score.demo import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    try:
        yield running
    finally:
        running.stop()


def program(server: Server, code: str) -> subprocess.Popen[str]:
    """A Python program of its own, with a client on *server*."""
    prelude = f"import score, sys\nclient = score.connect({server.url!r}, wait=30)\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code],
        stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
    )  # fmt: skip


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


class Noticed(logging.Handler):
    """Says when the library has logged something."""

    def __init__(self, text: str) -> None:
        super().__init__(logging.DEBUG)
        self.event = threading.Event()
        self._text = text

    def emit(self, record: logging.LogRecord) -> None:
        if self._text in record.getMessage():
            self.event.set()


def test_what_one_program_changes_the_other_has_after_sync(server: Server) -> None:
    with score.connect(server.url, wait=30) as client:
        stock = SMap[str, int](client, "stock")
        other = program(server, "score.SMap[str, int](client, 'stock')['apples'] = 3")
        assert other.wait() == 0
        assert stock == {}
        stock.sync()
        assert stock == {"apples": 3}
        other.communicate()


def test_a_change_made_while_the_server_is_away_is_there_once_when_it_is_back(
    server: Server,
) -> None:
    client = score.connect(server.url, wait=30)
    stock = SMap[str, int](client, "stock")
    assert stock.increment("n") == 1
    noticed = Noticed("connecting again")
    logging.getLogger("score").addHandler(noticed)
    server.kill()

    def bring_back() -> None:
        noticed.event.wait()
        server.start()

    helper = threading.Thread(target=bring_back)
    helper.start()
    try:
        assert stock.increment("n") == 2  # waits
    finally:
        helper.join()
        logging.getLogger("score").removeHandler(noticed)
    other = SMap[str, int](client, "stock")
    assert other == {"n": 2}
    client.close()


def test_everything_acknowledged_survives_sigkill_of_the_server(server: Server) -> None:
    with score.connect(server.url, wait=30, timeout=60) as client:
        log = SVec[int](client, "log")
        for round_ in range(5):
            for i in range(20):
                log.append(round_ * 20 + i)
            server.kill_and_restart()
        log.sync()
        assert log == list(range(100))
    with score.connect(server.url) as other:
        assert SVec[int](other, "log") == list(range(100))
        assert [group.name for group in other.groups()] == ["log"]


def test_a_program_that_is_killed_is_where_it_left_off_when_started_again(server: Server) -> None:
    count = (
        "m = score.SMap[str, int](client, 'm')\n"
        "while True:\n"
        "    print(m.increment('n'), flush=True)\n"
    )
    last = 0
    for _ in range(3):
        worker = program(server, count)
        for _ in range(20):
            value = int(line(worker))
            assert value > last
            last = value
        worker.send_signal(signal.SIGKILL)
        rest = worker.communicate()[0].split()
        last = max([last, *map(int, rest)])
    with score.connect(server.url) as client:
        # Each kill may have caught one increment between its effect and its line.
        assert last <= SMap[str, int](client, "m")["n"] <= last + 3


def test_ctrl_c_in_a_waiting_call_leaves_the_program_usable(server: Server) -> None:
    worker = program(
        server,
        "m = score.SMap[str, int](client, 'm')\n"
        "m['a'] = 1\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    print('going', flush=True)\n"
        "    m.increment('n')\n"
        "    print('not interrupted', flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
        "sys.stdin.readline()\n"
        "m.sync()\n"
        "print(m.increment('n') == m['n'], dict(m) == dict(score.SMap(client, 'm')), flush=True)\n",
    )
    assert worker.stdin is not None
    assert line(worker) == "ready"
    server.signal(signal.SIGSTOP)
    worker.stdin.write("go\n")
    worker.stdin.flush()
    assert line(worker) == "going"
    worker.send_signal(signal.SIGINT)
    assert line(worker) == "interrupted"
    server.signal(signal.SIGCONT)
    worker.stdin.write("go on\n")
    worker.stdin.flush()
    assert line(worker) == "True True"
    worker.communicate()
    assert worker.returncode == 0


def test_four_programs_share_the_work_and_count_right(server: Server) -> None:
    with score.connect(server.url, wait=30, timeout=60) as client:
        work = SStack[int](client, "work")
        work.extend(range(200))
        code = (
            "work = score.SStack[int](client, 'work')\n"
            "total = score.SMap[str, int](client, 'total')\n"
            "try:\n"
            "    while True:\n"
            "        total.increment('sum', work.pop())\n"
            "except IndexError:\n"
            "    pass\n"
        )
        workers = [program(server, code) for _ in range(4)]
        for worker in workers:
            worker.communicate()
            assert worker.returncode == 0
        assert SMap[str, int](client, "total") == {"sum": sum(range(200))}
        work.sync()
        assert len(work) == 0
