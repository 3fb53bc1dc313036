"""kill -9 at random moments, of the server and of clients, and processes that stand still for a while."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import cast

import pytest

from .ledger import acknowledged, unknown
from .machine import STUCK_S, Scale, Site, kill, pause, resume, site

NAMES = ("ada", "ben", "cleo", "dan", "eve", "finn", "gus", "hal")
SEED = 20261124


def tries_in(here: Site) -> int:
    """Lines in all ledgers: how far the clients are."""
    return sum(path.read_bytes().count(b"\n") for path in here.folder.glob("*.ledger"))


def progress(here: Site, lines: int) -> None:
    """Until the clients have written that many lines more.

    Raises:
        AssertionError: they have not in STUCK_S.
    """
    wanted = tries_in(here) + lines
    end = time.monotonic() + STUCK_S
    while tries_in(here) < wanted:
        assert time.monotonic() < end, "the clients do not get on"
        time.sleep(0.005)


def test_random_kills_of_the_server_with_eight_clients_lose_and_repeat_nothing(
    tmp_path: Path, scale: Scale, figures: dict[str, object]
) -> None:
    choose = random.Random(SEED)
    kills = 100
    with site(tmp_path / "s") as here:
        here.start()
        for name in NAMES:
            here.program(name)
        for _ in range(kills):
            progress(here, 1)  # somebody is served again
            time.sleep(choose.uniform(0, 0.3))
            here.servers[-1].kill()
            here.start()
        progress(here, len(NAMES))
        finish(here)
        tries = here.check()
        figures |= {"kills": kills, "acknowledged": acknowledged(tries), "unknown": unknown(tries)}
        # A client that is killed leaves one call open at most; the kills of the server leave none.
        assert unknown(tries) <= len(NAMES)


def finish(here: Site) -> None:
    for program in here.programs:
        errors = here.folder / f"{cast(list[str], program.args)[3]}.err"
        assert program.poll() is None, errors.read_text("utf-8")
        kill(program)


def test_random_kills_of_clients_and_of_the_server_lose_and_repeat_nothing(
    tmp_path: Path, scale: Scale, figures: dict[str, object]
) -> None:
    choose = random.Random(SEED + 1)
    kills, client_kills = scale.pick(3, 30), 0
    with site(tmp_path / "s") as here:
        here.start()
        running = {name: here.program(name) for name in NAMES[:4]}
        for round_ in range(kills):
            progress(here, 8)
            time.sleep(choose.uniform(0, 0.2))
            name = choose.choice(sorted(running))
            kill(running.pop(name))
            client_kills += 1
            running[f"client{round_}"] = here.program(f"client{round_}")
            if choose.random() < 0.5:
                here.servers[-1].kill()
                here.start()
        progress(here, 40)
        for program in here.programs:
            kill(program)
        tries = here.check()
        figures |= {"kills of clients": client_kills, "acknowledged": acknowledged(tries)}
        assert unknown(tries) <= len(tries)


def test_a_client_that_stands_still_in_a_call_holds_nobody_up(tmp_path: Path) -> None:
    with site(tmp_path / "s") as here:
        here.start()
        stopped = [here.program(name) for name in NAMES[:3]]
        ada = here.worker("zoe")
        progress(here, 30)
        for program in stopped:
            pause(program)
        begun = time.monotonic()
        ada.run(50)
        took_s = time.monotonic() - begun
        for program in stopped:
            resume(program)
        progress(here, 30)
        finish(here)
        here.check()
        assert took_s < 10, "others wait for a client that stands still"


def test_a_server_that_stands_still_is_told_from_one_that_answers_and_goes_on(
    tmp_path: Path,
) -> None:
    with site(tmp_path / "s") as here:
        server = here.start()
        ada, ben = here.worker("ada", deadline_s=0.5), here.worker("ben", deadline_s=0.5)
        for worker in (ada, ben):
            worker.run(4)
        server.signal(signal.SIGSTOP)
        assert [ada.step(), ben.step()] == ["unknown", "unknown"]
        assert [ada.step(), ben.step()] == ["no", "no"]  # the open one is not settled yet
        server.signal(signal.SIGCONT)
        for worker in (ada, ben):
            worker.resolve()
            assert not worker.unknown
            worker.run(4)
        tries = here.check()
        assert unknown(tries) == 0


@pytest.mark.parametrize("asker", ["itself", "another"])
def test_what_became_of_a_call_to_a_server_killed_meanwhile_is_told_afterwards(
    tmp_path: Path, asker: str
) -> None:
    with site(tmp_path / "s") as here:
        server = here.start()
        ada, ben = here.worker("ada", deadline_s=0.5), here.worker("ben")
        ada.run(3)
        server.signal(signal.SIGSTOP)
        assert ada.step() == "unknown"
        server.kill()
        here.start()
        if asker == "another":
            verdicts = {ben.client.outcome(token).verdict for token in ada.unknown.values()}
            assert verdicts <= {"taken", "not taken"}
        ada.resolve()
        ada.run(3)
        assert unknown(here.check()) == 0
