"""A throw-away index of the app's own making: a set's passages, or a folder of files, through the real chunker and store.

On the embedded server, and on a server of one's own where that is allowed, the index has a database to itself, dropped
afterwards; else a collection of its own in the given database, removed afterwards. Knows nothing about questions.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eval.beir import Passage
from ingest.cli.add import run_quietly
from ingest.preparing import Preparer
from ingest.readers import read_bytes_as
from knowledge.database import Database, redact
from knowledge.embedding import GakjuEmbedding
from knowledge.errors import DatabaseUnavailable, GakjuError, ReadFailed
from knowledge.generations import Manifest, open_active
from knowledge.lexemes import Analyzer, language_of
from knowledge.search_indexes import tidy
from knowledge.servers import EmbeddedServers
from knowledge.store import IndexStore
from knowledge.types import Document, ParsedDocument
from settings import Settings
from wiring import open_ingestor, open_workers

_TOGETHER = 64  # passages prepared and embedded in one go
# What is left of a collection without documents.
_FORGET = (
    "DELETE FROM files WHERE collection_id = (SELECT id FROM collections WHERE name = %s)",
    "DELETE FROM term_counts WHERE collection_id = (SELECT id FROM collections WHERE name = %s)",
    "DELETE FROM chunk_counts WHERE collection_id = (SELECT id FROM collections WHERE name = %s)",
    "DELETE FROM collections WHERE name = %s",
)


@dataclass(frozen=True, slots=True)
class EvalIndex:
    """`collections`: what a search has to be confined to; None where the database holds nothing else."""

    store: IndexStore
    collection: str
    collections: Sequence[str] | None


@contextmanager
def throw_away_index(
    settings: Settings, servers: EmbeddedServers, manifest: Manifest, *, name: str
) -> Iterator[EvalIndex]:
    """An empty index on the server that `settings` name, on an embedded one if none; gone at the end of the block.

    Raises:
        GakjuError: the database does not answer, or its index was built otherwise.
    """
    with ExitStack() as stack:
        db = None
        if not settings.database_url:
            db = stack.enter_context(_own_database(servers.postgres().url))
        elif _may_make_databases(settings.database_url):
            with contextlib.suppress(GakjuError):  # it may not bring pgvector into it; said below
                db = stack.enter_context(_own_database(settings.database_url))
        if db is None:
            yield stack.enter_context(_own_collection(settings.database_url, manifest, name))
        else:
            yield EvalIndex(IndexStore(db, open_active(db, manifest)), name, None)


@contextmanager
def _own_database(url: str) -> Iterator[Database]:
    name = f"eval_{uuid.uuid4().hex}"
    server = Database(url, max_size=1)
    with contextlib.closing(server.dedicated()) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    db = Database(urlsplit(url)._replace(path=f"/{name}").geturl())
    try:
        db.open()
        yield db
    finally:
        db.close()
        _drop(server, name)


def _drop(server: Database, name: str) -> None:
    """FORCE comes second: it is refused while autovacuum, which is not ours, is at work there; a plain one ends that.

    Numbers that were measured are not lost for a database that stays.
    """
    said = ""
    for how in ("", " WITH (FORCE)", ""):
        try:
            with contextlib.closing(server.dedicated()) as conn:
                conn.execute(f"DROP DATABASE IF EXISTS {name}{how}".encode())
            return
        except Exception as exc:  # noqa: BLE001 - psycopg is known to knowledge alone
            said = str(exc).splitlines()[0]
    print(f"eval: the database {name} could not be dropped and stays: {said}.", file=sys.stderr)


@contextmanager
def _own_collection(url: str, manifest: Manifest, name: str) -> Iterator[EvalIndex]:
    print(
        "eval: the user of DATABASE_URL may not make a database with pgvector, so the passages stand in a collection of that "
        "database while this runs, where an app that uses it finds them, too.",
        file=sys.stderr,
    )
    collection = f"eval-{name[:40]}-{uuid.uuid4().hex[:8]}"
    db = Database(url)
    try:
        db.open()
        store = IndexStore(db, open_active(db, manifest))
        try:
            yield EvalIndex(store, collection, [collection])
        finally:
            _remove_collection(store, collection)
    finally:
        db.close()


def _may_make_databases(url: str) -> bool:
    """Raises:
    DatabaseUnavailable: no connection.
    """
    try:
        conn = Database(url, max_size=1).dedicated()
    except Exception as exc:
        message = f"The database at {redact(url)} does not answer."
        raise DatabaseUnavailable(message, hint="Check that it runs and DATABASE_URL is right.") from exc
    with contextlib.closing(conn):
        row = conn.execute("SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])


def _remove_collection(store: IndexStore, collection: str) -> None:
    for path in store.versions(collection):
        store.remove(collection, path, settle=False)
    store.settle()
    with store.db.connection() as conn:
        for statement in _FORGET:
            conn.execute(statement, (collection,))


def store_passages(
    index: EvalIndex,
    passages: Sequence[Passage],
    *,
    embedding: GakjuEmbedding,
    analyzer: Analyzer,
    chunk_tokens: int,
) -> list[str]:
    """Each passage a document of the app, read as plain text under its title. Returns those that no reader takes.

    Raises:
        GakjuError: the database or the embedding server does not answer.
    """
    preparer = Preparer(embedding, analyzer, chunk_tokens=chunk_tokens)
    refused: list[str] = []
    with _progress() as progress:
        bar = progress.add_task(index.collection, total=len(passages))
        for at in range(0, len(passages), _TOGETHER):
            some = passages[at : at + _TOGETHER]
            parsed = [(passage, _parsed(passage)) for passage in some]
            refused += [passage.id for passage, document in parsed if document is None]
            readable = [(passage, document) for passage, document in parsed if document is not None]
            prepared = [preparer.prepare(document) for _, document in readable]
            for (passage, document), chunks in zip(readable, preparer.embed(prepared), strict=True):
                stored = _document(index.collection, passage, document)
                index.store.replace(stored, chunks, reading="plain text", settle=False)
            progress.advance(bar, len(some))
    tidy(index.store)
    return refused


def _parsed(passage: Passage) -> ParsedDocument | None:
    """None: it is empty, or not text."""
    text = passage.text if passage.text.strip() else passage.title
    try:
        parsed = read_bytes_as(text.encode("utf-8", "replace"), name="passage.txt")
    except ReadFailed:
        return None
    return replace(parsed, title=passage.title.strip())


def _document(collection: str, passage: Passage, parsed: ParsedDocument) -> Document:
    data = f"{passage.title}\0{passage.text}".encode("utf-8", "replace")
    return Document(
        collection=collection,
        path=passage.id,
        origin=passage.id,
        content_hash=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        title=parsed.title,
        text=parsed.text,
        language=language_of(parsed.text),
        blocks=parsed.blocks,
    )


def store_folder(
    index: EvalIndex, folder: Path, *, settings: Settings, embedding: GakjuEmbedding, analyzer: Analyzer
) -> None:
    """The files in `folder`, as `gakju ingest add` takes them.

    Raises:
        GakjuError: a file was not stored.
    """
    with (
        open_workers(settings, embedding, analyzer, None) as workers,
        open_ingestor(settings, index.store, index.collection, workers) as ingestor,
        contextlib.redirect_stdout(sys.stderr),
    ):
        if run_quietly(ingestor, [folder]) != 0:
            raise GakjuError(f"Not every file in {folder} was stored.", hint="The lines above say why.")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("passages"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
