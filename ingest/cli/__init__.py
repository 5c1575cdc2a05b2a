"""The faces of `gakju ingest …`: arguments, progress, tables, JSON, exit codes. The work is done elsewhere.

Exit codes of all: 0 done; 1 done in part, what failed is named; 2 wrong use, or nothing to do it on; 3 something that is
needed does not answer.
"""

from __future__ import annotations

import argparse
import difflib
import re
from typing import NoReturn

_CHOICE = re.compile(r"invalid choice: (['\"])(.*?)\1 \(")


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give `parser` all commands. After parsing, `arguments.ingest_command(tools, arguments)` is the exit code."""
    from ingest.cli import add, prune, reembed, remove, retry, status, verify, watch

    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (add, status, retry, remove, prune, watch, reembed, verify):
        command.add_to(commands)
    refuse = parser.error

    def error(message: str) -> NoReturn:
        """`gakju ingest PATH` was right once: say what it is now."""
        choice = _CHOICE.search(message)
        if choice:
            near = difflib.get_close_matches(choice[2], commands.choices, n=1)
            meant = f"Did you mean gakju ingest {near[0]}? " if near else ""
            message = f"{choice[2]!r} is no command. {meant}To put files into the index: gakju ingest add {choice[2]}"
        elif message.endswith(": COMMAND"):
            message = f"name a command: {', '.join(commands.choices)}. `gakju ingest COMMAND --help` says more"
        refuse(message)

    parser.error = error  # type: ignore[method-assign]
