"""One event a line, and nothing from outside can forge one."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from score_server.shell import log

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) +(.*)"
)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    before = (log.logger.handlers[:], log.logger.level, log.logger.propagate)
    out = io.StringIO()
    log.configure("info", out)
    yield out
    log.logger.handlers[:], log.logger.level, log.logger.propagate = before


def test_a_line_has_a_time_a_level_and_a_text(lines: io.StringIO) -> None:
    log.logger.info("listening on %s", "score://127.0.0.1:7737")
    found = LINE.fullmatch(lines.getvalue().rstrip("\n"))
    assert found
    assert found.groups() == ("INFO", "listening on score://127.0.0.1:7737")


def test_what_is_below_the_level_is_left_out(lines: io.StringIO) -> None:
    log.logger.debug("detail")
    log.logger.warning("trouble")
    assert "detail" not in lines.getvalue()
    assert "trouble" in lines.getvalue()


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\n2026-01-01 00:00:00.000Z INFO     forged", r"a\x0a2026-01-01 00:00:00.000Z INFO     forged"),
        ("a\r\x85\x1b[2J", r"a\x0d\x85\x1b[2J"),
        ("\u2028\u202e\ud800", r"\u2028\u202e\ud800"),
        ("\U000e0001", r"\U000e0001"),
        ("plain grün 猫", "plain grün 猫"),
    ],
)  # fmt: skip
def test_a_name_from_outside_stays_inside_its_line(
    lines: io.StringIO, hostile: str, shown: str
) -> None:
    log.logger.info("group %s", hostile)
    (line,) = lines.getvalue().split("\n")[:-1]
    assert line.endswith(f"group {shown}")


def test_a_traceback_follows_its_event_indented(lines: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond\x1b")
    except ValueError as error:
        log.logger.error("internal error", exc_info=error)
    event, *trace = lines.getvalue().splitlines()
    assert LINE.fullmatch(event)
    assert all(part.startswith("    ") for part in trace)
    assert r"    second\x1b" in trace


def test_configuring_again_replaces_the_handler(lines: io.StringIO) -> None:
    log.configure("info", lines)
    log.logger.info("once")
    assert lines.getvalue().count("once") == 1
    log.configure("error")
    assert isinstance(log.logger.handlers[0], logging.StreamHandler)
