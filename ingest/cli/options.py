"""Arguments that several commands share, and what paths on a command line mean. Opens nothing."""

from __future__ import annotations

import argparse
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.cli.output import complain, documents, files, shown
from ingest.disk import absolute, is_archive, is_below
from ingest.files import Selection
from ingest.readers import SUPPORTED
from ingest.readers.legacy import ENDINGS as NOT_READ
from knowledge.file_states import FileState

if TYPE_CHECKING:
    from ingest.cli.tools import Tools

Run = Callable[["Tools", argparse.Namespace], int]
# What is read as what it says, and not only refused with what to save it as.
READ = SUPPORTED - NOT_READ
_RAY_ADDRESS = re.compile(r"ray://.*|.+:\d+|auto|local|")
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


def add_selection(parser: argparse.ArgumentParser, *, takes: str = "files or folders") -> None:
    """What `add` and `watch` take."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=takes)
    for name, what in (("--include", "only files that match"), ("--exclude", "no files that match")):
        parser.add_argument(
            name, action="append", default=[], metavar="PATTERN", help=f"{what}, with the rules of .gitignore"
        )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        type=_ray_address,
        metavar="ADDRESS",
        help="work on a Ray cluster (no address: one on this machine); after the paths",
    )


def selection(arguments: argparse.Namespace) -> Selection:
    """Raises: ValueError, with what to say, for a pattern that is none."""
    for option in ("include", "exclude"):
        for pattern in getattr(arguments, option):
            if not _is_pattern(pattern):
                raise ValueError(
                    f"--{option} {pattern!r} is no pattern, or matches no file whatever it is called. "
                    "Patterns are those of .gitignore, such as '*.pdf' or 'drafts/'."
                )
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


def named(states: Sequence[FileState], paths: Sequence[str], *, what: str, collection: str) -> list[FileState] | None:
    """Files that `paths` mean, all without any. None: some mean nothing, which has been said, of `what` they are none."""
    if not paths:
        return list(states)
    found, unknown = matching(states, paths)
    for text in unknown:
        complain(
            f"gakju ingest: no {what} of the collection {collection} is {shown(text)}. `gakju ingest status --json` lists them."
        )
    return None if unknown else found


def counts(states: Sequence[FileState]) -> dict[str, int]:
    """Files, and how many of them are documents."""
    stored = sum(item.state == "stored" and not is_archive(item) for item in states)
    return {"documents": stored, "files": len(states)}


def held(states: Sequence[FileState]) -> str:
    """`3 documents and 1 file that is no document`, such as one that failed or an archive."""
    stored = counts(states)["documents"]
    others = len(states) - stored
    noted = f"{files(others)} that {'is no document' if others == 1 else 'are no documents'}"
    return " and ".join([*([documents(stored)] if stored or not others else []), *([noted] if others else [])])


def _is_pattern(pattern: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "[[:alpha:]]" is taken, if not as meant
            return any(line.regex for line in Selection(include=(pattern,))._include.patterns)
    except (ValueError, re.error):
        return False


def _ray_address(text: str) -> str:
    """argparse takes what follows --ray for its address, be it a path."""
    if not _RAY_ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address of a cluster: write --ray after the paths, or --ray=ADDRESS, such as "
            "--ray=10.0.0.1:6379"
        )
    return text


def _collection(name: str) -> str:
    if not _COLLECTION.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"{name!r} is no name of a collection: 1 to 64 letters, digits, '.', '_' or '-'"
        )
    return name
