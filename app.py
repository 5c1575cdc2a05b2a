"""The `gakju` command: starts the app, ingests, asks. What it works with is built by wiring.py.

    gakju run               the page and its API (what `make run` does)
    gakju ingest add PATH…  documents into the index; status, retry, remove, prune, reembed, watch and verify beside it
    gakju ask "QUESTION"    a question to the running app, from a terminal
    gakju search "QUESTION" what is found for a question, and with --explain why
    gakju eval new-set DIR  questions to your own documents, and with `eval retrieval --set DIR` how well they are found

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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

# Nothing is downloaded or reported at run time, whatever a library's default is.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import uvicorn

from ingest.cli import add_commands
from ingest.cli.tools import opened
from knowledge.errors import GakjuError
from settings import Settings, SettingsError, load_settings
from web.search_arguments import add_arguments as add_search_arguments
from wiring import Index, ingest_quietly, open_index, open_service, open_tools, search_parts

# What loads models or the page is imported where it is used: `gakju ingest status` needs neither.
if TYPE_CHECKING:
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


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminated)  # a stop by a service manager ends like Ctrl-C: everything is closed
    try:
        settings = load_settings()
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for name in ("httpx", "httpx2", "httpcore", "openai"):  # they log URLs, and at DEBUG questions and passages
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("mcp").setLevel(
            logging.CRITICAL
        )  # session ids and tracebacks; pipelines/tools says what failed
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
    search = commands.add_parser("search", help="what is found for a question, and with --explain why")
    add_search_arguments(search)
    search.set_defaults(command=_search)
    # No sign begins an option here: all that follows is the evaluation's own.
    evaluate = commands.add_parser("eval", help="how well your documents are found", add_help=False, prefix_chars="\0")
    evaluate.add_argument("rest", nargs="*")
    evaluate.set_defaults(command=_eval)
    return parser


def _ingest(settings: Settings, arguments: argparse.Namespace) -> int:
    with opened(open_tools(settings), "database", quiet=getattr(arguments, "json", False)) as tools:
        return int(arguments.ingest_command(tools, arguments))


def _ask(settings: Settings, arguments: argparse.Namespace) -> int:
    from web.terminal import ask

    url = arguments.url or f"http://{_url_host(settings)}:{settings.port}"
    return ask(url, arguments.question, session_file=settings.data_dir / "ask-session", new=arguments.new)


def _search(settings: Settings, arguments: argparse.Namespace) -> int:
    with opened(open_index(settings), "index", quiet=arguments.json) as index:
        from web.search_terminal import run

        parts, _ = search_parts(settings, index)
        return run(parts["retriever"], parts["gate"], arguments)


def _eval(settings: Settings, arguments: argparse.Namespace) -> int:
    from eval.__main__ import main as evaluate

    return evaluate(arguments.rest)


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
            await asyncio.to_thread(index.live.follow)
            # Compared, not told: what failed after the switch is done again the next time.
            if service.parts.store.generation.id != index.live.current.generation.id:
                parts, embedding = await asyncio.to_thread(search_parts, settings, index)
                service.use(replace(service.parts, **parts), embedding=embedding)
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
