"""A client that counts and appends, and writes down what it tried and was told.

As a program:  python worker.py URL NAME LEDGER OPERATIONS [DEADLINE_S]

It works on two groups: the count ``total`` of the map "counts", and the list "values".  *OPERATIONS* 0: until it
is killed.  Each line of the ledger is one unbuffered write, the ``try`` before the call, so that a
killed worker's ledger lacks nothing that others may have seen.  Beside it a history is recorded for
``score.testing.check``, which knows more promises than the ledger can tell.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import score
from score import SMap, SVec
from score.testing.history_recorder import Recorder

TOTAL = "total"
START_S_MAX = 60.0
# A call waits out a server that is started again; the cases that want less say so.
DEADLINE_S = 60.0


class Worker:
    """One client; ``run`` may be called several times and goes on counting where it was."""

    def __init__(self, url: str, name: str, ledger: Path, deadline_s: float = DEADLINE_S) -> None:
        self.name = name
        self._file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._deadline_s = deadline_s
        self.client = score.connect(url, name=name, timeout=deadline_s, wait=START_S_MAX)
        self._recorder = Recorder(self.client, ledger.with_suffix(".history"), name)
        self._counts: SMap[str, int] | None = None
        self._values: SVec[str] | None = None
        self._number = 0
        self.unknown: dict[int, str] = {}  # number -> token

    def run(self, operations: int) -> None:
        """That many more calls (0: for ever), each with an answer or an error that the ledger names."""
        last = self._number + operations
        while operations == 0 or self._number < last:
            self.step()

    def step(self) -> str:
        """One call; what it was told: "ok", "no" or "unknown"."""
        self._number += 1
        number = self._number
        kind = "value" if number % 2 else "count"
        self._note("try", number, kind)
        try:
            result = self._call(kind, number)
        except score.OutcomeUnknown as error:
            self.unknown[number] = error.token
            self._note("unknown", number, error.token)
            return "unknown"
        except score.SessionExpiredError as error:
            self._note("unknown", number, str(error))
            return "unknown"
        except (score.DeadlineExceeded, score.StoreFullError, score.NotTakenError) as error:
            self._note("no", number, f"{type(error).__name__}: {error}")
            return "no"
        self._note("ok", number, result)
        return "ok"

    def _call(self, kind: str, number: int) -> int | None:
        if kind == "count":
            if self._counts is None:
                self._counts = SMap(self.client, "counts")
            return self._counts.increment(TOTAL)
        if self._values is None:
            self._values = SVec(self.client, "values")
        self._values.append(f"{self.name}:{number}")
        return None

    def resolve(self) -> None:
        """Ask what became of all that is unknown; any client may."""
        for number, token in list(self.unknown.items()):
            self._note("outcome", number, self.client.outcome(token).verdict)
            del self.unknown[number]

    def contents(self) -> tuple[list[str], int]:
        """What this client's own views hold after a sync: the values and the total."""
        values = SVec[str](self.client, "values") if self._values is None else self._values
        counts = SMap[str, int](self.client, "counts") if self._counts is None else self._counts
        values.sync()
        counts.sync()
        return list(values), counts.get(TOTAL, 0)

    def close(self) -> None:
        self._recorder.close()
        self.client.close()
        os.close(self._file)

    def _note(self, what: str, number: int, detail: object) -> None:
        os.write(self._file, (json.dumps([what, number, detail]) + "\n").encode())


def main(
    url: str, name: str, ledger: str, operations: str, deadline_s: str = str(DEADLINE_S)
) -> None:
    worker = Worker(url, name, Path(ledger), float(deadline_s))
    worker.run(int(operations))
    worker.resolve()
    worker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
