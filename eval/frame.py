"""How every command of the evaluation ends: its exit code, and one sentence for what its user can mend.

0 done; 1 below a floor, or fewer than wanted; 2 a wrong option, setting, set or file; 3 something that is needed does not
answer or is full; 130 stopped. A fault of the program keeps its traceback. Knows no command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

OK, IN_PART, WRONG_USE, AWAY, STOPPED = 0, 1, 2, 3, 130
_CLOSED_PIPE = 141  # as shells have it for a program that was cut off: 128 + SIGPIPE
_EXTRA = {"ir_measures", "matplotlib"}  # what the extra `eval` brings; others are a fault
_WRONG_FILE = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


def run_in_frame(command: Callable[[], int], *, again: str = "") -> int:
    """The exit code of `command`; what its user can mend is said on standard error.

    `again`: a sentence for who stopped it, or whose server went away.
    """
    try:
        code = command()
        sys.stdout.flush()  # now, where a reader that has left can still be told from a fault
        return code
    except KeyboardInterrupt:
        print(f"\neval: stopped. {again}".rstrip(), file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        _let_go_of_stdout()
        return _CLOSED_PIPE
    except Exception as exc:
        sentence, code = _in_a_sentence(exc)
        if not sentence:
            raise
        _complain(f"eval: {sentence} {again if code == AWAY else ''}".rstrip())
        return code


def _in_a_sentence(exc: Exception) -> tuple[str, int]:
    """What a user is told who can do something about it, and the exit code; nothing for a fault of the program."""
    # Here, so that Ctrl-C while they are loaded ends in the frame, too.
    from eval.beir import SetError
    from knowledge.errors import GakjuError
    from settings import SettingsError

    if isinstance(exc, SettingsError | SetError):
        return str(exc), WRONG_USE
    if isinstance(exc, GakjuError):
        return exc.sentence(), AWAY
    if isinstance(exc, ModuleNotFoundError) and (exc.name or "").split(".")[0] in _EXTRA:
        return f"{exc.name} is not installed; `pip install 'gakju[eval]'` brings it.", WRONG_USE
    if isinstance(exc, _WRONG_FILE) and exc.filename is not None:
        return f"{exc.filename} cannot be used: {exc.strerror}. Is the path right, and is it yours?", WRONG_USE
    if isinstance(exc, OSError) and exc.filename is not None:
        return f"{exc.filename} cannot be used: {exc.strerror}. Is its disk full?", AWAY
    return "", IN_PART


def _complain(sentence: str) -> None:
    """Whatever the terminal's encoding lacks, or the names of files hold."""
    from ingest.cli.output import complain

    complain(sentence)


def _let_go_of_stdout() -> None:
    """Who read along has left, as in `… | head`; else Python complains once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
