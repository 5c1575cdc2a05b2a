"""An index with a few documents in a database of its own, for a whole module of tests that only read it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg

from ingest.preparing import chunking
from knowledge.database import Database
from knowledge.embedding import GakjuEmbedding
from knowledge.generations import Manifest, open_active
from knowledge.lexemes import Analyzer
from knowledge.servers import EmbeddedServers
from knowledge.store import IndexStore
from tests.knowledge.test_store import make


@contextmanager
def filled_index(
    servers: EmbeddedServers,
    embedding: GakjuEmbedding,
    analyzer: Analyzer,
    documents: Sequence[tuple[str, str, list[str]]],
) -> Iterator[IndexStore]:
    """`documents`: collection, path, texts of the chunks."""
    name = f"test_{uuid.uuid4().hex}"
    url = servers.postgres().url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    db = Database(urlsplit(url)._replace(path=f"/{name}").geturl())
    db.open()
    try:
        store = IndexStore(db, open_active(db, Manifest(embedding.spec.to_dict(), chunking(256))))
        for collection, path, texts in documents:
            store.replace(
                *make(path, texts, embedding=embedding, analyzer=analyzer, collection=collection), reading="1"
            )
        yield store
    finally:
        db.close()
