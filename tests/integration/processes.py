"""A ``score-server`` as a process, for tests that wait for its log lines and its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class ServerProcess:
    """A server started with *arguments*; ``url`` is read from the first line of its log."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "score_server", *arguments],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env=os.environ | dict(env or {}),
        )  # fmt: skip
        self.log: list[str] = []

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of *pattern* in a log line from here on."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"the server ended without {pattern!r}:\n{''.join(self.log)}")

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """Where it listens; blocks until it does."""
        if not self.log:
            self.wait_for("")
        return re.findall(r"score://[^\s,]+", self.log[0])

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def finish(self) -> int:
        """Wait for its end; the exit status.  ``log`` is then complete."""
        assert self.process.stderr is not None
        self.log += self.process.stderr
        self.process.stderr.close()
        return self.process.wait()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.finish()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.finish()


@contextmanager
def serving(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """A server that is killed at the end of the block if it still runs."""
    server = ServerProcess(*arguments, env=env)
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.kill()
