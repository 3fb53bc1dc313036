"""``score``: the command line of the client side.  ``python -m score`` is the same.

What goes wrong is said in one line on stderr, without a traceback.  Exit status: 0 it did what it was asked, 1 it
could not, 2 the command line makes no sense, 130 Ctrl-C.  Where nobody reads on (``score ls | head``), it ends
without a word, with 1.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TypeAlias

from ucore.errors import UCoreError

from . import __version__
from .errors import ScoreError

TIMEOUT_S = 60.0

_EPILOG = """\
The server is that of --url, else of $SCORE_URL, else score://127.0.0.1:7737.  Groups whose values are of an
application's own types are read with its modules: --import shop.types
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status is 0 only when it did what it was asked."""
    options = _parser().parse_args(arguments)
    options.is_program = arguments is None  # a process of its own
    if options.is_program:
        sys.set_int_max_str_digits(0)  # whatever a group holds can be shown
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names that the terminal, or UTF-8, cannot say: escaped, as stderr does it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(options)
        print(end="", flush=True)
        return status
    except BrokenPipeError:
        _drop_output()
        return 1
    except (ScoreError, UCoreError, OSError) as error:
        return _complain(" ".join(str(error).split()), 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)


def _run(options: argparse.Namespace) -> int:
    if options.command == "demo":
        from .demo import run

        return run(options.text)
    for module in options.modules:
        sys.path.insert(0, os.getcwd())
        try:
            importlib.import_module(module)
        except ImportError as error:
            return _complain(f"--import {module}: {error}", 2)
    from .tools import commands

    return commands.run(options)


def _drop_output() -> None:
    """What was printed and nobody read goes nowhere: else Python tries again at its end, and complains."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _complain(text: str, status: int) -> int:
    print(f"score: {text}", file=sys.stderr, flush=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="score",
        description="Shared dicts, lists and stacks for Python programs: look into them, keep them short, "
        "back them up.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"score {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_readers(commands)
    _add_writers(commands)
    demo = commands.add_parser(
        "demo",
        help="start a real server and four client processes, kill some of them, and check the result",
        description="Four processes index a text together through a score-server; one of them and "
        "the server are killed on the way. Exit status 0 only if all replicas agree with each "
        "other and with the answer computed without the network.",
    )
    demo.add_argument(
        "--text",
        metavar="FOLDER",
        help="a folder of text files (default: the documentation that comes with Python)",
    )
    return parser


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _command(commands: _Commands, name: str, text: str, more: str = "") -> argparse.ArgumentParser:
    description = f"{text[0].upper()}{text[1:]}.{more}"
    return commands.add_parser(name, help=text, description=description, parents=[_common()])


def _add_readers(commands: _Commands) -> None:
    ls = _command(commands, "ls", "list the groups on the server")
    ls.add_argument("--json", action="store_true", help="as JSON")

    get = _command(
        commands, "get", "print what a group holds, or a part of it",
        "  Each KEY leads one level down: JSON (7, 1.5, true, null) where it is, text where it is not; "
        "a number finds a key of text, too, if there is none of the number.",
    )  # fmt: skip
    get.add_argument("group", metavar="GROUP")
    get.add_argument("keys", metavar="KEY", nargs="*")
    get.add_argument("--json", action="store_true", help="as JSON")

    tail = _command(commands, "tail", "print the latest changes of a group, oldest first")
    tail.add_argument("group", metavar="GROUP")
    tail.add_argument(
        "-n", dest="count", type=_count, default=10, metavar="N", help="how many (default 10)"
    )
    tail.add_argument(
        "-f", "--follow", action="store_true", help="go on as changes come; Ctrl-C ends it"
    )
    tail.add_argument("--json", action="store_true", help="each as a line of JSON")


def _add_writers(commands: _Commands) -> None:
    compact = _command(
        commands, "compact", "make a snapshot of a group and let the server trim the log behind it",
        "  The snapshot is verified by folding the group a second time, and nothing is trimmed unless both "
        "are equal.  With --follow it does not end, and keeps every group on the server short.",
    )  # fmt: skip
    which = compact.add_mutually_exclusive_group(required=True)
    which.add_argument("group", metavar="GROUP", nargs="?")
    which.add_argument(
        "-f", "--follow", action="store_true", help="keep all groups short; Ctrl-C ends it"
    )

    export = _command(commands, "export", "write a group to a file, as one consistent state")
    export.add_argument("group", metavar="GROUP")
    export.add_argument("file", metavar="FILE")

    import_ = _command(commands, "import", "make a group from a file that export wrote")
    import_.add_argument("file", metavar="FILE")
    import_.add_argument("group", metavar="GROUP", help="must not hold anything yet")

    delete = _command(commands, "delete", "remove a group for good")
    delete.add_argument("group", metavar="GROUP")
    delete.add_argument("--yes", action="store_true", help="do not ask")


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", metavar="URL", help="score://HOST:PORT")
    common.add_argument(
        "--timeout", type=_seconds, default=TIMEOUT_S, metavar="S",
        help=f"seconds to wait for the server (default {TIMEOUT_S:g})",
    )  # fmt: skip
    common.add_argument(
        "--import", dest="modules", action="append", default=[], metavar="MODULE",
        help="import it first, for the types that it registers; may be repeated",
    )  # fmt: skip
    return common


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds
