"""`gakju ingest status`: what is in the index, what failed or was cut off, and what differs from the disk.

Needs no embedding and works whatever the index was built with. Exit codes: 0 all is well; 1 something failed or was
interrupted; 2 PATH means no file.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest import disk
from ingest.cli.options import add_command, matching
from ingest.cli.output import (
    DONE,
    IN_PART,
    WRONG_USE,
    chunks,
    complain,
    documents,
    files,
    say,
    say_json,
    say_list,
    shown,
    table,
)
from ingest.files import SourceFile
from ingest.readers import SUPPORTED
from knowledge.file_states import FileState, file_states
from knowledge.generations import Generation, active_generation
from knowledge.store import IndexCounts, IndexStore

if TYPE_CHECKING:
    from ingest.cli.tools import Tools

# "stored" counts documents; an archive, all of whose files are dealt with, is one of "archives".
_STATES = ("stored", "failed", "reading", "queued", "interrupted")


def add_to(commands: Any) -> None:
    parser = add_command(commands, "status", run, about="what is in the index, what failed, and what differs from disk")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="only these files or folders")
    parser.add_argument("--failed", action="store_true", help="only files that failed")
    parser.add_argument("--no-disk", action="store_true", help="do not compare with the disk")


def run(tools: Tools, arguments: argparse.Namespace) -> int:
    everything = file_states(tools.db, arguments.collection)
    states, unknown = matching(everything, arguments.paths) if arguments.paths else (everything, [])
    missing = [text for text in unknown if not disk.exists(Path(text))]
    for text in missing:
        complain(f"gakju ingest: nothing of {shown(text)} is known, and it is not on disk.")
    if missing and not states:
        return WRONG_USE
    failed = [item for item in states if item.state == "failed"]
    interrupted = [item for item in states if is_interrupted(item)]
    compared = {}
    if not (arguments.no_disk or arguments.failed):
        compared = _compare(tools, arguments, everything, states)
    if arguments.json:
        say_json(_as_json(tools, states, compared, failed_only=arguments.failed))
    elif arguments.failed:
        _print_failed(failed, "No file failed.")
    else:
        _print_all(tools, states, compared)
    return IN_PART if failed or (interrupted and not arguments.failed) else DONE


def is_interrupted(state: FileState) -> bool:
    """Work on it began or was to begin, in a run that has ended."""
    return state.state in ("queued", "reading") and not state.is_running


def _compare(
    tools: Tools, arguments: argparse.Namespace, everything: Sequence[FileState], states: Sequence[FileState]
) -> dict[str, disk.Differences]:
    """By collection. A path that is given in words of the collection stands for where its files were read."""
    if not arguments.paths:
        within = None
    else:
        places = [disk.absolute(Path(text)) for text in arguments.paths]
        within = sorted({*(place for place in places if disk.exists(place)), *(Path(item.origin) for item in states)})
    names = sorted({item.collection for item in everything}) or [arguments.collection or tools.collection]
    return {
        name: disk.compare([item for item in everything if item.collection == name], supported=SUPPORTED, within=within)
        for name in names
    }


def _counts(tools: Tools, states: Sequence[FileState]) -> dict[str, tuple[Counter[str], IndexCounts]]:
    """Collection → files in each state, and what of it is in the index."""
    generation = active_generation(tools.db)
    counted: dict[str, tuple[Counter[str], IndexCounts]] = {}
    for name in sorted({item.collection for item in states}):
        words = Counter(map(_word, (item for item in states if item.collection == name)))
        stored = IndexStore(tools.db, generation).counts(name) if generation else IndexCounts(0, 0)
        counted[name] = (words, stored)
    return counted


def _word(state: FileState) -> str:
    if is_interrupted(state):
        return "interrupted"
    return "archives" if state.state == "stored" and disk.is_archive(state) else state.state


def _print_all(tools: Tools, states: Sequence[FileState], compared: dict[str, disk.Differences]) -> None:
    counted = _counts(tools, states)
    if counted:
        has_archives = any(words["archives"] for words, _ in counted.values())
        columns = (*_STATES, *(("archives",) if has_archives else ()))
        rows = [
            (shown(name), *(words[column] for column in columns), stored.documents, stored.chunks, "")
            for name, (words, stored) in counted.items()
        ]
        say(table(("collection", *columns, "documents", "chunks", ""), rows))
    else:
        say("Nothing has been ingested. Run `gakju ingest add PATH`.")
    generation = active_generation(tools.db)
    if generation:
        total = IndexStore(tools.db, generation).counts()
        say(f"Index: {documents(total.documents)}, {chunks(total.chunks)}; {generation.manifest}.")
    _print_failed([item for item in states if item.state == "failed"], "")
    _by_folder("Being ingested by a run that goes on", _named(item for item in states if item.is_running), mark="")
    _by_folder(
        "Interrupted, the run that read it has ended (run `gakju ingest add` again or `gakju ingest retry`)",
        _named(item for item in states if is_interrupted(item)),
        mark="",
    )
    for name, differences in compared.items():
        _print_differences(differences, f" in {shown(name)}" if len(compared) > 1 else "")


def _print_failed(failed: Sequence[FileState], otherwise: str) -> None:
    if not failed and otherwise:
        say(otherwise)
    by_folder: dict[Path, list[FileState]] = {}
    for item in failed:
        by_folder.setdefault(disk.folder_of(item), []).append(item)
    for folder, items in sorted(by_folder.items()):
        say(f"\nFailed, in {shown(folder)}:")
        for item in items:
            say(f"  FAILED    {shown(item.path)} ({item.reason}, {item.updated_at})\n            {shown(item.error)}")


def _by_folder(title: str, lines: Iterable[tuple[Path, str]], *, mark: str) -> None:
    """Lists of names, each below the folder that they count from."""
    by_folder: dict[Path, list[str]] = {}
    for folder, line in lines:
        by_folder.setdefault(folder, []).append(line)
    for folder, names in sorted(by_folder.items()):
        say_list(f"{title}, in {shown(folder)}:", names, mark=mark)


def _named(states: Iterable[FileState]) -> Iterable[tuple[Path, str]]:
    return ((disk.folder_of(item), shown(item.path)) for item in states)


def _folder_of(file: SourceFile) -> Path:
    return file.root.parent if file.root == file.path else file.root


def _print_differences(found: disk.Differences, where: str) -> None:
    new = ((_folder_of(file), shown(file.name)) for file in found.new)
    _by_folder(f"On disk, not in the index{where} (run `gakju ingest add`)", new, mark="new")
    _by_folder(f"Edited since{where} (run `gakju ingest add`)", _named(found.changed), mark="changed")
    renamed = ((_folder_of(file), f"{shown(item.path)} → {shown(file.name)}") for item, file in found.renamed)
    _by_folder(f"Renamed or moved{where} (run `gakju ingest add`)", renamed, mark="renamed")
    _by_folder(f"Gone from disk{where} (run `gakju ingest prune`)", _named(found.gone), mark="gone")
    say_list(f"Folders that are away{where}; what they held stays:", map(shown, found.missing_roots), mark="away")
    if found.elsewhere:
        was = "was read on another machine and is" if found.elsewhere == 1 else "were read on other machines and are"
        say(f"\n{files(found.elsewhere)}{where} {was} not compared with this disk.")


def _as_json(
    tools: Tools, states: Sequence[FileState], compared: dict[str, disk.Differences], *, failed_only: bool
) -> dict[str, object]:
    failed = [_file(item) for item in states if item.state == "failed"]
    if failed_only:
        return {"failed": failed}
    return {
        "index": _index(tools, active_generation(tools.db)),
        "collections": {
            name: {
                **{word: words[word] for word in (*_STATES, "archives")},
                "documents": stored.documents,
                "chunks": stored.chunks,
            }
            for name, (words, stored) in _counts(tools, states).items()
        },
        "failed": failed,
        "running": [_file(item) for item in states if item.is_running],
        "interrupted": [_file(item) for item in states if is_interrupted(item)],
        "disk": {name: _differences(found) for name, found in compared.items()},
    }


def _index(tools: Tools, generation: Generation | None) -> dict[str, object] | None:
    if generation is None:
        return None
    total = IndexStore(tools.db, generation).counts()
    return {"documents": total.documents, "chunks": total.chunks, **generation.manifest.to_dict()}


def _file(item: FileState) -> dict[str, object]:
    return {
        "collection": item.collection,
        "path": item.path,
        "origin": item.origin,
        "host": item.host,
        "reason": item.reason,
        "error": item.error,
        "updated_at": item.updated_at,
    }


def _differences(found: disk.Differences) -> dict[str, object]:
    return {
        "changed": [item.path for item in found.changed],
        "gone": [item.path for item in found.gone],
        "new": [file.origin for file in found.new],
        "renamed": [{"path": item.path, "now": file.origin} for item, file in found.renamed],
        "missing_roots": [str(root) for root in found.missing_roots],
        "elsewhere": found.elsewhere,
    }
