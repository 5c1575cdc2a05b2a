"""Builds what the app and its commands work with from the settings: the one place that knows both.

What loads models is imported where it is used: `gakju ingest status` needs none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.cli.tools import Tools
from knowledge.database import Database, redact
from knowledge.errors import GakjuError
from knowledge.generations import Generation, Manifest, open_active
from knowledge.servers import EmbeddedServers
from settings import Settings, SettingsError

if TYPE_CHECKING:
    from ingest.ingestor import Ingestor
    from ingest.reembedding import Reembedder
    from ingest.workers import Workers
    from knowledge.embedding import GakjuEmbedding
    from knowledge.lexemes import Analyzer
    from knowledge.live_index import LiveIndex
    from knowledge.store import IndexStore
    from pipelines.llm import VllmChat
    from pipelines.personas import Persona
    from pipelines.rerank import Reranker
    from pipelines.service import ChatService

log = logging.getLogger(__name__)

# Of one answer of PostgreSQL to whoever serves people; ingesting waits as long as it takes. Below the 10 s in which an
# app must work again after an outage: until then, a connection that waits for a lost answer is one less.
ANSWER_LIMIT_S = 8.0


@dataclass(frozen=True, slots=True)
class Index:
    """The open index and what works on it."""

    servers: EmbeddedServers
    db: Database
    store: IndexStore
    embedding: GakjuEmbedding
    analyzer: Analyzer
    generation: Generation
    where: str
    live: LiveIndex
    reranker: Reranker | None = None  # of no generation: it outlives a switch


@contextmanager
def open_database(settings: Settings) -> Iterator[tuple[EmbeddedServers, Database, str]]:
    """The servers, the database that the settings name (an embedded one if none), and where it is; closed at the end.

    Raises:
        GakjuError: the database does not answer, an embedded server does not start.
    """
    with ExitStack() as stack:
        servers = stack.enter_context(EmbeddedServers(settings.data_dir.absolute()))
        if settings.database_url:
            db, where = Database(settings.database_url), redact(settings.database_url)
        else:
            running = servers.postgres()
            db, where = Database(running.url, where=running.where), running.where
        stack.callback(db.close)
        db.open()
        yield servers, db, where


@contextmanager
def open_index(settings: Settings) -> Iterator[Index]:
    """Everything that ingesting and searching need, embedded servers included; closed again at the end.

    Raises:
        GakjuError: the database does not answer, an embedded server does not start, the index was built otherwise.
    """
    from knowledge.lexemes import Analyzer
    from knowledge.live_index import LiveIndex
    from knowledge.store import IndexStore

    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        # Loading the model and starting the database use different resources.
        embedding_job = pool.submit(open_embedding, settings)
        servers, db, where = stack.enter_context(open_database(settings))
        embedding = embedding_job.result()
        stack.callback(embedding.close)
        generation = open_active(db, manifest_of(settings, embedding))
        hurried = db.within(ANSWER_LIMIT_S)
        live = LiveIndex(hurried, generation, embedding, build=lambda manifest: _embedding_of(settings, manifest))
        stack.callback(live.close)
        reranker = _reranker(settings)
        if reranker is not None:
            stack.callback(reranker.close)
        store = IndexStore(db, generation)
        yield Index(servers, db, store, embedding, Analyzer(), generation, where, live, reranker)


def _embedding_of(settings: Settings, manifest: Manifest) -> GakjuEmbedding | None:
    """The embedder of another generation, if these settings lead to it: the bundled one, or a model of their server."""
    from knowledge.embedding import build_embedding

    name = str(manifest.embedding["name"])
    model = name.removesuffix("/endpoint")
    is_bundled = model == name
    if not is_bundled and not settings.embed_base_url:
        return None
    return build_embedding(
        base_url="" if is_bundled else settings.embed_base_url,
        model="" if is_bundled else model,
        api_key=settings.embed_api_key.get_secret_value(),
        query_prefix=str(manifest.embedding["query_prefix"]),
        passage_prefix=str(manifest.embedding["passage_prefix"]),
        dimensions=0 if is_bundled else manifest.dimension,
        cache_dir=settings.data_dir.absolute() / "cache",
    )


def manifest_of(settings: Settings, embedding: GakjuEmbedding) -> Manifest:
    """What these settings make of documents."""
    from ingest.preparing import chunking

    return Manifest(embedding.spec.to_dict(), chunking(settings.chunk_tokens))


def open_embedding(settings: Settings) -> GakjuEmbedding:
    from knowledge.embedding import build_embedding, configured_prefix

    return build_embedding(
        base_url=settings.embed_base_url,
        model=settings.embed_model,
        api_key=settings.embed_api_key.get_secret_value(),
        query_prefix=configured_prefix(settings.embed_query_prefix),
        passage_prefix=configured_prefix(settings.embed_passage_prefix),
        dimensions=settings.embed_dimensions,
        cache_dir=settings.data_dir.absolute() / "cache",
    )


@contextmanager
def open_tools(settings: Settings) -> Iterator[Tools]:
    """What the ingestion commands work with; models are loaded when one of them needs them."""
    with open_database(settings) as (servers, db, _):

        @contextmanager
        def ingestor(collection: str, ray_address: str | None) -> Iterator[Ingestor]:
            from knowledge.lexemes import Analyzer
            from knowledge.store import IndexStore

            embedding = open_embedding(settings)
            with closing(embedding), open_workers(settings, embedding, Analyzer(), ray_address) as workers:
                store = IndexStore(db, open_active(db, manifest_of(settings, embedding)))
                with open_ingestor(settings, store, collection, workers) as opened:
                    yield opened

        @contextmanager
        def reembedder() -> Iterator[Reembedder]:
            from ingest.preparing import Preparer
            from ingest.reembedding import Reembedder
            from knowledge.lexemes import Analyzer

            embedding = open_embedding(settings)
            with closing(embedding):
                preparer = Preparer(embedding, Analyzer(), chunk_tokens=settings.chunk_tokens)
                yield Reembedder(db, manifest_of(settings, embedding), preparer)

        yield Tools(db, settings.collection, ingestor, reembedder, servers.ensure)


@contextmanager
def open_ingestor(settings: Settings, store: IndexStore, collection: str, workers: Workers) -> Iterator[Ingestor]:
    """Puts files into `collection`; a run of it lives as long as this context."""
    from ingest.ingestor import Ingestor
    from knowledge.file_states import FileStates

    with FileStates(store.db, collection) as states:
        yield Ingestor(
            store,
            states,
            workers,
            max_file_bytes=settings.max_file_mb * 1_000_000,
            file_timeout_s=settings.file_timeout_s,
        )


@contextmanager
def open_workers(
    settings: Settings, embedding: GakjuEmbedding, analyzer: Analyzer, ray_address: str | None
) -> Iterator[Workers]:
    """This machine's processors, or with an address a Ray cluster's."""
    from ingest.preparing import Preparer
    from ingest.workers import LocalWorkers

    max_file_bytes, file_timeout_s = settings.max_file_mb * 1_000_000, settings.file_timeout_s
    workers: Workers
    if ray_address is None:
        preparer = Preparer(embedding, analyzer, chunk_tokens=settings.chunk_tokens)
        workers = LocalWorkers(preparer, max_file_bytes=max_file_bytes, file_timeout_s=file_timeout_s)
    else:
        from ingest.ray_cluster import RayWorkers
        from ingest.ray_worker import WorkerRecipe

        recipe = WorkerRecipe(
            chunk_tokens=settings.chunk_tokens,
            max_file_bytes=max_file_bytes,
            file_timeout_s=file_timeout_s,
            embed_base_url=settings.embed_base_url,
            embed_model=settings.embed_model,
            embed_api_key=settings.embed_api_key.get_secret_value(),
            embed_query_prefix=embedding.spec.query_prefix,
            embed_passage_prefix=embedding.spec.passage_prefix,
            embed_dimensions=settings.embed_dimensions,
        )
        workers = RayWorkers(recipe, manifest=manifest_of(settings, embedding), address=ray_address)
    try:
        yield workers
    finally:
        workers.close()


def ingest_quietly(settings: Settings, index: Index, paths: Sequence[Path]) -> int:
    """Ingest into the default collection and tell only of changes, failures and long work; the command's exit code."""
    from ingest.cli.add import run_quietly

    with (
        open_workers(settings, index.embedding, index.analyzer, None) as workers,
        open_ingestor(settings, index.store, settings.collection, workers) as ingestor,
    ):
        return run_quietly(ingestor, paths)


@contextmanager
def open_service(settings: Settings, index: Index) -> Iterator[ChatService]:
    """The conversation over `index`, with the memory and the language model that the settings name."""
    from knowledge.views import Views
    from pipelines.breaker import Breakers
    from pipelines.chatlog import ChatLog
    from pipelines.checking import Judge, RuleChecker
    from pipelines.memory import SessionMemory, connect
    from pipelines.memory_tools import ToolCache
    from pipelines.service import ChatService, Parts
    from pipelines.tools.toolbox import open_toolbox

    url, where = settings.redis_url, redact(settings.redis_url)
    if not url:
        running = index.servers.redis()
        url, where = running.url, running.where
    client, breakers, db = connect(url), Breakers(failures=1), index.db.within(ANSWER_LIMIT_S)
    sessions = SessionMemory(
        client, ttl_s=settings.session_ttl_hours * 3600, prefix=settings.redis_prefix, breakers=breakers
    )
    parts_of_index, embedding = search_parts(settings, index)
    model = connect_llm(settings) if settings.llm_base_url else parts_of_index.pop("llm")
    views = Views(db)
    cache = ToolCache(client, prefix=settings.redis_prefix, breakers=breakers)
    toolbox = open_toolbox(settings.tools_file, cache=cache)
    parts = Parts(
        db=db,
        analyzer=index.analyzer,
        llm=model,
        sessions=sessions,
        chat_log=ChatLog(settings.data_dir.absolute() / "logs" / "chat.jsonl"),
        checker=None if settings.verify == "off" else RuleChecker(index.analyzer),
        personas=_personas(settings),
        views=views,
        toolbox=toolbox,
        judge=Judge(model) if settings.verify == "llm" and settings.llm_base_url else None,
        **parts_of_index,
    )
    running_on = {"database": index.where, "memory": where, "embedding": embedding}
    try:
        yield ChatService(parts, where=running_on, max_message_chars=settings.max_message_chars)
    finally:
        toolbox.close()
        views.close()
        sessions.close()


def connect_llm(settings: Settings) -> VllmChat:
    """The language model that the settings name; makes no call."""
    from pipelines import llm as chat

    return chat.connect(
        base_url=settings.llm_base_url,
        model=settings.llm_model,
        api_key=settings.llm_api_key.get_secret_value(),
        temperature=settings.llm_temperature,
        max_tokens=settings.llm_max_tokens,
        timeouts=chat.Timeouts(
            connect_s=settings.llm_connect_timeout_s,
            first_token_s=settings.llm_first_token_timeout_s,
            idle_s=settings.llm_idle_timeout_s,
            total_s=settings.llm_total_timeout_s,
        ),
    )


def _personas(settings: Settings) -> dict[str, Persona]:
    from pipelines.personas import PersonasError, load_personas

    if settings.personas_file is None:
        return {}
    try:
        return load_personas(settings.personas_file)
    except PersonasError as exc:
        raise SettingsError(f"PERSONAS_FILE: {exc}") from exc


def _reranker(settings: Settings) -> Reranker | None:
    if not settings.rerank_base_url:
        return None
    from pipelines.rerank import Reranker
    from pipelines.rerank_client import RerankClient

    key = settings.rerank_api_key.get_secret_value()
    client = RerankClient(settings.rerank_base_url, model=settings.rerank_model, api_key=key)
    return Reranker(client, top_n=settings.rerank_top_n, timeout_s=settings.rerank_timeout_s)


def search_parts(settings: Settings, index: Index) -> tuple[dict[str, Any], str]:
    """The parts of the service that belong to one generation of the index, and what is said of its embedding."""
    from knowledge.embedding.recent import RecentQuestions
    from knowledge.instant_refill import refill
    from knowledge.related_rows import RelatedRows
    from pipelines.gate import Gate
    from pipelines.instant import InstantAnswers
    from pipelines.quote import QuoteLLM
    from pipelines.related import RelatedQuestions
    from pipelines.retriever import EvidenceRetriever

    opened = index.live.current
    try:
        refill(index.db, opened.generation)  # of documents that an older Gakju stored
    except GakjuError as exc:  # they are then answered by search, as before
        log.warning("FAQ and glossary rows of older documents were not found: %s", exc.sentence())
    spec = opened.embedding.spec
    embedding = RecentQuestions(opened.embedding)
    parts: dict[str, Any] = {
        "store": opened.store,
        "retriever": EvidenceRetriever(
            opened.searcher,
            embedding,
            index.analyzer,
            top_k=settings.top_k,
            reranker=index.reranker,
        ),
        "gate": Gate.load(spec.name),
        "instant": InstantAnswers(index.db.within(ANSWER_LIMIT_S), opened.generation, index.analyzer),
    }
    if settings.related == "on":
        rows = RelatedRows(index.db.within(ANSWER_LIMIT_S), opened.generation)
        parts["related"] = RelatedQuestions(
            rows, parts["retriever"], parts["gate"], index.analyzer, instant=parts["instant"]
        )
    if not settings.llm_base_url:
        parts["llm"] = QuoteLLM(analyzer=index.analyzer, embedding=embedding, idf=opened.searcher.idf)
    served_by = settings.embed_base_url if spec.name.endswith("/endpoint") else "bundled"
    return parts, f"{spec.name} ({spec.dimension} numbers, {served_by})"
