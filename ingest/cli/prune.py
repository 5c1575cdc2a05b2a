"""`gakju ingest prune`: takes documents out of the index whose files, which this machine read, are no longer there.

A folder that is away or empty is taken for a disk that is not mounted: nothing of it is removed without --force.
Exit codes: 0 done, also if nothing was gone; 1 a folder was passed over; 2 PATH means no file of the collection.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ingest.cli.options import add_command, counts, held, named
from ingest.cli.output import DONE, IN_PART, WRONG_USE, complain, say, say_json, shown
from ingest.disk import gone_by_root
from ingest.removing import remove_files
from knowledge.file_states import file_states

if TYPE_CHECKING:
    from ingest.cli.tools import Tools


def add_to(commands: Any) -> None:
    parser = add_command(
        commands, "prune", run, about="take out documents whose files are gone from this machine's disk"
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="only these files or folders")
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, remove nothing")
    parser.add_argument("--force", action="store_true", help="also where a whole folder is away or empty")


def run(tools: Tools, arguments: argparse.Namespace) -> int:
    collection = arguments.collection or tools.collection
    states = named(file_states(tools.db, collection), arguments.paths, what="document", collection=collection)
    if states is None:
        return WRONG_USE
    found = gone_by_root(states)
    refused = [gone for gone in found if gone.doubt and not arguments.force]
    gone = [item for one in found if one not in refused for item in one.states]
    if not arguments.dry_run:
        gone = [item for item, _ in remove_files(tools.db, gone)]
    if arguments.json:
        say_json(
            {
                "dry_run": arguments.dry_run,
                "removed": [item.path for item in gone],
                "refused": [{"folder": str(one.root), "why": one.doubt, **counts(one.states)} for one in refused],
            }
        )
        return IN_PART if refused else DONE
    word = "would remove" if arguments.dry_run else "removed"
    for item in gone:
        say(f"{word}   {shown(item.path)}")
    for one in refused:
        complain(
            f"PASSED OVER {shown(one.root)}: it {one.doubt}, is its disk mounted? What is known of it stays: "
            f"{held(one.states)}. --force removes that."
        )
    say(f"{word[0].upper()}{word[1:]} {held(gone)}." if gone else "Nothing to remove.")
    return IN_PART if refused else DONE
