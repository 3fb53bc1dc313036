"""The bar: drawn on a terminal only, and only when it looks different."""

from __future__ import annotations

import io

from score.tools.progress import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_grows_and_goes_away() -> None:
    terminal = Terminal()
    with Bar("joining", terminal) as bar:
        bar(0, 10)
        bar(5, 10)
        bar(10, 10)
    drawn = terminal.getvalue().split("\r\x1b[K")
    assert drawn == [
        "",
        "joining [..............................]   0%",
        "joining [###############...............]  50%",
        "joining [##############################] 100%",
        "",
    ]


def test_it_is_drawn_only_when_it_changed() -> None:
    terminal = Terminal()
    bar = Bar("joining", terminal)
    for done in range(1000):
        bar(done, 1_000_000)
    assert terminal.getvalue().count("joining") == 1


def test_nothing_and_too_much_are_all_of_it() -> None:
    for done, total in ((0, 0), (7, 5)):
        terminal = Terminal()
        Bar("joining", terminal)(done, total)
        assert "100%" in terminal.getvalue()


def test_where_there_is_no_terminal_nothing_is_drawn() -> None:
    stream = io.StringIO()
    with Bar("joining", stream) as bar:
        bar(5, 10)
    assert stream.getvalue() == ""
