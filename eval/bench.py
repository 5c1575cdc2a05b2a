"""What measurements of search share: the app's embedding with vectors kept on disk, a server, and sets put into an index.

The index is thrown away, the vectors stay, so that a rerun is fast. Knows nothing about what is measured.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.beir import QuestionSet, unknown_passages
from eval.retrieval_cache import CachedEmbedding, VectorCache
from eval.retrieval_index import EvalIndex, store_folder, store_passages, throw_away_index
from ingest.cli.output import names
from knowledge.embedding import GakjuEmbedding
from knowledge.lexemes import Analyzer
from knowledge.servers import EmbeddedServers
from settings import Settings, load_settings
from wiring import manifest_of, open_embedding

_NAMED = 3  # ids in a warning


@dataclass(frozen=True, slots=True)
class Bench:
    """What all sets of a run share. `cached` asks `embedding` for what it does not have."""

    settings: Settings
    servers: EmbeddedServers
    embedding: GakjuEmbedding
    cached: CachedEmbedding
    analyzer: Analyzer


@contextmanager
def open_bench(data_dir: Path | None, *, embedded: bool = False) -> Iterator[Bench]:
    """`data_dir` keeps server and vectors; without it the server is thrown away, the vectors stay in DATA_DIR.

    `embedded`: whatever DATABASE_URL says, for sizes and memory of the server alone.

    Raises:
        SettingsError: a setting has a wrong value.
        SetError: the vectors cannot be kept.
    """
    given: dict[str, Any] = {"data_dir": data_dir.absolute()} if data_dir else {}
    settings = load_settings(**given, **({"database_url": ""} if embedded else {}))
    with ExitStack() as stack:
        scratch = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gakju-eval-")))
        embedding = stack.enter_context(closing(open_embedding(settings)))
        cache = VectorCache(settings.data_dir.absolute() / "cache" / "eval", embedding.spec)
        stack.callback(cache.close)
        servers = stack.enter_context(EmbeddedServers(scratch.absolute()))
        yield Bench(settings, servers, embedding, CachedEmbedding(embedding, cache), Analyzer())


@contextmanager
def index_with(bench: Bench, data: QuestionSet) -> Iterator[EvalIndex]:
    """The set in an index of its own, gone at the end of the block.

    Raises:
        GakjuError: the database does not answer, or a file of the documents that ship was not stored.
    """
    manifest = manifest_of(bench.settings, bench.embedding)
    with throw_away_index(bench.settings, bench.servers, manifest, name=data.name) as index:
        fill(bench, index, data)
        yield index


def fill(bench: Bench, index: EvalIndex, data: QuestionSet) -> None:
    """The set's passages into `index`; says which are missing. A set without any asks the documents that ship."""
    settings, analyzer = bench.settings, bench.analyzer
    if not data.passages:
        store_folder(index, settings.knowledge_dir, settings=settings, embedding=bench.cached, analyzer=analyzer)
        return
    refused = store_passages(
        index, data.passages, embedding=bench.cached, analyzer=analyzer, chunk_tokens=settings.chunk_tokens
    )
    for what, ids in (
        ("passages are empty or no text and cannot be found", refused),
        ("passages that the judgements name are not in the corpus and count as missed", unknown_passages(data)),
        ("questions that are judged are not in queries.jsonl and are left out", data.unasked),
    ):
        if ids:
            print(f"eval: {data.name}: {len(ids)} {what}: {names(ids, at_most=_NAMED)}.", file=sys.stderr)
