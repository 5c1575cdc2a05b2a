"""Ingestion with an embedding server that goes away, comes back as another one, or is not there at the start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knowledge.errors import EmbeddingUnavailable, IndexMismatch
from settings import Settings, load_settings
from tests.knowledge.test_embedding_endpoint import Answer, FakeVllm
from wiring import ingest_quietly, open_index


@pytest.fixture
def server() -> Iterator[FakeVllm]:
    fake = FakeVllm()
    fake.tokenize = lambda body: (404, {})  # estimates do here, and are quicker
    yield fake
    fake.close()


@pytest.fixture
def settings(server: FakeVllm, database_url: str, tmp_path: Path) -> Settings:
    return load_settings(
        _env_file=None, database_url=database_url, data_dir=tmp_path / "data",
        embed_base_url=server.url, embed_model="mine",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 documents, too many to share one request."""
    folder = tmp_path / "documents"
    folder.mkdir()
    for i in range(60):
        text = "\n\n".join(f"{i}번 문서 {part}번 문단: " + "연차휴가는 15일입니다. " * 30 for part in range(6))
        (folder / f"doc{i:02}.md").write_text(f"# 규정 {i}\n\n{text}", encoding="utf-8")
    return folder


def stored(settings: Settings) -> int:
    with open_index(settings) as index, index.db.connection() as conn:
        row = conn.execute("SELECT count(*) FROM documents").fetchone()
        assert row is not None
        return int(row[0])


def test_a_server_that_goes_away_in_between_loses_nothing(server, settings, folder, capsys):
    plain, answered = server.answer, 0

    def answer(path: str, body: dict[str, Any]) -> Answer:
        nonlocal answered
        answered += path == "/v1/embeddings"
        return (503, {"error": "engine is dead"}) if answered > 4 else plain(path, body)

    server.answer = answer
    with open_index(settings) as index:
        assert ingest_quietly(settings, index, [folder]) != 0
    said = capsys.readouterr().err
    assert server.url in said and "engine is dead" in said and "the same command goes on" in said
    server.answer = plain
    before = stored(settings)
    assert 0 < before < 60
    with open_index(settings) as index:
        server.requests.clear()
        assert ingest_quietly(settings, index, [folder]) == 0
        sent = " ".join(text for path, body, _ in server.requests if path == "/v1/embeddings" for text in body["input"])
        assert sum(f"규정 {i}\n" in sent for i in range(60)) == 60 - before, "what was stored is not embedded again"
    assert stored(settings) == 60


def test_a_server_that_is_away_at_the_start_is_named(server, settings):
    server.close()
    with pytest.raises(EmbeddingUnavailable, match="does not answer") as caught, open_index(settings):
        pass
    assert server.url in str(caught.value) and "EMBED_BASE_URL" in caught.value.hint


def test_a_server_with_another_model_is_refused_with_both_named(server, settings):
    with open_index(settings):
        pass
    server.dimension = 8
    expected = r"mine/endpoint \(4 numbers\).*mine/endpoint \(8 numbers\)"
    with pytest.raises(IndexMismatch, match=expected), open_index(settings):
        pass
