"""An index of a given number of synthetic chunks: written as ingestion writes, its indexes built as ingestion builds them.

One database a size on the given server. One that is there already, complete and made of the same, is used again.
Knows nothing about questions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from eval.speed_bench import descendants, resident_bytes
from eval.speed_search_text import CHUNKS_A_DOCUMENT, Filled, Maker
from knowledge.database import Database
from knowledge.generations import Manifest, open_active
from knowledge.search_indexes import build_indexes
from knowledge.servers import EmbeddedServers
from knowledge.store import IndexStore

_WRITERS = 2  # as the ingestor has
_WAITING = 4  # documents made and not yet written
_FACTS = "speed of search"
_SAMPLE_S = 0.5
_SIZES = """
SELECT pg_table_size(%(table)s::regclass),
       coalesce(sum(pg_relation_size(i.indexrelid)) FILTER (WHERE m.amname = 'hnsw'), 0)::bigint,
       coalesce(sum(pg_relation_size(i.indexrelid)) FILTER (WHERE m.amname = 'gin'), 0)::bigint,
       pg_total_relation_size('term_counts'), pg_database_size(current_database())
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = %(table)s::regclass
"""


@dataclass(frozen=True, slots=True)
class Built:
    """What making an index took, in seconds, and the most memory of the server meanwhile, in bytes (PSS)."""

    write_s: float
    settle_s: float
    indexes_s: float
    peak_bytes: int
    distinct_lexemes: float


@dataclass(frozen=True, slots=True)
class SizeOnDisk:
    """Bytes. `chunks`: rows with text, vector and words; `everything`: the whole database."""

    chunks: int
    meaning_index: int
    words_index: int
    term_counts: int
    everything: int


@dataclass(frozen=True, slots=True)
class SizedIndex:
    store: IndexStore
    url: str
    chunks: int
    built: Built

    @property
    def table(self) -> str:
        return f"chunks_{self.store.generation.id}"

    def size_on_disk(self) -> SizeOnDisk:
        with self.store.db.connection() as conn:
            row = conn.execute(_SIZES, {"table": self.table}).fetchone()
        assert row is not None
        return SizeOnDisk(*row)


@contextmanager
def index_of(
    chunks: int, *, servers: EmbeddedServers, manifest: Manifest, maker: Maker, pool_name: str
) -> Iterator[SizedIndex]:
    """`chunks`: a multiple of `CHUNKS_A_DOCUMENT`.

    Raises:
        GakjuError: the database does not answer.
    """
    made_of = json.dumps([manifest.to_dict(), pool_name], sort_keys=True)
    name = f"speed_search_{chunks}_{hashlib.sha256(made_of.encode()).hexdigest()[:10]}"
    server_url = servers.postgres().url
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    server = Database(server_url, max_size=1)
    with contextlib.closing(server.dedicated()) as conn:
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            conn.execute(f"CREATE DATABASE {name}".encode())
    built = _facts(url, manifest)
    if built is None:
        with contextlib.closing(server.dedicated()) as conn:  # of a run that was stopped
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            conn.execute(f"CREATE DATABASE {name}".encode())
    with _opened(url) as db:
        store = IndexStore(db, open_active(db, manifest))
        if built is None:
            built = _fill(store, chunks, maker)
            with db.connection() as connection:
                connection.execute("INSERT INTO app_state VALUES (%s, %s)", (_FACTS, json.dumps(asdict(built))))
        yield SizedIndex(store, url, chunks, built)


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    db = Database(url)
    try:
        db.open()
        yield db
    finally:
        db.close()


def _facts(url: str, manifest: Manifest) -> Built | None:
    with _opened(url) as db:
        open_active(db, manifest)
        with db.connection() as conn:
            row = conn.execute("SELECT value FROM app_state WHERE key = %s", (_FACTS,)).fetchone()
    return Built(**json.loads(row[0])) if row else None


def _fill(store: IndexStore, chunks: int, maker: Maker) -> Built:
    documents = chunks // CHUNKS_A_DOCUMENT
    lexemes = 0
    with peak_memory(server_pid(store.db)) as peak:
        began = time.perf_counter()
        with ThreadPoolExecutor(_WRITERS) as writers:
            waiting: list[Future[bool]] = []
            for number, item in enumerate(maker.documents(0, documents), start=1):
                lexemes += sum(len(chunk.terms) for chunk in item[1])
                waiting.append(writers.submit(_write, store, item))
                if len(waiting) > _WAITING:
                    waiting.pop(0).result()
                if number % 100 == 0:
                    _say(f"{number * CHUNKS_A_DOCUMENT:,} of {chunks:,} chunks, {time.perf_counter() - began:.0f} s")
            for done in waiting:
                done.result()
        written = time.perf_counter()
        store.settle()
        settled = time.perf_counter()
        _say(f"building the indexes of {chunks:,} chunks")
        build_indexes(store.db, store.generation)
        ended = time.perf_counter()
    return Built(written - began, settled - written, ended - settled, peak[0], lexemes / chunks)


def _write(store: IndexStore, item: Filled) -> bool:
    return store.replace(*item, reading="synthetic", settle=False)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def server_pid(db: Database) -> int:
    """Of the process that all processes of the embedded server descend from."""
    with db.connection() as conn:
        row = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(Path(f"/proc/{row[0]}/stat").read_text().rpartition(")")[2].split()[1])


def server_bytes(pid: int) -> int:
    """Resident memory of the server, pages that its processes share counted once."""
    return sum(_proportional_bytes(item) for item in [pid, *descendants(pid)])


def _proportional_bytes(pid: int) -> int:
    """Resident memory of a process, each page divided by the number of processes that share it."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except ProcessLookupError:
        return 0
    except OSError:  # another user's: shared pages count for each
        return resident_bytes(pid)
    return 0


@contextmanager
def peak_memory(pid: int) -> Iterator[list[int]]:
    """The largest `server_bytes` while the block runs; read it afterwards."""
    peak = [server_bytes(pid)]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            peak[0] = max(peak[0], server_bytes(pid))

    watcher = threading.Thread(target=watch, name="memory", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
