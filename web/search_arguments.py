"""The arguments of `gakju search`. Loads nothing that takes time: every command reads them."""

from __future__ import annotations

import argparse

from knowledge.filters import Filters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", help="the question, in quotes")
    parser.add_argument("--explain", action="store_true", help="each leg's words, ranks and scores, and why")
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.add_argument("--collection", action="append", metavar="NAME", help="only this collection; may be repeated")
    parser.add_argument(
        "--path", action="append", metavar="PATH", help="only this document, or folder with / at its end"
    )
    parser.add_argument("--type", action="append", metavar="ENDING", help="only files with this ending, such as pdf")
    parser.add_argument("--language", action="append", choices=("ko", "en", "und"), help="only passages in it")
    parser.add_argument("--after", metavar="DATE", help="only documents changed on this day or later (2026-01-31)")
    parser.add_argument("--before", metavar="DATE", help="only documents changed before this day")


def filters_of(arguments: argparse.Namespace) -> Filters | None:
    """Raises:
    InvalidFilter: a value that cannot be.
    """
    wanted = {
        "collections": arguments.collection,
        "paths": arguments.path,
        "types": arguments.type,
        "languages": arguments.language,
        "modified_after": arguments.after,
        "modified_before": arguments.before,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    return Filters.from_dict(given) if given else None
