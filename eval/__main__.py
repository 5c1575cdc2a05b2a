"""The door to everything that measures: `gakju eval COMMAND …` or `python -m eval COMMAND …`; --help after it says more."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from eval.frame import WRONG_USE, run_in_frame

# Name of each command, its module in eval, and what it tells.
COMMANDS = {
    "retrieval": ("retrieval", "how well the right passages are found"),
    "new-set": ("own", "questions to your own documents, for `retrieval --set`"),
    "speed": ("speed", "how fast parts are, against the part they cannot beat"),
    "start": ("start", "how long a start takes and how much memory the app holds"),
    "gold": ("gold", "the questions that ship, over the documents that ship"),
    "badly_typed": ("badly_typed", "the questions that ship with slips, without spaces, on the wrong keyboard"),
    "checker": ("checker", "how well the claim checker tells true claims from false ones"),
    "instant": ("instant", "what a FAQ and a glossary answer at once, and what they steal"),
    "answers": ("answers", "how good answers are: citations, refusals, the right answer"),
    "quotes": ("quotes", "how good quote mode's answers are"),
    "fit_gate": ("fit_gate", "fit the gate that refuses"),
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else WRONG_USE
    command, *rest = arguments
    if command not in COMMANDS:
        print(f"eval: no command {command!r}.\n\n{_usage()}", file=sys.stderr)
        return WRONG_USE
    module, _ = COMMANDS[command]
    return run_in_frame(lambda: int(import_module(f"eval.{module}").main(rest)))


def _usage() -> str:
    lines = [f"    {name:11} {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join([str(__doc__), "", *lines])


def _terminated(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)  # ends like Ctrl-C: what is thrown away is thrown away
    sys.exit(main())
