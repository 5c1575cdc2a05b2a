"""Run by root: `_as_user.py UID GID FOLDER... -- PROGRAM ARGS...` becomes that program under UID, able to read FOLDERs.

PostgreSQL refuses to run as root, yet a virtual environment or data folder below a 0700 home (/root) is closed to any
other user. Instead of opening up people's homes, the program then keeps one capability: CAP_DAC_READ_SEARCH (pass
through and read closed folders) or, where a container only has that, CAP_DAC_OVERRIDE. Where UID reaches the folders
anyway, it gets none. `-- ` followed by nothing only checks and prints which of both it was.

A program of its own, run with the standard library alone: code between fork and exec of a threaded app may deadlock.
Knows nothing about servers. Linux for the capability; elsewhere plain or not at all.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 28, 38, 47, 2
# Without it the kernel drops capabilities at setuid, and access(2), by which PostgreSQL checks its own program file,
# ignores them (do_faccessat in fs/open.c).
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
EXIT_UNREACHABLE = 126


def _reaches(folders: list[str]) -> bool:
    return all(os.access(folder, os.R_OK | os.X_OK, effective_ids=True) for folder in folders)


def _reaches_plainly(uid: int, gid: int, folders: list[str]) -> bool:
    os.setegid(gid)
    os.seteuid(uid)
    try:
        return _reaches(folders)
    finally:
        os.seteuid(0)
        os.setegid(0)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _permitted() -> int:
    with open("/proc/self/status") as status:  # noqa: PTH123 (pathlib would double the start-up time)
        return next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm:"))


def _become_with_capability(uid: int, gid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    permitted = _permitted()
    capability = _CAP_DAC_READ_SEARCH if permitted >> _CAP_DAC_READ_SEARCH & 1 else _CAP_DAC_OVERRIDE
    _checked(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "prctl(PR_SET_SECUREBITS)")
    os.setgid(gid)
    os.setuid(uid)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(*[1 << capability] * 3, 0, 0, 0)  # effective, permitted, inheritable; low, then high
    _checked(libc.capset(header, sets), "capset")
    _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0), "prctl(PR_CAP_AMBIENT)")
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def main(argv: list[str]) -> int:
    split = argv.index("--")
    uid, gid, folders, command = int(argv[0]), int(argv[1]), argv[2:split], argv[split + 1 :]
    os.setgroups([])
    how = "plain" if _reaches_plainly(uid, gid, folders) else "capability"
    try:
        if how == "plain":
            os.setgid(gid)
            os.setuid(uid)
        else:
            _become_with_capability(uid, gid)
            if not _reaches(folders):
                raise PermissionError(13, "still closed with the capability")
    except (OSError, AttributeError) as exc:  # AttributeError: no such call in this libc
        print(f"user {uid} cannot reach {' and '.join(folders)}: {exc}", file=sys.stderr)
        return EXIT_UNREACHABLE
    if not command:
        print(how)
        return 0
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
