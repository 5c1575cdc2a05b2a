"""How fast the app's search is as the index grows, how exact its two legs are, and the store of LlamaIndex beside it.

    python -m eval speed search [--sizes N…] [--text FOLDER…] [--dataset DIR] [--keep DIR] [--plot FILE] [--json FILE]

Synthetic chunks after real text (eval/speed_search_text.py says how), written as ingestion writes them, in a throw-away
embedded server (`--keep DIR` keeps it, and uses again what it holds; 100,000 chunks take 1.5 GB, half of it for the
stock store). Each question: embedding, words, both legs, fusion, one client, after a round that is not timed; ours and
the stock store by turns. Prints a table as it stands in eval/RESULTS.md. `--quick` shows only that it works.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from eval.beir import SetError
from eval.retrieval_cache import CachedEmbedding, VectorCache
from eval.speed import load_average
from eval.speed_search_index import index_of
from eval.speed_search_measures import Asker, measure_size
from eval.speed_search_pool import real_questions, real_texts
from eval.speed_search_quality import Quality, compare_quality
from eval.speed_search_report import Report, SizeReport, as_json, as_markdown
from eval.speed_search_stock import stock_of
from eval.speed_search_text import CHUNKS_A_DOCUMENT, Maker, Pool, make_pool
from knowledge.embedding import GakjuEmbedding
from knowledge.errors import GakjuError
from knowledge.lexemes import Analyzer
from knowledge.servers import EmbeddedServers
from settings import Settings, SettingsError, load_settings
from wiring import manifest_of, open_embedding

OK, WRONG_USE, AWAY, STOPPED = 0, 2, 3, 130
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


@dataclass(frozen=True, slots=True)
class Place:
    settings: Settings
    servers: EmbeddedServers
    embedding: GakjuEmbedding
    cached: CachedEmbedding
    analyzer: Analyzer


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments)
    except (SetError, SettingsError) as exc:
        print(f"eval: {exc}", file=sys.stderr)
        return WRONG_USE
    except ModuleNotFoundError as exc:
        print(f"eval: {exc.name} is not installed; `pip install 'gakju[eval]'` brings it.", file=sys.stderr)
        return WRONG_USE
    except GakjuError as exc:
        print(f"eval: {exc.sentence()}", file=sys.stderr)
        return AWAY
    except KeyboardInterrupt:
        return STOPPED


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
    plan = _plan(arguments)
    texts, questions = real_texts(arguments.text), real_questions(arguments.text, plan.questions)
    loads = [load_average()]
    sizes: list[SizeReport] = []
    with _place(arguments.keep) as place:
        quality = _quality(place, arguments.dataset, plan) if plan.stock_up_to else None
        pool = make_pool(
            texts, analyzer=place.analyzer, embed=place.cached.embed_passages, most_sentences=plan.sentences
        )
        for chunks in plan.sizes:
            sizes.append(_measure(place, pool, chunks, questions, plan))
            loads.append(load_average())
        report = Report(_command(arguments), loads, place.embedding.spec.name, len(set(questions)), sizes, quality)
    print(as_markdown(report))
    if arguments.json:
        content = json.dumps(as_json(report, is_quick=arguments.quick), indent=1, ensure_ascii=False)
        arguments.json.write_text(f"{content}\n", encoding="utf-8")
    if arguments.plot:
        plot(report, arguments.plot)
    return OK


@contextmanager
def _place(keep: Path | None) -> Iterator[Place]:
    """The embedder is the app's, the server always an embedded one: sizes and memory are of it alone."""
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gakju-speed-")))
        settings = load_settings(data_dir=folder.absolute(), database_url="")
        embedding = stack.enter_context(closing(open_embedding(settings)))
        cache = VectorCache(settings.data_dir / "cache" / "eval", embedding.spec)
        stack.callback(cache.close)
        servers = stack.enter_context(EmbeddedServers(settings.data_dir))
        yield Place(settings, servers, embedding, CachedEmbedding(embedding, cache), Analyzer())


def _quality(place: Place, dataset: Path | None, plan: Plan) -> Quality:
    print("comparing nDCG@10 …", file=sys.stderr, flush=True)
    return compare_quality(
        dataset,
        settings=place.settings,
        servers=place.servers,
        embedding=place.cached,
        analyzer=place.analyzer,
        most_questions=plan.quality_questions,
    )


def _measure(place: Place, pool: Pool, chunks: int, questions: Sequence[str], plan: Plan) -> SizeReport:
    print(f"measuring {chunks:,} chunks (load average {load_average()}) …", file=sys.stderr, flush=True)
    manifest = manifest_of(place.settings, place.embedding)
    maker = Maker(pool, place.analyzer)
    with (
        index_of(chunks, servers=place.servers, manifest=manifest, maker=maker, pool_name=pool.name) as index,
        ExitStack() as stack,
    ):
        on_disk = index.size_on_disk()
        stock = stack.enter_context(stock_of(index.store, index.url)) if chunks <= plan.stock_up_to else None
        asker = Asker(index, place.embedding, place.analyzer, top_k=place.settings.top_k)
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
