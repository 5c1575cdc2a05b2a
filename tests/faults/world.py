"""The real app between proxies that can fail: PostgreSQL, Redis and the language model behind one each.

PostgreSQL and Valkey are the test session's own, so that a killed app leaves them alone and starts again sooner.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from knowledge.servers import EmbeddedServers
from pipelines.events import Turn
from pipelines.memory import SessionMemory, connect
from tests.faults.chat import Shown, ask
from tests.faults.llm_process import PASSAGE, answer_to
from tests.faults.proxy import FaultProxy
from tests.running import ROOT, RunningApp, run_app

HEALED_S = 10.0  # after a dependency came back, a turn works fully within this time
DOCUMENTS = {
    "fx.md": f"{PASSAGE}.",
    "freight.md": "해상 운임도 달러로 내므로 환율이 떨어지면 옥수수 수입 원가의 운임도 원화로 내려간다.",
    "leave.md": "Employees are entitled to fifteen days of annual leave each year.",
}


@dataclass
class World:
    """`memory`: the conversations as they lie in Redis, read past the proxy."""

    data_dir: Path
    environment: dict[str, str]
    postgres: FaultProxy
    redis: FaultProxy
    llm: FaultProxy
    memory: SessionMemory
    prefix: str
    redis_url: str

    @contextmanager
    def app(self) -> Iterator[RunningApp]:
        with run_app(self.data_dir, timeout_s=180, **self.environment) as app:
            yield app

    def all_turns(self) -> dict[str, list[Turn]]:
        """Every stored turn, by session."""
        client = connect(self.redis_url)
        keys = list(client.scan_iter(f"{self.prefix}:{{*}}:order", count=1000))
        client.close()
        return {key.split("{")[1].split("}")[0]: self.memory.turns(key.split("{")[1].split("}")[0]) for key in keys}


@contextmanager
def open_world(servers: EmbeddedServers, database_url: str, folder: Path, *, llm_port: int) -> Iterator[World]:
    """`llm_port`: where the language model listens. The knowledge is three short documents."""
    documents = folder / "docs"
    documents.mkdir()
    for name, text in DOCUMENTS.items():
        (documents / name).write_text(text, encoding="utf-8")
    redis_url, prefix = servers.redis().url, f"faults-{os.urandom(4).hex()}"
    postgres_parts = urlsplit(database_url)
    query = parse_qs(postgres_parts.query)
    socket = f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
    with ExitStack() as stack:
        postgres = stack.enter_context(FaultProxy(socket))
        redis = stack.enter_context(FaultProxy(unquote(urlsplit(redis_url).path)))
        llm = stack.enter_context(FaultProxy(("127.0.0.1", llm_port)))
        memory = SessionMemory(connect(redis_url), ttl_s=3600, prefix=prefix)
        stack.callback(memory.close)
        environment = {
            "DATABASE_URL": f"postgresql://{postgres_parts.username}@127.0.0.1:{postgres.port}{postgres_parts.path}",
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "REDIS_PREFIX": prefix,
            "LLM_BASE_URL": f"http://127.0.0.1:{llm.port}/v1",
            "LLM_FIRST_TOKEN_TIMEOUT_S": "6",
            "LLM_IDLE_TIMEOUT_S": "3",
            "KNOWLEDGE_DIR": str(documents),
        }
        yield World(folder / "data", environment, postgres, redis, llm, memory, prefix, redis_url)


@contextmanager
def llm_process(port: int) -> Iterator[subprocess.Popen[str]]:
    """The language model as a process; ready when this is entered."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.llm_process", str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline().startswith("http")
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def assert_whole_or_marked(turn: Turn, name: str = "") -> None:
    """The promise of a stored turn: ended, what it says was said, and each footnote that a reader sees opens."""
    assert turn.status in ("complete", "interrupted", "failed"), f"{turn.turn_id} is {turn.status}: a half turn"
    if name and turn.llm not in ("instant answer", "quote mode") and not turn.refused:
        said = answer_to(name)
        assert said.startswith(turn.answer.rstrip()), f"{turn.answer[-80:]!r} was never said to {name}"
        if turn.status == "complete":
            assert turn.answer == said, f"{turn.turn_id} counts as complete at {len(turn.answer)} of {len(said)}"
    numbers = {citation.n for citation in turn.citations}
    for n in (1, 2):
        assert f"[{n}]" not in turn.answer or n in numbers, f"[{n}] of {turn.turn_id} opens nothing"


def healed(app: RunningApp, question: str, session_id: str, *, is_good: Callable[[Shown], bool]) -> Shown:
    """The first good answer, asked for again until HEALED_S are over."""
    until = time.monotonic() + HEALED_S
    while True:
        began = time.monotonic()
        try:
            shown = ask(app.url, question, session_id)
        except (OSError, HTTPException) as exc:
            shown = ("", {"error": {"message": repr(exc)}})
        if is_good(shown):
            return shown
        assert began < until, f"not healed after {HEALED_S} s: {shown[1].get('error')} {shown[1].get('notice')}"
        time.sleep(0.3)
