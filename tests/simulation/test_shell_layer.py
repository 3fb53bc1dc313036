"""The second layer's own laws, and the share of it that every test run includes.

More: ``python -m tests.simulation --shell --seeds 1000``; see ``docs/simulation.md``.
"""

from __future__ import annotations

import inspect
import os
import random
import subprocess
import sys

import pytest
import trio
from trio._core import _run

from score_server.core.cursor import Cursor
from score_server.shell import committer, server

from . import trio_loop
from .bugs import BUGS, planted
from .search import BY_NAME
from .shell_bugs import SHELL_BUGS
from .shrink import attempt
from .test_simulation import ROOT, _digest
from .trio_loop import Loop, SimClock, seeded
from .world import SHELL_FAULTS, Options, World, run

SHELL = Options(shell=True)
SEEDS = range(15)
# Those that need the fewest seeds, one for each part that can be broken.
SAMPLE = (
    "a commit is reported before it is done",
    "the core is not told that a connection has ended",
    "what a socket has not taken is lost",
    "two tasks write on one stream",
    "a stopping server says no goodbye",
)
SEEDS_FOR_THE_SAMPLE = 60


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept(seed: int) -> None:
    run(seed, SHELL)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(BY_NAME[name]):
        assert any(attempt(seed, SHELL) for seed in range(SEEDS_FOR_THE_SAMPLE))


def test_a_failure_names_the_layer_in_the_command_that_replays_it() -> None:
    bug = BY_NAME["two tasks write on one stream"]
    with planted(bug):
        failure = next(filter(None, (attempt(seed, SHELL) for seed in range(60))))
    assert failure.command(bug).startswith(
        f"python -m tests.simulation --seed {failure.seed} --shell --bug"
    )


def test_a_seed_is_one_run_whatever_python_does_with_hashes_and_addresses() -> None:
    seeds = (2, 5, 11)
    program = (
        "from tests.simulation.test_simulation import _digest\n"
        "from tests.simulation.world import Options, run\n"
        f"print(*(_digest(run(seed, Options(shell=True))) for seed in {seeds}))"
    )
    told = {" ".join(_digest(run(seed, SHELL)) for seed in seeds) for _ in range(2)}
    for hash_seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        told.add(done.stdout.strip())
    assert len(told) == 1


def test_other_seeds_are_other_runs_and_other_ones_than_in_the_first_layer() -> None:
    digests = {_digest(run(seed, SHELL)) for seed in range(3)}
    assert len(digests | {_digest(run(seed)) for seed in range(3)}) == 6


def test_every_kind_of_fault_server_and_store_comes_up() -> None:
    drawn = [World(seed, SHELL) for seed in range(60)]
    for world in drawn:
        world.end()
    assert frozenset().union(*(world.faults for world in drawn)) == frozenset(SHELL_FAULTS)
    assert {(world.has_epoll, world.is_inline) for world in drawn} == {
        (False, False), (False, True), (True, False), (True, True),
    }  # fmt: skip


def test_nothing_of_a_run_stays_in_trio_or_in_the_product() -> None:
    places = [
        (_run, "_r"), (_run, "_ALLOW_DETERMINISTIC_SCHEDULING"), (_run, "TheIOManager"),
        (server, "Clock"), (server, "_new_id"), (server, "open_listeners"),
        (committer, "threading"), (committer, "queue"), (Cursor, "__hash__"),
    ]  # fmt: skip
    before = [getattr(*place) for place in places]
    run(2, SHELL)
    assert [getattr(*place) for place in places] == before


# ---------------------------------------------------------------- trio's private names


def test_trio_is_one_of_those_that_the_loop_was_tried_with() -> None:
    version = ".".join(trio.__version__.split(".")[:2])
    assert version in trio_loop.TRIED_WITH, (
        f"tests/simulation/trio_loop.py uses private names of trio and was never tried with {version}: read "
        "there what to look at in the new release, run `python -m tests.simulation --shell --seeds "
        "1000`, and add the release to TRIED_WITH"
    )


def test_the_private_names_are_there_and_take_what_they_are_given() -> None:
    for name in trio_loop.PRIVATE:
        assert hasattr(_run, name), (
            f"trio has no {name} any more: adapt tests/simulation/trio_loop.py"
        )
    assert list(inspect.signature(_run.setup_runner).parameters) == [
        "clock", "instruments", "restrict_keyboard_interrupt_to_checkpoints",
        "strict_exception_groups",
    ]  # fmt: skip
    assert list(inspect.signature(_run.unrolled_run).parameters) == [
        "runner", "async_fn", "args", "host_uses_signal_set_wakeup_fd",
    ]  # fmt: skip


def _order(seed: str) -> list[str]:
    """In which order tasks run, deadlines pass and scopes are cancelled."""
    told: list[str] = []
    now = [0.0]

    async def sleeper(name: str) -> None:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        told.append(name)
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        told.append(name)

    async def main() -> str:
        async with trio.open_nursery() as nursery:
            for name in "abcdef":
                nursery.start_soon(sleeper, name)
        return "done"

    with seeded(seed):
        loop = Loop(main, SimClock(lambda: now[0], random.Random(seed)))
        while not loop.is_over:
            now[0] += max(0.0, loop.due_in_s)
            loop.turn()
        assert loop.result() == "done"
    return told


def test_what_trio_leaves_to_chance_comes_from_the_seed() -> None:
    assert _order("1") == _order("1")
    assert len({tuple(_order(str(seed))) for seed in range(10)}) > 1


def test_a_loop_that_is_unwound_ends_wherever_it_was() -> None:
    ended: list[str] = []

    async def main() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("it")

    with seeded("1"):
        for turns in range(3):
            loop = Loop(main, SimClock(lambda: 0.0, random.Random(1)))
            for _ in range(turns):
                loop.turn()
            loop.unwind()
            loop.unwind()
            assert loop.is_over
    assert ended.count("it") >= 2


def test_bugs_of_both_layers_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(BUGS) + len(SHELL_BUGS)
