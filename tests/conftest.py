"""What most tests share: real embedded servers for the session, an empty database and key space for each test."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from ingest.preparing import chunking
from knowledge.database import Database
from knowledge.embedding import GakjuEmbedding, OnnxE5Embedding
from knowledge.generations import Generation, Manifest, active_generation, open_active
from knowledge.lexemes import Analyzer
from knowledge.servers import EmbeddedServers
from knowledge.store import IndexStore
from pipelines.memory import SessionMemory, connect

# A shell starts what it runs in the background with SIGINT ignored, which children inherit: tests send them Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    with EmbeddedServers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="session")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GakjuEmbedding]:
    embedding = OnnxE5Embedding(cache_dir=tmp_path_factory.mktemp("embedding"))
    yield embedding
    embedding.close()


@pytest.fixture(scope="session")
def analyzer() -> Analyzer:
    return Analyzer()


@pytest.fixture
def database_url(servers: EmbeddedServers) -> Iterator[str]:
    """URL of a database of its own, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    url = servers.postgres().url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    yield urlsplit(url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(url, autocommit=True) as conn:
        try:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
        except psycopg.errors.InsufficientPrivilege:  # FORCE may not end autovacuum's process, which ends by itself
            conn.execute(f"DROP DATABASE {name}")


@pytest.fixture
def db(database_url: str, embedding: GakjuEmbedding) -> Iterator[Database]:
    """An empty index, made for the bundled embedding and chunks of 256 tokens."""
    db = Database(database_url)
    db.open()
    open_active(db, Manifest(embedding.spec.to_dict(), chunking(256)))
    yield db
    db.close()


@pytest.fixture
def generation(db: Database) -> Generation:
    active = active_generation(db)
    assert active is not None
    return active


@pytest.fixture
def store(db: Database, generation: Generation) -> IndexStore:
    return IndexStore(db, generation)


@pytest.fixture
def sessions(servers: EmbeddedServers) -> Iterator[SessionMemory]:
    client = connect(servers.redis().url)
    client.flushdb()
    memory = SessionMemory(client, ttl_s=3600)
    yield memory
    memory.close()


@pytest.fixture(scope="session")
def docs() -> Path:
    """The documents that ship."""
    return Path(__file__).parent.parent / "knowledge" / "docs"
