"""The door to everything that measures: `python -m eval COMMAND …`; `python -m eval COMMAND --help` says more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "retrieval": "how well the right passages are found",
    "speed": "how fast parts are, against the part they cannot beat",
    "start": "how long a start takes and how much memory the app holds",
    "gold": "the questions that ship, over the documents that ship",
    "fit_gate": "fit the gate that refuses",
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    command, *rest = arguments
    if command not in COMMANDS:
        print(f"eval: no command {command!r}.\n\n{_usage()}", file=sys.stderr)
        return 2
    return int(import_module(f"eval.{command}").main(rest))


def _usage() -> str:
    lines = [f"    {name:10} {about}" for name, about in COMMANDS.items()]
    return "\n".join([str(__doc__), "", *lines])


if __name__ == "__main__":
    sys.exit(main())
