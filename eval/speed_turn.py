"""What our own work adds to a turn: rewriting, search, prompt, parsing, checking, memory; a stock LlamaIndex chat beside it.

    python -m eval speed turn [--chunks N] [--text FOLDER…] [--questions N] [--keep DIR] [--json FILE]

Synthetic chunks after real text, as in `eval speed search`; `--keep DIR` uses again what that command kept there. Chats
of LlamaIndex have its own store over the same chunks, its own engine, memory and OpenAI client, and the same embedding.
The language model is a local server that answers at once (eval/speed_turn_llm.py). All take turns, with the same
questions at different times. Prints a table as it stands in eval/RESULTS.md. `--quick` shows only that it works.

Exit codes: 0 measured; 2 a wrong option, folder or file; 3 something that is needed does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from eval.answers_service import service_over
from eval.beir import SetError
from eval.bench import Bench, open_bench
from eval.facts import commit_name, load_average, machine_name, must_be_writable, now, write_json
from eval.frame import OK, run_in_frame
from eval.speed_bench import cpu_s
from eval.speed_search_index import SizedIndex, index_of, server_pid
from eval.speed_search_pool import real_questions, real_texts
from eval.speed_search_stock import stock_of
from eval.speed_search_text import CHUNKS_A_DOCUMENT, Maker, make_pool
from eval.speed_turn_chats import Asked, Chat, OurChat, StockChat, has_redis_store
from eval.speed_turn_llm import InstantLlm, instant_llm
from eval.speed_turn_report import Measured, as_json, as_markdown
from pipelines.gate import OPEN
from wiring import manifest_of

_CONVERSATION = 4  # turns; the last one is a follow-up
_FOLLOW_UPS = {
    "ko": ("그건 언제부터 그랬나요?", "그럼 왜 그렇게 되었나요?", "그중에서 가장 중요한 것은 무엇인가요?"),
    "en": ("Since when is that so?", "And why did it happen?", "Which of them is the most important one?"),
}
_WARM_UP = 40  # turns
_SENTENCES, _QUICK_SENTENCES = 6_000, 150  # as `eval speed search`, or an index that it kept would not fit


@dataclass(frozen=True, slots=True)
class Plan:
    chunks: int
    questions: int
    warm_up: int
    sentences: int


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run_in_frame(lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval speed turn", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--chunks", type=int, default=100_000, metavar="N", help="in the store (default: 100000)")
    add("--text", type=Path, nargs="+", default=[], metavar="FOLDER", help="real text and, of BEIR sets, questions")
    add("--questions", type=int, default=200, metavar="N", help="timed turns of each chat (default: 200)")
    add("--keep", type=Path, metavar="DIR", help="server and vectors lie there and stay")
    add("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    add("--quick", action="store_true", help="small, to see that it works")
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.quick:
        return Plan(200, 2 * _CONVERSATION, _CONVERSATION, _QUICK_SENTENCES)
    if arguments.chunks < CHUNKS_A_DOCUMENT or arguments.chunks % CHUNKS_A_DOCUMENT:
        raise SetError(f"--chunks must be a multiple of {CHUNKS_A_DOCUMENT}.")
    if arguments.questions < _CONVERSATION:
        raise SetError(f"--questions must be at least {_CONVERSATION}, the turns of a conversation.")
    return Plan(arguments.chunks, arguments.questions // _CONVERSATION * _CONVERSATION, _WARM_UP, _SENTENCES)


def _run(arguments: argparse.Namespace) -> int:
    plan = _plan(arguments)
    must_be_writable(arguments.json)
    texts = real_texts(arguments.text)
    questions = with_follow_ups(real_questions(arguments.text, plan.warm_up + plan.questions))
    loads = [load_average()]
    with open_bench(arguments.keep, embedded=True) as bench, _index(bench, plan, texts) as index:
        with instant_llm() as llm, _chats(bench, index, llm) as chats:
            loads.append(load_average())
            measured = asyncio.run(_measure(chats, llm, questions, plan, database=server_pid(index.store.db)))
        loads.append(load_average())
        facts = {
            "at": now(),
            "command": _command(arguments),
            "is_quick": arguments.quick,
            "commit": commit_name(),
            "machine": machine_name(),
            "load_averages": loads,
            "embedding": bench.embedding.spec.name,
            "chunks": plan.chunks,
            "turns": plan.questions,
            "conversation": _CONVERSATION,
            "notes": _notes(),
        }
    print(as_markdown(measured, facts))
    if arguments.json:
        write_json(arguments.json, as_json(measured, facts))
    return OK


@contextmanager
def _index(bench: Bench, plan: Plan, texts: Sequence[str]) -> Iterator[SizedIndex]:
    pool = make_pool(texts, analyzer=bench.analyzer, embed=bench.cached.embed_passages, most_sentences=plan.sentences)
    manifest = manifest_of(bench.settings, bench.embedding)
    maker = Maker(pool, bench.analyzer)
    with index_of(plan.chunks, servers=bench.servers, manifest=manifest, maker=maker, pool_name=pool.name) as index:
        yield index


@contextmanager
def _chats(bench: Bench, index: SizedIndex, llm: InstantLlm) -> Iterator[list[Chat]]:
    """Ours, two of LlamaIndex's, and ours without a language model."""
    _say("making the stock store, where it is not there yet …")
    with ExitStack() as stack:
        stock = stack.enter_context(stock_of(index.store, index.url))
        same = {"verify": "rules", "llm_model": "", "rerank_base_url": ""}
        ours = stack.enter_context(service_over(bench, index.store, llm_base_url=llm.base_url, **same))
        quoting = stack.enter_context(service_over(bench, index.store, llm_base_url="", **same))
        redis_url = bench.servers.redis().url
        stocks = [
            StockChat(
                f"stock, {engine}",
                stock,
                engine=engine,
                embedding=bench.embedding,
                base_url=llm.base_url,
                redis_url=redis_url,
                top_k=bench.settings.top_k,
            )
            for engine in ("condense and context", "context")
        ]  # fmt: skip
        for service in (ours, quoting):  # every question is answered: a refusal would be no work
            service.use(replace(service.parts, gate=OPEN), embedding="")
        yield [OurChat("ours", ours), *stocks, OurChat("ours, quote mode", quoting)]


async def _measure(
    chats: Sequence[Chat], llm: InstantLlm, questions: Sequence[str], plan: Plan, *, database: int
) -> list[Measured]:
    warm, timed = questions[: plan.warm_up], questions[plan.warm_up :]
    try:
        await _take_turns(chats, llm, warm, "warming up", database=database)
        return await _take_turns(chats, llm, timed, f"{plan.chunks:,} chunks", database=database)
    finally:
        for chat in chats:
            await chat.close()


async def _take_turns(
    chats: Sequence[Chat], llm: InstantLlm, questions: Sequence[str], what: str, *, database: int
) -> list[Measured]:
    """Each chat has each question once; no two have the same one soon after each other, and who is first changes.

    `database`: process id of its server.
    """
    turns: list[list[Asked]] = [[] for _ in chats]
    spent: list[list[float]] = [[] for _ in chats]
    busy: list[list[float]] = [[] for _ in chats]
    conversations = len(questions) // _CONVERSATION
    for number in range(len(questions)):
        conversation, turn = divmod(number, _CONVERSATION)
        if number % 20 == 0:
            _say(f"{what}: turn {number} of {len(questions)} (load average {load_average()}) …")
        for place in range(len(chats)):
            i = (place + number) % len(chats)
            if turn == 0:
                await chats[i].begin()
            shifted = (conversation + i * conversations // len(chats)) % conversations
            await asyncio.to_thread(llm.spent_ms)
            before_s = time.process_time() + cpu_s(database)
            turns[i].append(await chats[i].ask(questions[shifted * _CONVERSATION + turn]))
            busy[i].append((time.process_time() + cpu_s(database) - before_s) * 1000)
            spent[i].append(await asyncio.to_thread(llm.spent_ms))
    return [
        Measured(chat.name, tuple(asked), tuple(llm_ms), tuple(busy_ms))
        for chat, asked, llm_ms, busy_ms in zip(chats, turns, spent, busy, strict=True)
    ]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def with_follow_ups(questions: Sequence[str]) -> list[str]:
    """Each fourth question gives way to one that leans on the one before it."""
    asked = list(questions)
    for i in range(_CONVERSATION - 1, len(asked), _CONVERSATION):
        phrases = _FOLLOW_UPS["ko" if any("가" <= char <= "힣" for char in asked[i - 1]) else "en"]
        asked[i] = phrases[i // _CONVERSATION % len(phrases)]
    return asked


def _notes() -> str:
    store = "RedisChatStore on the same server" if has_redis_store() else (
        "SimpleChatStore, in the memory of the process (the one in Redis is not installed), which favours it"
    )  # fmt: skip
    return (
        f"Stock: PGVectorStore with hybrid_search over the same chunks and vectors, ChatMemoryBuffer with {store}, "
        'OpenAILike; it neither resolves footnotes nor checks sentences nor keeps a log. "condense and context" has the '
        'language model rewrite each question after the first, as ours does; "context" rewrites nothing. Ours answers every '
        "question here, refusing none, so that each turn has all steps. What stands in "
        "the stream is the time that our client and the events take with the same tokens."
    )


def _command(arguments: argparse.Namespace) -> str:
    parts = ["python -m eval speed turn"]
    parts += (
        ["--quick"] if arguments.quick else ["--chunks", str(arguments.chunks), "--questions", str(arguments.questions)]
    )
    parts += ["--text", *(folder.name for folder in arguments.text)] if arguments.text else []
    return " ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
