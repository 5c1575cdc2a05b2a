"""Takes documents out of the index with what is noted of their files. Needs no embedding, and fits any manifest.

Knows nothing about command lines or SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from knowledge.database import Database
from knowledge.file_states import FileState, FileStates, file_states
from knowledge.generations import active_generation
from knowledge.store import IndexStore


def known_files(db: Database, collection: str) -> list[FileState]:
    """All files of a collection, and documents of it that no file was read for."""
    states = file_states(db, collection)
    generation = active_generation(db)
    if generation is None:
        return states
    noted = {item.path for item in states}
    return states + [
        FileState(collection, path, version.origin, "", "", "stored", content_hash=version.content_hash)
        for path, version in sorted(IndexStore(db, generation).versions(collection).items())
        if path not in noted
    ]


def remove_files(db: Database, files: Sequence[FileState]) -> Iterator[tuple[FileState, bool]]:
    """Each of `files` once it is out of the index, and whether there was a document of it. One transaction each.

    Raises:
        DatabaseUnavailable: what was given out until then is removed.
    """
    generation = active_generation(db)
    store = IndexStore(db, generation) if generation else None
    for file in files:
        yield file, remove_file(db, store, file)


def remove_file(db: Database, store: IndexStore | None, file: FileState) -> bool:
    """An archive whose member goes is forgotten with it: else the member would stay out until the archive changes."""
    states = FileStates(db, file.collection)
    archive = archive_of(file)
    paths = [file.path, *([archive] if archive else [])]
    if store is not None:
        return store.remove(file.collection, file.path, also=lambda conn: states.forget(conn, *paths))
    with db.connection() as conn:
        states.forget(conn, *paths)
    return False


def archive_of(file: FileState) -> str:
    """Path in the collection of the archive that `file` is a member of; "" for a file of its own."""
    at = file.origin.find("!/")
    while at >= 0:
        member = file.origin[at + 2 :]
        if file.path.endswith(f"/{member}"):
            return file.path.removesuffix(f"/{member}")
        at = file.origin.find("!/", at + 1)
    return ""
