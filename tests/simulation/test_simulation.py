"""The simulator's own laws, and the share of it that every test run includes.

More: ``nox -s simulate -- --seeds 100000 --bugs``; see ``docs/simulation.md``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .bugs import BUGS, BY_NAME, Bug, BugRotted, planted
from .oracle import PROMISES
from .search import write_table
from .shrink import Failure, attempt, shrunk
from .world import FAULTS, Options, World, run

ROOT = Path(__file__).resolve().parents[2]

SEEDS = range(20)
# Those that need the fewest seeds, one for each part that can be broken.
SAMPLE = (
    "judge against the durable head",
    "forget outcomes at a restart",
    "the client sends again under a new seq",
    "the chain is not checked when a view resumes",
    "nodes are renumbered in a batch",
    "trim without comparing the digests",
    "groups that nobody uses stay in memory",
    "whoever has no rest left goes on by pieces",
)
SEEDS_FOR_THE_SAMPLE = 100
# A change of the product may take away the text that a bug replaces.  ``nox -s simulate -- --bugs``
# wants all of them; here a few may wait for whoever tends them.
ROTTEN_MAX = 5


def _first_failure(bug: Bug) -> Failure:
    with planted(bug):
        for seed in range(SEEDS_FOR_THE_SAMPLE):
            if failure := attempt(seed, Options()):
                return failure
    raise AssertionError(f"{bug.name!r} was not found in {SEEDS_FOR_THE_SAMPLE} seeds")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_planted_bug_is_found(name: str) -> None:
    _first_failure(BY_NAME[name])


def test_bugs_can_still_be_planted_and_leave_nothing_behind() -> None:
    rotten = []
    for bug in BUGS:
        functions = [getattr(function, "__func__", function) for function, _, _ in bug.edits]
        before = [function.__code__ for function in functions]
        try:
            with planted(bug):
                assert [function.__code__ for function in functions] != before
        except BugRotted as error:
            rotten.append(str(error))
        assert [function.__code__ for function in functions] == before
    assert len(rotten) <= ROTTEN_MAX, rotten


def _digest(world: World) -> str:
    told = "\n".join([*world.trace, *(repr(call) for call in world.oracle.calls)])
    return hashlib.sha256(told.encode()).hexdigest()


def test_a_seed_is_one_run_whatever_python_does_with_hashes() -> None:
    seeds = (3, 58, 3114)
    program = (
        "from tests.simulation.test_simulation import _digest\n"
        "from tests.simulation.world import run\n"
        f"print(*(_digest(run(seed)) for seed in {seeds}))"
    )
    told = {" ".join(_digest(run(seed)) for seed in seeds)}
    for hash_seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        told.add(done.stdout.strip())
    assert len(told) == 1


def test_other_seeds_are_other_runs() -> None:
    assert len({_digest(run(seed)) for seed in range(5)}) == 5


def test_a_failure_is_made_smaller_and_names_the_command_that_replays_it() -> None:
    bug = BY_NAME["settling forgets what was asked for"]
    failure = _first_failure(bug)
    small = shrunk(failure, bug, attempts_max=50)
    assert small.violation.promise == failure.violation.promise
    assert small.options != Options()
    command = small.command(bug)
    assert command.startswith(f"python -m tests.simulation --seed {failure.seed} --")
    assert command.endswith(f'--bug "{bug.name}"')


def test_every_kind_of_fault_comes_up_and_some_runs_have_none() -> None:
    drawn = [World(seed, Options()) for seed in range(60)]
    for world in drawn:
        world.end()
    assert frozenset().union(*(world.faults for world in drawn)) == frozenset(FAULTS)
    assert any(not world.faults for world in drawn)


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    document.write_text("a\n<!-- bugs -->\nold\n<!-- end of bugs -->\nb\n")
    write_table(document, [("it lies", 3, "P1", 0.1)], "bugs")
    assert "| it lies | 3 | P1 |\n<!-- end of bugs -->\nb" in document.read_text()
    assert "old" not in document.read_text()


def test_every_promise_that_a_violation_can_name_is_described() -> None:
    assert {f"P{number}" for number in range(1, 9)} < set(PROMISES)
