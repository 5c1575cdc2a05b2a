"""Who holds a lease: a process of some machine, and whether it is surely dead, so that its lease need not be waited out.

Knows nothing about Redis. Where a process cannot be told (another machine or container, no /proc), none is surely dead.
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")


def my_name() -> str:
    """Of this process: `boot:namespace:pid:start`, unlike that of any other, before or after; "1" where it has none."""
    try:
        return f"{_machine()}:{os.getpid()}:{_start(os.getpid())}"
    except (OSError, ValueError, IndexError):
        return "1"


def is_surely_dead(name: str) -> bool:
    """`name`: as `my_name` gave it, maybe elsewhere. False also where that cannot be told from here."""
    machine, *process = name.rsplit(":", 2)
    try:
        if len(process) != 2 or machine != _machine():
            return False
        os.kill(int(process[0]), 0)
        return _start(int(process[0])) != process[1]
    except ProcessLookupError:
        return True
    except (OSError, ValueError, IndexError, OverflowError):
        return False  # another user's, of whom nothing is shown


def _machine() -> str:
    """This start of this machine, and the numbering of processes in it: containers have their own."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{(_PROC / 'self/ns/pid').readlink().name.strip('pid:[]')}"


def _start(pid: int) -> str:
    """When process `pid` began, in clock ticks since the boot: numbers of processes are used again. "" of a zombie."""
    fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
