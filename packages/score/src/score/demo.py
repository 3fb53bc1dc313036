"""The main job, shown: four processes build an index of a text together, through kills.

The text is cut into *pieces*.  Piece numbers lie on a shared stack; a worker pops one, and
writes what it found into a shared inverted index and a shared word count.  How it stays
right while processes die, without a lock anywhere:

- The stack only spreads the work.  What is still to be done is written in the very groups
  that take the effects: a key ``todo:17`` in the index and one in the count.
- A piece's effects and the removal of its ``todo`` key are one batch, so both happen or
  neither, and a second worker's batch for the same piece fails as a whole, because the key
  to be removed is gone.
- A worker that finds the stack empty takes any piece that still has a ``todo`` key: one that
  a killed worker popped, or one that somebody is still at.  Either way the batch decides.

Words are lower-case letters only, so no word can look like a ``todo`` key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import score

WORKERS = ("ada", "ben", "cleo", "dan")
PIECE_LINES = 40
SILENCE_S_MAX = 45.0  # no piece finished for this long: something is stuck, say so and fail
START_S_MAX = 20.0
WORD = re.compile(r"[a-z]+")

# ---------------------------------------------------------------- the text


def pieces(folder: str | None) -> list[str]:
    """The text in pieces of about 40 lines: *folder*'s files, or Python's own documentation."""
    found: list[str] = []
    for text in _documents(folder):
        lines = text.splitlines()
        found += ["\n".join(lines[i : i + PIECE_LINES]) for i in range(0, len(lines), PIECE_LINES)]
    return [piece for piece in found if WORD.search(piece.lower())]


def _documents(folder: str | None) -> Iterator[str]:
    if folder is None:
        from pydoc_data.topics import topics

        for _, text in sorted(topics.items()):
            yield text
        return
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            try:
                yield path.read_text("utf-8")
            except UnicodeDecodeError:
                continue  # not a text file


def words(piece: str) -> Counter[str]:
    """How often each word stands in *piece*, in the order of first appearance."""
    return Counter(WORD.findall(piece.lower()))


# ---------------------------------------------------------------- what is shared


class Shared:
    """One process's replicas of the four structures."""

    def __init__(self, client: score.Client) -> None:
        self.index = score.SMap[str, list[int]](client, "index")
        self.counts = score.SMap[str, int](client, "counts")
        self.done = score.SVec[str](client, "done")
        self.work = score.SStack[int](client, "work")

    def sync(self) -> None:
        structures: list[score.Shared] = [self.index, self.counts, self.done, self.work]
        for structure in structures:
            structure.sync()

    def digest(self) -> str:
        """Equal for equal contents in equal order."""
        plain = [
            list(self.index.items()),
            list(self.counts.items()),
            list(self.done),
            list(self.work),
        ]
        return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def todo(piece: int) -> str:
    return f"todo:{piece}"


def unfinished(shared: Shared) -> list[int]:
    """The pieces whose effects are not yet in both maps, by this process's replicas."""
    keys = {key for m in (shared.index, shared.counts) for key in m if key.startswith("todo:")}
    return [int(key[5:]) for key in keys]


# ---------------------------------------------------------------- a worker


def work(url: str, name: str, folder: str | None) -> None:
    """What each client process does: take pieces until none is left, then report its replicas."""
    _quiet()
    texts = pieces(folder)
    choose = random.Random(name)
    with score.connect(url, name=name, timeout=60, wait=START_S_MAX) as client:
        shared = Shared(client)
        while (piece := next_piece(shared, choose)) is not None:
            if add_piece(shared, piece, words(texts[piece])):
                shared.done.append(f"{piece} by {name}")
        control = score.SMap[str, bool](client, "control")
        control[f"{name} has no more to do"] = True
        control.wait_for(lambda: "finish" in control, timeout=60)
        shared.sync()
        print(shared.digest(), flush=True)


def next_piece(shared: Shared, choose: random.Random) -> int | None:
    try:
        return shared.work.pop()
    except IndexError:
        shared.sync()
        left = unfinished(shared)
        return choose.choice(left) if left else None


def add_piece(shared: Shared, piece: int, found: Counter[str]) -> bool:
    """Write *piece* into both maps, each at most once; True if this call finished the count."""
    if todo(piece) in shared.index:
        with shared.index.batch() as batch:
            for word in found:
                if word not in shared.index:
                    batch.setdefault(word, [])
        try:
            with shared.index.batch() as batch:
                del batch[todo(piece)]
                for word in found:
                    batch[word].append(piece)
        except KeyError:
            pass  # somebody else's batch for this piece came first; ours changed nothing
    try:
        with shared.counts.batch() as batch:
            del batch[todo(piece)]
            for word, count in found.items():
                batch.increment(word, count)
    except KeyError:
        return False
    return True


# ---------------------------------------------------------------- the processes


class Server:
    """A real ``score-server`` on one port and one SQLite file, which can be killed and started."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        """*store* is a url for ``--store``; by default an SQLite file in *folder*."""
        self.store = store or f"sqlite:///{folder / 'demo.db'}"
        self.port = _free_port()
        self.url = f"score://127.0.0.1:{self.port}"
        self._log = (folder / "server.log").open("a")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "score_server", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--store", self.store]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()

    def kill_and_restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()


class Workers:
    """The client processes, by name."""

    def __init__(self, url: str, folder: str | None) -> None:
        self._command = [sys.executable, "-m", "score.demo", url, folder or ""]
        self._running = {name: self._spawn(name) for name in WORKERS}

    def _spawn(self, name: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._command, name], stdout=subprocess.PIPE, text=True)

    def kill_and_restart(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGKILL)
        self._running[name].communicate()
        self._running[name] = self._spawn(name)

    def digests(self) -> dict[str, str]:
        """What each worker printed at its end: the digest of its replicas ('' if it failed)."""
        ended = {name: worker.communicate()[0].strip() for name, worker in self._running.items()}
        return {n: out if self._running[n].returncode == 0 else "" for n, out in ended.items()}

    def stop(self) -> None:
        for worker in self._running.values():
            if worker.returncode is None:
                worker.kill()
                worker.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


# ---------------------------------------------------------------- the whole demonstration


class Account:
    """What the demo tells its reader: progress on one line where there is a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._begun = time.monotonic()
        self._next_mark = 0.0

    def line(self, text: str) -> None:
        clear = "\r\x1b[K" if self._live else ""
        print(f"{clear}{text}", file=self._out, flush=True)

    def event(self, text: str) -> None:
        self.line(f"  {time.monotonic() - self._begun:5.1f} s  {text}")

    def progress(self, done: int, total: int) -> None:
        share = done / total
        if self._live:
            bar = "#" * int(share * 30)
            print(f"\r  [{bar:<30}] {done}/{total} pieces", end="", file=self._out, flush=True)
        elif share >= self._next_mark:
            self._next_mark = share + 0.2
            self.event(f"{done} of {total} pieces done")


def run(folder: str | None = None, out: TextIO | None = None) -> int:
    """Run the demonstration; returns the exit status: 0 only if everything agrees."""
    _quiet()
    account = Account(out or sys.stdout)
    if folder is not None and not Path(folder).is_dir():
        account.line(f"score demo: --text {folder} is not a folder; give a folder of text files")
        return 2
    texts = pieces(folder)
    if not texts:
        account.line(f"score demo: no text files with words in {folder}; give another --text")
        return 2
    with tempfile.TemporaryDirectory(prefix="score-demo-") as scratch:
        server = Server(Path(scratch))
        try:
            with score.connect(server.url, name="demo", timeout=60, wait=START_S_MAX) as client:
                return _run_with(client, server, folder, texts, account)
        except (score.ScoreError, TimeoutError) as error:
            account.line(f"score demo: {error}")
            account.line(Path(scratch, "server.log").read_text()[-2000:])
            return 1
        finally:
            server.stop()


def _run_with(
    client: score.Client, server: Server, folder: str | None, texts: list[str], account: Account
) -> int:
    source = folder or "Python's own documentation"
    size = sum(map(len, texts))
    account.line(f"text    {source}: {size:,} characters in {len(texts)} pieces")
    account.line(f"server  score-server on {server.url}, store {server.store}")
    account.line(f"clients {', '.join(WORKERS)}: four processes")
    shared = Shared(client)
    lay_out(shared, len(texts))
    begun = time.monotonic()
    workers = Workers(server.url, folder)
    try:
        follow(shared, len(texts), _disturbances(server, workers, account, len(texts)), account)
        seconds = time.monotonic() - begun
        control = score.SMap[str, bool](client, "control")
        control.wait_for(lambda: len(control) == len(WORKERS), timeout=60)
        reconcile(shared, len(texts))
        control["finish"] = True
        shared.sync()
        digests = workers.digests()
    finally:
        workers.stop()
    return report(shared, texts, digests, seconds, account)


def lay_out(shared: Shared, total: int) -> None:
    """Write down what is to be done, before anybody can do it."""
    shared.index.update({todo(piece): [] for piece in range(total)})
    shared.counts.update({todo(piece): 0 for piece in range(total)})
    shared.work.extend(reversed(range(total)))


def _disturbances(
    server: Server, workers: Workers, account: Account, total: int
) -> dict[int, Callable[[], None]]:
    """What goes wrong, by the number of finished pieces at which it does."""

    def kill_client() -> None:
        workers.kill_and_restart("ben")
        account.event("killed the client ben (SIGKILL) and started it again")

    def kill_server() -> None:
        server.kill_and_restart()
        account.event("killed the server (SIGKILL) and started it again")

    return {max(1, total // 3): kill_client, max(2, 2 * total // 3): kill_server}


def follow(
    shared: Shared, total: int, disturbances: dict[int, Callable[[], None]], account: Account
) -> None:
    """Watch the list of what was done until no piece is left, and disturb on the way."""
    last = len(shared.done)
    last_news = time.monotonic()
    with shared.done.watch(timeout=1.0) as watch:
        while True:
            # The list alone does not tell the end: a worker killed right after its batch leaves
            # no line.  A quiet second is when to look at the maps themselves.
            for _ in watch:
                for at in range(last + 1, len(shared.done) + 1):
                    disturbances.pop(at, _nothing)()
                last, last_news = len(shared.done), time.monotonic()
                account.progress(last, total)
                if last >= total:
                    break
            shared.sync()
            left = unfinished(shared)
            if not left:
                break
            if time.monotonic() - last_news > SILENCE_S_MAX:
                raise TimeoutError(f"{len(left)} pieces are still not done, e.g. {left[:5]}")
    for disturb in disturbances.values():
        disturb()


def _quiet() -> None:
    """Lost connections are part of the show, and the account tells of them."""
    logging.getLogger("score").addHandler(logging.NullHandler())


def _nothing() -> None:
    pass


def reconcile(shared: Shared, total: int) -> None:
    """A worker killed between its batch and its line in the list left a line missing: add it."""
    shared.sync()
    listed = {int(line.split()[0]) for line in shared.done}
    shared.done.extend([f"{piece} by ?" for piece in range(total) if piece not in listed])


def report(
    shared: Shared, texts: list[str], digests: dict[str, str], seconds: float, account: Account
) -> int:
    """The account and the verdict; 0 if all agree."""
    found = [words(text) for text in texts]
    counts = sum(found, Counter[str]())
    index = {word: [i for i, piece in enumerate(found) if word in piece] for word in counts}
    problems = [f"{n}'s replicas differ" for n, d in digests.items() if d != shared.digest()]
    if {word: sorted(places) for word, places in shared.index.items()} != index:
        problems.append("the index differs from the one computed without the network")
    if dict(shared.counts) != counts:
        problems.append("the word count differs from the one computed without the network")
    if sorted(int(line.split()[0]) for line in shared.done) != list(range(len(texts))):
        problems.append("the list of what was done does not name every piece once")
    if shared.work:
        problems.append(f"the stack still holds {len(shared.work)} pieces")
    postings = sum(map(len, index.values()))
    changes = postings + sum(map(len, found)) + len(index) + 4 * len(texts)
    account.line(
        f"shared  an index of {len(index):,} words with {postings:,} places, a count of "
        f"{counts.total():,} words,\n        a list of {len(shared.done)} things done, a stack of work"
    )
    account.line(
        f"speed   {changes:,} changes in {seconds:.1f} s: {changes / seconds:,.0f} a second"
    )
    for problem in problems:
        account.line(f"WRONG   {problem}")
    if not problems:
        account.line(
            "verdict all five replicas are equal, and equal to the answer computed without the network"
        )
    return 1 if problems else 0


if __name__ == "__main__":
    url, text_folder, worker_name = sys.argv[1:]
    try:
        work(url, worker_name, text_folder or None)
    except (score.ScoreError, KeyboardInterrupt) as stopped:
        print(f"{worker_name}: {stopped}", file=sys.stderr)
        os._exit(1)
