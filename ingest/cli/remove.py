"""`gakju ingest remove`: documents out of the index, by their path in the collection or by where they lie on disk.

Exit codes: 0 removed; 1 the answer was no; 2 nothing is called so.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ingest.cli.options import add_command, held, matching
from ingest.cli.output import DONE, IN_PART, WRONG_USE, complain, documents, names, say, say_json, shown
from ingest.disk import is_local
from ingest.files import file_of, is_gone
from ingest.removing import known_files, remove_files
from knowledge.file_states import FileState

if TYPE_CHECKING:
    from ingest.cli.tools import Tools

_SUGGESTIONS = 3


def add_to(commands: Any) -> None:
    parser = add_command(commands, "remove", run, about="take documents out of the index; no file is deleted")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="documents, or files and folders that were ingested")
    parser.add_argument("--all", action="store_true", help="all documents of the collection")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(tools: Tools, arguments: argparse.Namespace) -> int:
    if bool(arguments.paths) == arguments.all:
        complain("gakju ingest remove: name what to remove, or --all for the whole collection, and not both.")
        return WRONG_USE
    collection = arguments.collection or tools.collection
    known = known_files(tools.db, collection)
    chosen, unknown = (known, []) if arguments.all else matching(known, arguments.paths)
    for text in unknown:
        complain(
            f"gakju ingest: no document of the collection {collection} is {shown(text)}.{_suggestion(text, known)}"
        )
    if unknown or not chosen:
        if arguments.all:
            complain(f"gakju ingest: the collection {collection} holds nothing.")
        return WRONG_USE
    if not _may(chosen, arguments, collection):
        return IN_PART
    removed = list(remove_files(tools.db, chosen))
    _tell(removed, as_json=arguments.json)
    return DONE


def _may(chosen: Sequence[FileState], arguments: argparse.Namespace, collection: str) -> bool:
    """Asks on a terminal before more than one file or --all goes; a script says --yes for a whole collection."""
    if arguments.yes or (len(chosen) == 1 and not arguments.all):
        return True
    if not sys.stdin.isatty():
        if arguments.all:
            complain("gakju ingest: to remove a whole collection without being asked, add --yes.")
        return not arguments.all
    some = names((item.path for item in chosen), at_most=3)
    print(f"Remove {held(chosen)} from {collection} ({some})? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes", "예", "네", "ㅇ"):
        return True
    complain("Nothing was removed.")
    return False


def _tell(removed: Sequence[tuple[FileState, bool]], *, as_json: bool) -> None:
    here = [file for file, _ in removed if is_local(file) and not is_gone(file_of(file.origin))]
    if as_json:
        files = [{"document": file.path, "path": file.origin, "was_stored": was} for file, was in removed]
        say_json({"removed": files, "still_on_disk": [file.path for file in here]})
        return
    for file, was_stored in removed:
        say(f"removed   {shown(file.path)}{'' if was_stored else ' (it was not in the index, only noted)'}")
    say(f"\n{documents(sum(was for _, was in removed))} removed.")
    if here:
        are, them = ("is", "it") if len(here) == 1 else ("are", "them")
        say(
            f"{len(here)} of these files {are} still on disk: `gakju ingest add` of their folder, and for the folder of "
            f"the app (KNOWLEDGE_DIR) its next start, stores {them} again. A .gakjuignore keeps files out."
        )
    if any(file.is_running for file, _ in removed):
        say("A run that goes on is at work on some of them and will store them again.")


def _suggestion(text: str, known: Sequence[FileState]) -> str:
    paths = [item.path for item in known]
    wanted = text.rstrip("/").rsplit("/", 1)[-1].lower()
    near = [path for path in paths if wanted and wanted in path.lower()][:_SUGGESTIONS]
    near = near or difflib.get_close_matches(text, paths, n=_SUGGESTIONS)
    return f" Did you mean {names(near)}?" if near else " `gakju ingest status --json` lists what there is."
