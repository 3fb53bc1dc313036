"""P1 to P8 of real programs: several processes, one server on SQLite, SIGKILL for both, and the checker.

When somebody is killed is counted in operations, by a plan that the seed decides; how the processes interleave is
up to the machine.  The checker knows nothing of the plan.

    python tests/integration/test_history.py 100       a hundred seeds, one line each
"""

from __future__ import annotations

import logging
import random
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

import score
from score.demo import Server
from score.testing.check import check
from score.testing.history import History, read_history
from score.testing.history_log import read_log
from score.testing.history_recorder import Recorder

KINDS = {"stock": "map", "lists": "map", "log": "vec", "work": "stack"}
# Nobody waits that long; it turns a hanging test into a failing one.
STUCK_S = 60.0
PROGRAM = Path(__file__).with_name("history_program.py")


class Programs:
    """The client processes; ``run`` reads from all of them and counts their operations."""

    def __init__(self, url: str, folder: Path, operations: int) -> None:
        self._url, self._folder, self._operations = url, folder, operations
        self._count = 0
        self._ready = selectors.DefaultSelector()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.begun: set[str] = set()
        self.killed: list[str] = []
        self.files: list[Path] = []

    def start(self) -> None:
        self._count += 1
        name = f"client {self._count}"
        self.files.append(self._folder / f"{name}.jsonl")
        process = subprocess.Popen(
            [sys.executable, PROGRAM, self._url, self.files[-1], name, str(self._operations)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        self._ready.register(process.stdout, selectors.EVENT_READ, name)
        self.running[name] = process

    def kill(self, name: str) -> None:
        while name not in self.begun:
            assert self.run(1)
        process = self.running.pop(name)
        assert process.stdout is not None
        with suppress(KeyError):  # it was done
            self._ready.unregister(process.stdout)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.killed.append(name)

    def run(self, operations: int) -> bool:
        """Wait until so many more have been done, or (False) all that there are to do."""
        while operations > 0:
            if not self._ready.get_map():
                return False
            ready = self._ready.select(STUCK_S)
            assert ready, f"nobody has done anything for {STUCK_S} s"
            for key, _ in ready:
                data = key.fileobj.read1(65536)  # type: ignore[union-attr]
                assert data, f"{key.data} failed"
                self.begun.add(key.data)
                operations -= data.count(b".")
                if data.endswith(b"!"):
                    self._ready.unregister(key.fileobj)
        return True

    def finish(self) -> None:
        """All sync and end."""
        for process in self.running.values():
            process.communicate(b"\n")
            assert process.returncode == 0

    def stop(self) -> None:
        self._ready.close()
        for process in self.running.values():
            if process.returncode is None:
                process.kill()
                process.communicate()


def history_of(folder: Path, seed: int, clients: int, operations: int) -> tuple[History, int]:
    """What the programs recorded while they and their server were killed now and then, the final logs,
    and the number of programs that were killed."""
    choose = random.Random(seed)
    server = Server(folder)
    programs = Programs(server.url, folder, operations)
    try:
        for _ in range(clients):
            programs.start()
        todo = [server.kill_and_restart] * 3 + [
            lambda: programs.kill(choose.choice(list(programs.running))),
            programs.start,
        ] * 2
        choose.shuffle(todo)
        share = clients * operations // (2 * len(todo))  # a killed program leaves some undone
        for action in todo:
            assert programs.run(choose.randrange(share // 2, share))
            action()
        while programs.run(1_000_000):
            pass
        programs.finish()
        with score.connect(server.url) as client, Recorder(client, folder / "ask", "late"):
            for operation in read_history(*programs.files).operations:
                if operation.told == "unknown":
                    client.outcome(f"{operation.session}-{operation.seq}")
        history = read_history(*programs.files, folder / "ask")
        for name, kind in KINDS.items():
            history.log += read_log(server.url, name, kind)
        return history, len(programs.killed)
    finally:
        programs.stop()
        server.stop()


@pytest.mark.parametrize("seed", [1])
def test_real_programs_keep_every_promise_while_they_and_their_server_are_killed(
    tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    history, killed = history_of(tmp_path, seed, clients=5, operations=150)
    verdict = check(history)
    assert verdict.ok, str(verdict)
    # The check was about something: each way to end happened, and each promise was looked at.
    told = {operation.told for operation in history.operations}
    assert {"taken", "failed", "not head", "unknown"} <= told
    assert killed == 2
    assert all(count > 0 for count in verdict.checked.values()), str(verdict)
    assert verdict.checked["P1"] > 300


def main(seeds: int) -> int:
    broken = 0
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            history, _ = history_of(Path(folder), seed, clients=8, operations=400)
        verdict = check(history)
        broken += not verdict.ok
        print(f"seed {seed}: {verdict}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
