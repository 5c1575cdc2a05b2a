"""How fast the app's search is as the index grows, how exact its two legs are, and the store of LlamaIndex beside it.

    python -m eval speed search [--sizes N…] [--text FOLDER…] [--dataset DIR] [--keep DIR] [--plot FILE] [--json FILE]

Synthetic chunks after real text (eval/speed_search_text.py says how), written as ingestion writes them, in a throw-away
embedded server (`--keep DIR` keeps it, and uses again what it holds; 100,000 chunks take 1.5 GB, half of it for the
stock store). Each question: embedding, words, both legs, fusion, one client, after a round that is not timed; ours and
the stock store by turns. Prints a table as it stands in eval/RESULTS.md. `--quick` shows only that it works.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from eval.beir import SetError
from eval.bench import Bench, open_bench
from eval.facts import load_average, must_be_picture, must_be_writable, write_json
from eval.frame import OK, run_in_frame
from eval.speed_search_index import index_of
from eval.speed_search_measures import Asker, measure_size
from eval.speed_search_pool import real_questions, real_texts
from eval.speed_search_quality import Quality, compare_quality
from eval.speed_search_report import Report, SizeReport, as_json, as_markdown
from eval.speed_search_stock import stock_of
from eval.speed_search_text import CHUNKS_A_DOCUMENT, Maker, Pool, make_pool
from wiring import manifest_of

_MOST_SENTENCES = 6_000
_QUICK_SENTENCES = 150


@dataclass(frozen=True, slots=True)
class Plan:
    """`questions`, `exact`: how many are asked, and how many of them exactly, too. `stock_up_to`: chunks."""

    sizes: Sequence[int]
    questions: int
    exact: int
    stock_up_to: int
    sentences: int
    quality_questions: int


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run_in_frame(lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval speed search", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[10_000, 100_000], metavar="N", help="chunks (default: 10000 100000)")
    add("--text", type=Path, nargs="+", default=[], metavar="FOLDER", help="real text and, of BEIR sets, questions")
    add("--dataset", type=Path, metavar="DIR", help="labelled set for nDCG@10 (default: the questions that ship)")
    add("--keep", type=Path, metavar="DIR", help="server and vectors lie there and stay")
    add("--questions", type=int, default=300, metavar="N", help="timed questions (default: 300)")
    add("--exact", type=int, default=50, metavar="N", help="of them compared with exact search (default: 50)")
    add("--stock-up-to", type=int, default=100_000, metavar="N", help="no stock store above N chunks; 0: none, no nDCG")
    add("--plot", type=Path, metavar="FILE", help="draw times over sizes into this PNG")
    add("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    add("--quick", action="store_true", help="small, to see that it works")
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.quick:
        return Plan((200, 400), 8, 8, 400, _QUICK_SENTENCES, 10)
    if min(arguments.sizes) < CHUNKS_A_DOCUMENT or any(size % CHUNKS_A_DOCUMENT for size in arguments.sizes):
        raise SetError(f"--sizes must be multiples of {CHUNKS_A_DOCUMENT}.")
    if arguments.questions < 1 or arguments.exact < 1:
        raise SetError("--questions and --exact must be at least 1.")
    sizes = sorted(set(arguments.sizes))
    return Plan(sizes, arguments.questions, arguments.exact, arguments.stock_up_to, _MOST_SENTENCES, 300)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.plot:
        from eval.speed_search_plot import plot  # now, so that a missing package is noticed before the work

        must_be_picture(arguments.plot)
    plan = _plan(arguments)
    must_be_writable(arguments.json, arguments.plot)
    texts, questions = real_texts(arguments.text), real_questions(arguments.text, plan.questions)
    loads = [load_average()]
    sizes: list[SizeReport] = []
    # The server is always an embedded one: sizes and memory are of it alone.
    with open_bench(arguments.keep, embedded=True) as bench:
        quality = _quality(bench, arguments.dataset, plan) if plan.stock_up_to else None
        pool = make_pool(
            texts, analyzer=bench.analyzer, embed=bench.cached.embed_passages, most_sentences=plan.sentences
        )
        for chunks in plan.sizes:
            sizes.append(_measure(bench, pool, chunks, questions, plan))
            loads.append(load_average())
        report = Report(_command(arguments), loads, bench.embedding.spec.name, len(set(questions)), sizes, quality)
    print(as_markdown(report))
    if arguments.json:
        write_json(arguments.json, as_json(report, is_quick=arguments.quick))
    if arguments.plot:
        plot(report, arguments.plot)
    return OK


def _quality(bench: Bench, dataset: Path | None, plan: Plan) -> Quality:
    print("comparing nDCG@10 …", file=sys.stderr, flush=True)
    return compare_quality(bench, dataset, most_questions=plan.quality_questions)


def _measure(bench: Bench, pool: Pool, chunks: int, questions: Sequence[str], plan: Plan) -> SizeReport:
    print(f"measuring {chunks:,} chunks (load average {load_average()}) …", file=sys.stderr, flush=True)
    manifest = manifest_of(bench.settings, bench.embedding)
    maker = Maker(pool, bench.analyzer)
    with (
        index_of(chunks, servers=bench.servers, manifest=manifest, maker=maker, pool_name=pool.name) as index,
        ExitStack() as stack,
    ):
        on_disk = index.size_on_disk()
        stock = stack.enter_context(stock_of(index.store, index.url)) if chunks <= plan.stock_up_to else None
        asker = Asker(index, bench.embedding, bench.analyzer, top_k=bench.settings.top_k)
        measures = measure_size(asker, questions, exact=plan.exact, index=index, stock=stock)
        theirs = (stock.build_s, stock.bytes_on_disk) if stock else None
        return SizeReport(chunks, index.built, on_disk, measures, theirs)


def _command(arguments: argparse.Namespace) -> str:
    parts = ["python -m eval speed search"]
    parts += ["--quick"] if arguments.quick else ["--sizes", *map(str, arguments.sizes)]
    parts += ["--text", *(folder.name for folder in arguments.text)] if arguments.text else []
    parts += ["--dataset", arguments.dataset.name] if arguments.dataset else []
    return " ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
