"""What all commands print, and how: names that are safe on terminals, JSON, exit codes. Knows no command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TextIO

DONE = 0
IN_PART = 1
WRONG_USE = 2
AWAY = 3

MAX_NAMES = 20


def shown(name: object) -> str:
    """A name that cannot steer a terminal: control characters, marks of direction and broken characters are escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(name))


def say(text: str = "", *, to: TextIO | None = None) -> None:
    """One or more lines, whatever the terminal's encoding lacks."""
    stream = to or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        # Whoever read along has left, as in `… | head`: the work itself goes on.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def complain(text: str) -> None:
    say(text, to=sys.stderr)


def say_json(value: object) -> None:
    """One line. ASCII alone, so that every name comes through, whatever its bytes and the encoding."""
    say(json.dumps(value))


def names(items: Iterable[str], *, at_most: int = 5) -> str:
    """A few names in one line."""
    listed = [shown(item) for item in items]
    more = f" and {len(listed) - at_most} more" if len(listed) > at_most else ""
    return ", ".join(listed[:at_most]) + more


def say_list(title: str, items: Iterable[str], *, mark: str, at_most: int = MAX_NAMES) -> None:
    """`title` and one line an item, nothing if there is none. Items are printed as they are."""
    lines = list(items)
    if not lines:
        return
    say(f"\n{title}")
    for line in lines[:at_most]:
        say(f"  {mark:9} {line}" if mark else f"  {line}")
    if len(lines) > at_most:
        say(f"  … and {len(lines) - at_most} more (--json lists all)")


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """Plain columns: the first and last are text, those between are numbers."""
    cells = [head, *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    lines = []
    for row in cells:
        columns = [
            cell.ljust(width) if at in (0, len(head) - 1) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(columns).rstrip())
    return "\n".join(lines)


def files(count: int) -> str:
    return counted(count, "file")


def documents(count: int) -> str:
    return counted(count, "document")


def chunks(count: int) -> str:
    return counted(count, "chunk")


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
