"""The only wiring: builds everything from the settings and starts it. `gakju` is this module's `main`.

    gakju run               the page and its API (what `make run` does)
    gakju ingest add PATH…  documents into the index; status, retry, remove, prune, reembed, watch and verify beside it
    gakju ask "QUESTION"    a question to the running app, from a terminal

Exit codes: 0 done; 1 done in part; 2 wrong use or setting; 3 something it needs does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from settings import Settings, SettingsError, load_settings

# Nothing is downloaded or reported at run time, whatever a library's default is.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import uvicorn

from ingest.cli import add_commands
from ingest.cli.tools import Tools
from knowledge.database import Database, redact
from knowledge.errors import GakjuError
from knowledge.generations import Generation, Manifest, open_active
from knowledge.servers import EmbeddedServers

# What loads models or the page is imported where it is used: `gakju ingest status` needs neither.
if TYPE_CHECKING:
    from ingest.ingestor import Ingestor
    from ingest.reembedding import Reembedder
    from ingest.workers import Workers
    from knowledge.embedding import GakjuEmbedding
    from knowledge.lexemes import Analyzer
    from knowledge.live_index import LiveIndex
    from knowledge.store import IndexStore
    from pipelines.service import ChatService

log = logging.getLogger("gakju")

WATCH_EVERY_S = 3.0
DRAIN_S = 3
WORKER_THREADS = 32
EXAMPLES = (
    ("ko", "환율이 떨어지면 옥수수 가격이 어떻게 바뀔까?"),
    ("ko", "Gakju는 답을 못 찾으면 어떻게 하나요?"),
    ("ko", "할당관세란 무엇인가요?"),
    ("en", "What happens to the price of maize when the exchange rate falls?"),
    ("en", "How do I connect a language model?"),
    ("en", "What is basis?"),
)


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


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminated)  # a stop by a service manager ends like Ctrl-C: everything is closed
    try:
        settings = load_settings()
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for name in ("httpx", "httpcore", "openai"):  # they log URLs, and at DEBUG questions and passages
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # knowledge/database.py says it once
        return int(arguments.command(settings, arguments))
    except SettingsError as exc:
        print(f"gakju: wrong setting: {exc}", file=sys.stderr)
        return 2
    except GakjuError as exc:
        print(f"gakju: {exc.sentence()}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\ngakju: stopped.", file=sys.stderr)
        return 130


def _terminated(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gakju", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="start the page and its API")
    run.set_defaults(command=_run)
    ingest = commands.add_parser("ingest", help="put documents into the index, and look after them")
    add_commands(ingest)
    ingest.set_defaults(command=_ingest)
    ask = commands.add_parser("ask", help="ask the running app; the conversation goes on until --new")
    ask.add_argument("question", help="the question, in quotes")
    ask.add_argument("--new", action="store_true", help="start a new conversation")
    ask.add_argument("--url", help="where the app runs (default: http://HOST:PORT)")
    ask.set_defaults(command=_ask)
    return parser


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

    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        # Loading the model and starting the database use different resources.
        embedding_job = pool.submit(_embedding, settings)
        servers, db, where = stack.enter_context(open_database(settings))
        embedding = embedding_job.result()
        stack.callback(embedding.close)
        generation = open_active(db, manifest_of(settings, embedding))
        live = LiveIndex(db, generation, embedding, build=lambda manifest: _embedding_of(settings, manifest))
        stack.callback(live.close)
        yield Index(servers, db, live.current.store, embedding, Analyzer(), generation, where, live)


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
        cache_dir=settings.data_dir.absolute() / "cache",
    )


def manifest_of(settings: Settings, embedding: GakjuEmbedding) -> Manifest:
    """What these settings make of documents."""
    from ingest.preparing import chunking

    return Manifest(embedding.spec.to_dict(), chunking(settings.chunk_tokens))


def _embedding(settings: Settings) -> GakjuEmbedding:
    from knowledge.embedding import build_embedding

    return build_embedding(
        base_url=settings.embed_base_url,
        model=settings.embed_model,
        api_key=settings.embed_api_key.get_secret_value(),
        query_prefix=settings.embed_query_prefix,
        passage_prefix=settings.embed_passage_prefix,
        cache_dir=settings.data_dir.absolute() / "cache",
    )


def _ingest(settings: Settings, arguments: argparse.Namespace) -> int:
    with open_database(settings) as (servers, db, _):

        @contextmanager
        def ingestor(collection: str, ray_address: str | None) -> Iterator[Ingestor]:
            from knowledge.lexemes import Analyzer
            from knowledge.store import IndexStore

            embedding = _embedding(settings)
            with closing(embedding), _workers(settings, embedding, Analyzer(), ray_address) as workers:
                store = IndexStore(db, open_active(db, manifest_of(settings, embedding)))
                with open_ingestor(settings, store, collection, workers) as opened:
                    yield opened

        @contextmanager
        def reembedder() -> Iterator[Reembedder]:
            from ingest.preparing import Preparer
            from ingest.reembedding import Reembedder
            from knowledge.lexemes import Analyzer

            embedding = _embedding(settings)
            with closing(embedding):
                preparer = Preparer(embedding, Analyzer(), chunk_tokens=settings.chunk_tokens)
                yield Reembedder(db, manifest_of(settings, embedding), preparer)

        tools = Tools(db, settings.collection, ingestor, reembedder, servers.ensure)
        return int(arguments.ingest_command(tools, arguments))


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
def _workers(
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
            embed_query_prefix=settings.embed_query_prefix,
            embed_passage_prefix=settings.embed_passage_prefix,
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
        _workers(settings, index.embedding, index.analyzer, None) as workers,
        open_ingestor(settings, index.store, settings.collection, workers) as ingestor,
    ):
        return run_quietly(ingestor, paths)


def _ask(settings: Settings, arguments: argparse.Namespace) -> int:
    from web.terminal import ask

    url = arguments.url or f"http://{_url_host(settings)}:{settings.port}"
    return ask(url, arguments.question, session_file=settings.data_dir / "ask-session", new=arguments.new)


def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    _keep_memory_small()
    listener = _listen(settings)
    with listener, open_index(settings) as index, ThreadPoolExecutor() as pool:
        # The slow imports and the Korean model load while documents are checked.
        page_code = pool.submit(__import__, "web.server")
        words = pool.submit(index.analyzer.warm_up)
        if settings.knowledge_dir.is_dir():
            ingest_quietly(settings, index, [settings.knowledge_dir])
        else:
            print(f"KNOWLEDGE_DIR {settings.knowledge_dir} is not a folder: nothing was ingested.", file=sys.stderr)
        page_code.result()
        words.result()
        with open_service(settings, index) as service:
            config = _page(settings, index, service)
            _give_memory_back()
            asyncio.run(_serve(settings, index, service, config, listener))
    print("Stopped.")
    return 0


_M_ARENA_MAX = -8  # glibc's malloc.h


def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libc.so.6") if sys.platform == "linux" else None
    except OSError:
        return None  # another C library: its allocator has no such knobs


def _keep_memory_small() -> None:
    """Threads share one heap instead of eight a core: each would keep what loading and ingesting left in it."""
    libc = _libc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, 1)


def _give_memory_back() -> None:
    """Return what the start needed and the app at rest does not (about 60 MB)."""
    gc.collect()
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def _listen(settings: Settings) -> socket.socket:
    """The listening socket, taken before the slow start so that a port in use is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as exc:
        listener.close()
        raise SettingsError(
            f"PORT={settings.port}: cannot listen on {settings.host}:{settings.port} ({exc.strerror}); "
            "stop what uses it or choose another port."
        ) from exc
    return listener


async def _serve(
    settings: Settings, index: Index, service: ChatService, config: uvicorn.Config, listener: socket.socket
) -> None:
    stop = asyncio.Event()
    server = _Server(config)
    loop = asyncio.get_running_loop()
    # The default of cpus + 4 threads would let one hanging dependency hold up all the others.
    loop.set_default_executor(ThreadPoolExecutor(WORKER_THREADS))
    # Plain handlers, which outlive the loop: a second Ctrl-C during the stop must not leave servers behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.is_closed() or loop.call_soon_threadsafe(stop.set))
    stopping = asyncio.create_task(_stop_when(stop, server))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    watching = asyncio.create_task(_watch(settings, index, service))
    while not server.started and not serving.done():
        await asyncio.sleep(0.02)
    if server.started:
        await _print_ready(settings, service, listener)
    await serving
    watching.cancel()
    stopping.cancel()


@contextmanager
def open_service(settings: Settings, index: Index) -> Iterator[ChatService]:
    """The conversation over `index`, with the memory and the language model that the settings name."""
    from pipelines import llm as chat
    from pipelines.chatlog import ChatLog
    from pipelines.memory import SessionMemory, connect
    from pipelines.service import ChatService, Parts

    url, where = settings.redis_url, redact(settings.redis_url)
    if not url:
        running = index.servers.redis()
        url, where = running.url, running.where
    sessions = SessionMemory(connect(url), ttl_s=settings.session_ttl_hours * 3600)
    search_parts, embedding = _search_parts(settings, index)
    model = (
        chat.connect(
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
        if settings.llm_base_url
        else search_parts.pop("llm")
    )
    parts = Parts(
        db=index.db,
        analyzer=index.analyzer,
        llm=model,
        sessions=sessions,
        chat_log=ChatLog(settings.data_dir.absolute() / "logs" / "chat.jsonl"),
        **search_parts,
    )
    running_on = {"database": index.where, "memory": where, "embedding": embedding}
    try:
        yield ChatService(parts, where=running_on, max_message_chars=settings.max_message_chars)
    finally:
        sessions.close()


def _search_parts(settings: Settings, index: Index) -> tuple[dict[str, Any], str]:
    """The parts of the service that belong to one generation of the index, and what is said of its embedding."""
    from pipelines.gate import Gate
    from pipelines.quote import QuoteLLM
    from pipelines.retriever import EvidenceRetriever

    opened = index.live.current
    spec = opened.embedding.spec
    parts: dict[str, Any] = {
        "store": opened.store,
        "retriever": EvidenceRetriever(opened.searcher, opened.embedding, index.analyzer, top_k=settings.top_k),
        "gate": Gate.load(spec.name),
    }
    if not settings.llm_base_url:
        parts["llm"] = QuoteLLM(analyzer=index.analyzer, embedding=opened.embedding, idf=opened.searcher.idf)
    served_by = settings.embed_base_url if spec.name.endswith("/endpoint") else "bundled"
    return parts, f"{spec.name} ({spec.dimension} numbers, {served_by})"


def _page(settings: Settings, index: Index, service: ChatService) -> uvicorn.Config:
    from web.server import build_app

    # Another site's page must not reach this one through a name of its own (DNS rebinding).
    hosts = [*filter(None, (name.strip() for name in settings.allowed_hosts.split(","))), settings.host]
    secret = index.store.shared_secret("cookie_secret", secrets.token_urlsafe(32))
    app = build_app(service, secret=secret, examples=EXAMPLES, allowed_hosts=hosts)
    return uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=DRAIN_S, server_header=False)


async def _stop_when(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


class _Server(uvicorn.Server):
    """Ends by returning: uvicorn's own would re-raise the signal and so leave the embedded servers running."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


def _url_host(settings: Settings) -> str:
    return f"[{settings.host}]" if ":" in settings.host else settings.host


async def _watch(settings: Settings, index: Index, service: ChatService) -> None:
    """Bring an embedded server back that died; go over to an index that another process switched to."""
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        try:
            await asyncio.to_thread(index.servers.ensure)
            if await asyncio.to_thread(index.live.follow):
                search_parts, embedding = _search_parts(settings, index)
                service.use(replace(service.parts, **search_parts), embedding=embedding)
        except GakjuError as exc:
            log.error("%s", exc.sentence())
        except Exception:  # whatever it was this time, the servers must still be watched
            log.exception("watching the embedded servers")


async def _print_ready(settings: Settings, service: ChatService, listener: socket.socket) -> None:
    health = await service.health()
    about = await service.about()
    if about.is_quoting:
        answers = "quote mode, no language model connected (set LLM_BASE_URL=http://127.0.0.1:8001/v1)"
    else:
        answers = f"{about.llm or 'language model'} at {settings.llm_base_url}"
    down = {"llm": "does not answer yet", "memory": "DOES NOT ANSWER: conversations are not kept", "database": "DOWN"}
    lines = {"database": about.database, "memory": about.memory, "embedding": about.embedding, "llm": answers}
    print(f"\nReady: http://{_url_host(settings)}:{listener.getsockname()[1]}")
    for name, line in lines.items():
        trouble = f"  ({down[name]})" if health.get(name) == "down" else ""
        print(f"  {name:10} {line}{trouble}")
    print(
        f"  {'knowledge':10} {about.documents} documents, {about.chunks} chunks. Ctrl-C stops everything.\n", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
