"""One of the programs of ``test_history``: random changes to four shared structures, all of them recorded.

    python history_program.py URL FILE NAME OPERATIONS

It prints a dot for each operation, an exclamation mark after the last, waits for a line, syncs, records what its
views hold, and ends.  NAME seeds its choices.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, MutableMapping
from contextlib import nullcontext

import score
from score import SMap, SStack, SVec
from score.testing.history_recorder import Recorder

KEYS = "abc"
# What a change may meet that others made first, or a server that is away.
EXPECTED = (
    KeyError, IndexError, score.ConflictError, score.StaleHandleError, score.DeadlineExceeded,
    score.OutcomeUnknown,
)  # fmt: skip


class Program:
    def __init__(self, client: score.Client, choose: random.Random) -> None:
        self.client, self.choose = client, choose
        self.stock = SMap[str, int](client, "stock")
        self.lists = SMap[str, list[int]](client, "lists")
        self.log = SVec[int](client, "log")
        self.work = SStack[int](client, "work")
        self.structures: list[score.Shared] = [self.stock, self.lists, self.log, self.work]

    def step(self) -> None:
        """One random operation, sometimes in too short a time."""
        short = self.choose.random() < 0.06
        action = self.choose.choice(
            [self.change_stock, self.change_lists, self.change_log, self.change_work, self.sync]
        )
        try:
            with (
                self.client.deadline(self.choose.uniform(0.0002, 0.004)) if short else nullcontext()
            ):
                action()
        except score.OutcomeUnknown as unknown:
            if self.choose.random() < 0.5:  # else the next call settles it
                self.client.outcome(unknown.token)
        except EXPECTED:
            pass

    def sync(self) -> None:
        self.choose.choice(self.structures).sync()

    def change_stock(self) -> None:
        stock, key, number = self.stock, self.choose.choice(KEYS), self.choose.randrange(100)

        def guarded() -> None:
            with stock.batch() as batch:
                batch.increment(key)
                del batch["guard"]

        def replaced() -> None:
            with stock.batch() as batch:
                batch.clear()
                batch.update({key: number, "guard": 1})

        def moved() -> None:
            other = self.choose.choice(KEYS)

            def move(t: MutableMapping[str, int]) -> None:
                t[key], t[other] = t.get(other, number), t.get(key, number)

            stock.run_transaction(move)

        self._one_of(
            moved,
            lambda: stock.increment(key, number),
            lambda: stock.__setitem__(key, number),
            lambda: stock.pop(key),
            lambda: stock.discard(key),
            stock.popitem,
            guarded,
            replaced,
        )

    def change_lists(self) -> None:
        lists, key, number = self.lists, self.choose.choice(KEYS), self.choose.randrange(100)

        def both() -> None:
            with lists.batch() as batch:
                batch[key] = [number]
                batch[key].append(number)

        self._one_of(
            lambda: lists.setdefault(key, []).append(number),
            lambda: lists[key].append(number),
            lambda: lists[key].pop(),
            lambda: lists[key].__setitem__(0, number),
            lambda: lists.pop(key),
            both,
        )

    def change_log(self) -> None:
        log, number = self.log, self.choose.randrange(100)
        place = self.choose.randrange(len(log) + 1)

        def positional() -> None:
            with log.batch() as batch:
                batch.append(number)
                batch[0] = number

        self._one_of(
            lambda: log.append(number),
            lambda: log.extend([number, number]),
            lambda: log.insert(0, number),
            lambda: log.insert(place, number),
            lambda: log.__setitem__(place, number),
            lambda: log.__delitem__(slice(place, place + 3)),
            lambda: log.pop(0),
            log.pop,
            log.sort,
            log.reverse,
            positional,
        )

    def change_work(self) -> None:
        work = self.work
        self._one_of(work.pop, work.pop, lambda: work.push(self.choose.randrange(100)))

    def _one_of(self, *actions: Callable[[], object]) -> None:
        self.choose.choice(actions)()


def main(url: str, path: str, name: str, operations: str) -> None:
    with (
        score.connect(url, wait=60, timeout=60, name=name) as client,
        Recorder(client, path, name) as recorder,
    ):
        program = Program(client, random.Random(name))
        for _ in range(int(operations)):
            program.step()
            print(".", end="", flush=True)
        print("!", end="", flush=True)
        sys.stdin.readline()
        for structure in program.structures:
            structure.sync()
            recorder.state(structure, final=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
