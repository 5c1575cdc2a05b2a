"""Ingestion from end to end against the embedder alone on the very same texts: what all the rest costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from eval.speed_bench import Bench, Line, Measured, Spent, by_turns, clock, median_and_spread
from eval.speed_files import copy_with_variants
from ingest.files import find_files
from ingest.preparing import Prepared, Preparer
from ingest.readers import SUPPORTED
from ingest.workers import LocalWorkers
from knowledge.embedding import GakjuEmbedding, build_embedding
from knowledge.lexemes import Analyzer
from knowledge.types import ParsedDocument
from settings import PROJECT_DIR, Settings, load_settings
from wiring import manifest_of, open_ingestor

GOAL = 0.9
_VARIANTS = 2


class _Recording(Preparer):
    """Notes what is embedded, so that the same can be embedded again."""

    def __init__(self, embedding: GakjuEmbedding, analyzer: Analyzer, *, chunk_tokens: int) -> None:
        super().__init__(embedding, analyzer, chunk_tokens=chunk_tokens)
        self.texts: list[str] = []

    def prepare(self, parsed: ParsedDocument) -> Prepared:
        prepared = super().prepare(parsed)
        self.texts.extend(prepared.search_texts)
        return prepared


def measure(bench: Bench) -> Measured:
    variants, rounds = (0, 1) if bench.is_quick else (_VARIANTS, 4)
    folder = bench.scratch / "documents"
    copy_with_variants(PROJECT_DIR / "knowledge" / "docs", folder, variants=variants)
    settings = load_settings(data_dir=bench.scratch, database_url="", embed_base_url="")
    with closing(build_embedding(cache_dir=bench.scratch / "cache")) as embedding:
        recording = _Recording(embedding, Analyzer(), chunk_tokens=settings.chunk_tokens)
        _ingest(bench, settings, embedding, recording, folder)  # loads the Korean model, fills caches
        texts = list(recording.texts)
        ingested, embedded = by_turns(
            rounds,
            lambda _: _ingest(bench, settings, embedding, recording, folder),
            lambda _: _embed(embedding, texts),
        )
    shares = [b.wall_s / a.wall_s for a, b in zip(ingested, embedded, strict=True)]
    cpu_shares = [b.cpu_s / a.cpu_s for a, b in zip(ingested, embedded, strict=True)]
    share = statistics.median(shares)
    lines = [
        Line(
            f"ingestion over the embedder alone, {len(texts):,} chunks",
            _percent(shares),
            f"≥ {GOAL:.0%}",
            share >= GOAL,
        ),
        Line(
            "… chunks/s from end to end", median_and_spread([len(texts) / item.wall_s for item in ingested], digits=1)
        ),
        Line(
            "… chunks/s of the embedder alone",
            median_and_spread([len(texts) / item.wall_s for item in embedded], digits=1),
        ),
        Line("… processor seconds from end to end", median_and_spread([item.cpu_s for item in ingested], digits=1)),
        Line("… of the embedder alone", median_and_spread([item.cpu_s for item in embedded], digits=1)),
    ]
    numbers = {
        "chunks": len(texts),
        "ingest_s": [item.wall_s for item in ingested],
        "ingest_cpu_s": [item.cpu_s for item in ingested],
        "embed_s": [item.wall_s for item in embedded],
        "embed_cpu_s": [item.cpu_s for item in embedded],
        "share": share,
        "cpu_share": statistics.median(cpu_shares),
    }
    return Measured(lines, numbers)


def _percent(shares: Iterable[float]) -> str:
    return median_and_spread([100 * share for share in shares], unit=" %", digits=1)


def _ingest(bench: Bench, settings: Settings, embedding: GakjuEmbedding, preparer: Preparer, folder: Path) -> Spent:
    """Into an empty index, with everything that the command does but loading models."""
    with bench.index(manifest_of(settings, embedding)) as (store, _), clock() as spent:
        files, _ = find_files([folder], supported=SUPPORTED)
        new_workers = LocalWorkers(
            preparer, max_file_bytes=settings.max_file_mb * 1_000_000, file_timeout_s=settings.file_timeout_s
        )
        with (
            closing(new_workers) as workers,
            open_ingestor(settings, store, settings.collection, workers) as ingestor,
        ):
            results = list(ingestor.run(files))
    failed = [result.error for result in results if result.outcome != "added"]
    if failed:
        raise RuntimeError(f"not all documents were added: {failed[:3]}")
    return spent()


def _embed(embedding: GakjuEmbedding, texts: list[str]) -> Spent:
    with clock() as spent:
        embedding.embed_passages(texts)
    return spent()
