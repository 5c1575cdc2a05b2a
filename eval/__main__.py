"""The door to everything that measures: `gakju eval COMMAND …` or `python -m eval COMMAND …`; --help after it says more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

# Name of each command, its module in eval, and what it tells.
COMMANDS = {
    "retrieval": ("retrieval", "how well the right passages are found"),
    "new-set": ("own", "questions to your own documents, for `retrieval --set`"),
    "speed": ("speed", "how fast parts are, against the part they cannot beat"),
    "start": ("start", "how long a start takes and how much memory the app holds"),
    "gold": ("gold", "the questions that ship, over the documents that ship"),
    "checker": ("checker", "how well the claim checker tells true claims from false ones"),
    "instant": ("instant", "what a FAQ and a glossary answer at once, and what they steal"),
    "quotes": ("quotes", "how good quote mode's answers are"),
    "fit_gate": ("fit_gate", "fit the gate that refuses"),
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
    module, _ = COMMANDS[command]
    try:
        return int(import_module(f"eval.{module}").main(rest))
    except KeyboardInterrupt:
        print("\neval: stopped.", file=sys.stderr)
        return 130
    except Exception as exc:
        sentence, code = _in_a_sentence(exc)
        if not sentence:
            raise
        print(f"eval: {sentence}", file=sys.stderr)
        return code


def _in_a_sentence(exc: Exception) -> tuple[str, int]:
    """What a user is told who can do something about it, and the exit code; nothing for a fault of the program."""
    from eval.beir import SetError
    from knowledge.errors import GakjuError
    from settings import SettingsError

    if isinstance(exc, SettingsError | SetError):
        return str(exc), 2
    if isinstance(exc, GakjuError):
        return exc.sentence(), 3
    if isinstance(exc, OSError) and exc.filename is not None:
        return (
            f"{exc.filename} cannot be used: {exc.strerror}. Is the path right, may it be written, is its disk full?",
            3,
        )
    return "", 1


def _usage() -> str:
    lines = [f"    {name:10} {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join([str(__doc__), "", *lines])


if __name__ == "__main__":
    sys.exit(main())
