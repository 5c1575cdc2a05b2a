"""What most tests of ingestion share."""

from __future__ import annotations

import pytest

from tests.ingest.ingesting import Ingestors


@pytest.fixture
def ingestors(db, store, embedding, analyzer) -> Ingestors:
    return Ingestors(db, store, embedding, analyzer, max_file_bytes=5_000_000)
