"""Arguments that several commands share, and what paths on a command line mean. Opens nothing."""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest import readers
from ingest.disk import absolute, is_below
from ingest.files import Selection
from knowledge.file_states import FileState

if TYPE_CHECKING:
    from ingest.cli.tools import Tools

Run = Callable[["Tools", argparse.Namespace], int]
# Endings of files that are taken from folders.
INGESTED = readers.SUPPORTED | readers.ARCHIVES
_COLLECTION = re.compile(r"[\w.-]{1,64}")


def add_command(commands: Any, name: str, run: Run, *, about: str) -> argparse.ArgumentParser:
    """A subcommand with what all of them have. `commands`: what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about[0].upper() + about[1:])
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.add_argument(
        "--collection", type=_collection, metavar="NAME", help="name of the collection (default: COLLECTION)"
    )
    parser.set_defaults(ingest_command=run)
    return parser


def add_selection(parser: argparse.ArgumentParser) -> None:
    """What `add` and `watch` take."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders")
    for name, what in (("--include", "only files that match"), ("--exclude", "no files that match")):
        parser.add_argument(
            name, action="append", default=[], metavar="PATTERN", help=f"{what}, with the rules of .gitignore"
        )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="work on a Ray cluster (no address: one on this machine); after the paths",
    )


def selection(arguments: argparse.Namespace) -> Selection:
    """Raises: ValueError for a pattern that is none."""
    return Selection(tuple(arguments.include), tuple(arguments.exclude))


def matching(states: Sequence[FileState], asked: Iterable[str]) -> tuple[list[FileState], list[str]]:
    """Files that `asked` means, each a path in the collection or on disk, a folder or an archive for all in it; and
    what of `asked` means none. A path in the collection goes first: "x.md" is not also another "sub/x.md"."""
    found: dict[tuple[str, str], FileState] = {}
    unknown = []
    for text in asked:
        name = unicodedata.normalize("NFC", text).rstrip("/")
        hits = [item for item in states if item.path == name or item.path.startswith(f"{name}/")]
        if not hits:
            place = [absolute(Path(text))]
            hits = [item for item in states if is_below(item.origin, place)]
        if not hits:
            unknown.append(text)
        found.update(((item.collection, item.path), item) for item in hits)
    return list(found.values()), unknown


def _collection(name: str) -> str:
    if not _COLLECTION.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{name!r}: 1 to 64 letters, digits, '.', '_' or '-'")
    return name
