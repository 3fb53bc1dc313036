"""The flag that one task waits for."""

from __future__ import annotations

import trio
import trio.testing

from score_server.shell.flag import Flag


async def test_a_flag_that_is_set_first_is_not_lost_and_counts_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flag = Flag()
    flag.set()
    flag.set()
    await flag.wait()
    with trio.move_on_after(1) as waiting:
        await flag.wait()
    assert waiting.cancelled_caught


async def test_a_flag_wakes_who_waits() -> None:
    flag = Flag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flag.wait)
        await trio.testing.wait_all_tasks_blocked()
        flag.set()


async def test_waiting_can_be_cancelled_and_begun_again() -> None:
    flag = Flag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flag.wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    flag.set()
    await flag.wait()


async def test_who_sets_it_again_and_again_keeps_nobody_from_their_turn() -> None:
    flag = Flag()
    turns: list[str] = []

    async def insist() -> None:
        for _ in range(3):
            flag.set()
            await flag.wait()
            turns.append("flag")

    async def another() -> None:
        await trio.lowlevel.checkpoint()
        turns.append("another")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(insist)
        nursery.start_soon(another)
    assert turns.index("another") < 2
