"""``python -m score``: the command line of the client side."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; the exit status is 0 only when it did what it was asked."""
    parser = argparse.ArgumentParser(
        prog="python -m score", description="Shared dicts, lists and stacks for Python programs."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
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
    options = parser.parse_args(arguments)
    from .demo import run

    return run(options.text)


if __name__ == "__main__":
    sys.exit(main())
