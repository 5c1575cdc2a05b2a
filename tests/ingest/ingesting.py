"""The real ingestor and the real commands over a test's own database."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingest.cli import add_commands
from ingest.cli.tools import Tools
from ingest.files import find_files
from ingest.ingestor import Ingestor
from ingest.preparing import Preparer
from ingest.readers import SUPPORTED
from ingest.results import FileResult
from ingest.workers import LocalWorkers
from knowledge.database import Database
from knowledge.embedding import GakjuEmbedding
from knowledge.file_states import FileStates
from knowledge.lexemes import Analyzer
from knowledge.store import IndexStore

ROOT = Path(__file__).parent.parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
FILE_TIMEOUT_S = 60.0


class Ingestors:
    """Opens ingestors over one index; `max_file_bytes` is what they refuse above."""

    def __init__(
        self, db: Database, store: IndexStore, embedding: GakjuEmbedding, analyzer: Analyzer, max_file_bytes: int
    ) -> None:
        self._db = db
        self._store = store
        self._preparer = Preparer(embedding, analyzer, chunk_tokens=256)
        self._max_file_bytes = max_file_bytes

    @contextmanager
    def open(self, collection: str = "default", ray_address: str | None = None) -> Iterator[Ingestor]:
        limits: dict[str, Any] = {"max_file_bytes": self._max_file_bytes, "file_timeout_s": FILE_TIMEOUT_S}
        workers = LocalWorkers(self._preparer, readers=1, **limits)
        try:
            with FileStates(self._db, collection) as states:
                yield Ingestor(self._store, states, workers, **limits)
        finally:
            workers.close()

    def run(self, *paths: Path, collection: str = "default", again: bool = False) -> list[FileResult]:
        files, _ = find_files(paths, supported=SUPPORTED)
        with self.open(collection) as ingestor:
            return list(ingestor.run(files, again=again))

    def tools(self) -> Tools:
        def no_reembedder() -> None:
            raise AssertionError("not used here")

        return Tools(self._db, "default", self.open, no_reembedder)  # type: ignore[arg-type]


def command(tools: Tools, *arguments: object) -> int:
    """`gakju ingest ARGUMENTS…` in this process; the exit code."""
    parser = argparse.ArgumentParser(prog="gakju ingest")
    add_commands(parser)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.ingest_command(tools, parsed))


def environment(database_url: str, data_dir: Path) -> dict[str, str]:
    return os.environ | {"DATABASE_URL": database_url, "DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}


def run_command(database_url: str, data_dir: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -m ingest ARGUMENTS…` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ingest", *map(str, arguments)],
        env=environment(database_url, data_dir), cwd=ROOT, text=True, capture_output=True, timeout=180,
    )  # fmt: skip


def digest(db: Database) -> list[tuple]:
    """Everything that a search can see of the index."""
    with db.connection() as conn:
        return conn.execute(
            "SELECT d.path, d.content_hash, d.title, d.text, d.blocks::text, c.ordinal, c.id, c.text, c.start_char, "
            "c.end_char, c.embedding::text, c.term_ids::text FROM documents d "
            "JOIN chunks c ON (c.generation_id, c.document_id) = (d.generation_id, d.id) ORDER BY d.path, c.ordinal"
        ).fetchall()
