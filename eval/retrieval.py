"""How good the search is: a set of questions against the app's real search, in a real database, thrown away afterwards.

    python -m eval retrieval [--dataset DIR | --all FOLDER | --set FOLDER]

DIR is a set in BEIR's layout: corpus.jsonl, queries.jsonl and qrels.tsv (or qrels/test.tsv). A passage is a document of
the app and has the score of its best chunk. FOLDER holds such sets; one with passages in two languages is also asked in
each language alone. Without either, the questions that ship are asked over the documents that ship, and a document
that answers one counts. With --set, questions of your own (`gakju eval new-set`) are asked of your live index, which
is only read. Questions without an answer are searched for but not measured.

Measures are trec_eval's (ir-measures), with 95 % intervals from a bootstrap over the questions; --against gives the paired
differences with theirs and the p of a paired randomisation test. Latency is embedding, words and search of at most 300
questions, one after another. Vectors are kept in the data folder's cache, by the hash of their text.

Exit codes: 0 measured; 1 below a floor; 2 a wrong set, file or option; 3 something that is needed does not answer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.beir import QuestionSet, SetError, unknown_passages
from eval.retrieval_cache import CachedEmbedding, VectorCache
from eval.retrieval_index import EvalIndex, store_folder, store_passages, throw_away_index
from eval.retrieval_runs import plain_id, read_run, write_run
from eval.retrieval_search import LEGS, Asker, Leg
from eval.retrieval_sets import chosen_sets
from eval.speed import commit_name, load_average, machine_name
from knowledge.embedding import GakjuEmbedding
from knowledge.errors import GakjuError
from knowledge.lexemes import Analyzer
from knowledge.servers import EmbeddedServers
from settings import Settings, SettingsError, load_settings
from wiring import manifest_of, open_embedding

if TYPE_CHECKING:
    from eval.retrieval_report import SetReport

OK, BELOW_FLOOR, WRONG_USE, AWAY, STOPPED = 0, 1, 2, 3, 130


@dataclass(frozen=True, slots=True)
class Bench:
    """What all sets of a run share. `cached` asks `embedding` for what it does not have."""

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
        print("\neval: stopped.", file=sys.stderr)
        return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval retrieval", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dataset", type=Path, metavar="DIR", help="a set in BEIR's layout")
    what.add_argument("--all", type=Path, metavar="FOLDER", help="every set in FOLDER, and their mean")
    what.add_argument("--set", type=Path, metavar="FOLDER", help="your own questions (new-set), over your live index")
    what.add_argument("--gold", action="store_true", help="the questions that ship (the default)")
    parser.add_argument("--leg", nargs="+", choices=LEGS, default=["both"], help="one or more (default: both)")
    parser.add_argument("--top-k", type=int, default=100, metavar="N", help="documents a question (default: 100)")
    parser.add_argument("--candidates", type=int, metavar="N", help="chunks of each leg to fuse (default: the app's)")
    parser.add_argument(
        "--query-field",
        choices=["text", "history"],
        default="text",
        help="history: complete follow-ups from what was asked before, by the app's rule",
    )
    parser.add_argument(
        "--run",
        type=Path,
        metavar="FILE",
        help="write what was found, as TREC run file (or JSON lines: .jsonl);\na folder of SET.LEG.trec where there are several",
    )
    parser.add_argument("--against", type=Path, metavar="RUN", help="compare with a run file (or such a folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw nDCG@10 into this PNG")
    parser.add_argument("--floor", type=Path, metavar="FILE", help="exit with 1 if a measure is below what FILE says")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="embedded server and cache (default: thrown away, .data)"
    )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from eval.retrieval_floors import below_floors, load_floors
    from eval.retrieval_report import as_comparison, as_heading, as_table, one_line

    if arguments.plot:
        from eval.retrieval_plot import plot  # now, so that a missing package is noticed before the work
    if arguments.top_k < 1 or (arguments.candidates or 1) < 1:
        raise SetError("--top-k and --candidates must be at least 1.")
    floors = load_floors(arguments.floor) if arguments.floor else None
    if arguments.set:
        from eval.own_retrieval import run

        own, written = run(arguments)
        if arguments.json:
            _write_json(arguments.json, written)
        return _say_fallen(below_floors([own], floors) if floors is not None else [])
    sets = chosen_sets(arguments.dataset, arguments.all)
    legs = list(dict.fromkeys(arguments.leg))
    is_one = len(sets) * len(legs) == 1
    against = {
        (data.name, leg): read_run(_run_file(arguments.against, data.name, leg, is_one=is_one))
        for data in sets
        for leg in legs
        if arguments.against
    }
    loads = [load_average()]
    reports: list[SetReport] = []
    with open_bench(arguments.data_dir) as bench:
        for data in sets:
            for item in _measure(bench, data, legs, arguments, against, is_one=is_one):
                reports.append(item)
                print(one_line(item), file=sys.stderr, flush=True)
        facts = _facts(bench, arguments, loads)
    parts = [as_heading(facts, reports), as_table(reports), as_comparison(reports)]
    print("\n\n".join(filter(None, parts)))
    if arguments.json:
        _write_json(arguments.json, facts | {"sets": [item.to_dict() for item in reports]})
    if arguments.plot:
        plot(reports, arguments.plot, title=f"{facts['commit']}, {facts['embedding']}, {facts['at'][:10]}")
    return _say_fallen(below_floors(reports, floors) if floors is not None else [])


def _say_fallen(fallen: Sequence[str]) -> int:
    for line in fallen:
        print(f"eval: {line}.", file=sys.stderr)
    return BELOW_FLOOR if fallen else OK


@contextmanager
def open_bench(data_dir: Path | None) -> Iterator[Bench]:
    """What measuring needs; `data_dir` keeps the vectors for the next time."""
    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    with ExitStack() as stack:
        scratch = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gakju-eval-")))
        embedding = stack.enter_context(closing(open_embedding(settings)))
        cache = VectorCache(settings.data_dir.absolute() / "cache" / "eval", embedding.spec)
        stack.callback(cache.close)
        servers = stack.enter_context(EmbeddedServers(scratch.absolute()))
        yield Bench(settings, servers, embedding, CachedEmbedding(embedding, cache), Analyzer())


def _measure(
    bench: Bench,
    data: QuestionSet,
    legs: Sequence[Leg],
    arguments: argparse.Namespace,
    against: Mapping[tuple[str, str], Mapping[str, Sequence[str]]],
    *,
    is_one: bool,
) -> Iterator[SetReport]:
    from eval.retrieval_report import report

    manifest = manifest_of(bench.settings, bench.embedding)
    with throw_away_index(bench.settings, bench.servers, manifest, name=data.name) as index:
        fill(bench, index, data)
        counts = index.store.counts(index.collection)
        asker = Asker(index, bench.embedding, bench.cached, bench.analyzer, arguments.top_k, arguments.candidates)
        for leg in legs:
            asked = asker.ask([*data.questions, *data.others], leg=leg, query_field=arguments.query_field)
            if arguments.run:
                file = _run_file(arguments.run, data.name, leg, is_one=is_one)
                write_run(file, asked.rankings, tag=f"gakju-{leg}")
            yield report(
                data,
                {
                    plain_id(question): [plain_id(key) for key, _ in ranking]
                    for question, ranking in asked.rankings.items()
                },
                leg=leg,
                query_field=arguments.query_field,
                passages=counts.documents,
                chunks=counts.chunks,
                timings_ms=asked.timings_ms,
                against=against.get((data.name, leg)),
            )


def fill(bench: Bench, index: EvalIndex, data: QuestionSet) -> None:
    """The set's passages into `index`; says which are missing."""
    if not data.passages:
        folder = bench.settings.knowledge_dir
        store_folder(index, folder, settings=bench.settings, embedding=bench.cached, analyzer=bench.analyzer)
        return
    refused = store_passages(
        index,
        data.passages,
        embedding=bench.cached,
        analyzer=bench.analyzer,
        chunk_tokens=bench.settings.chunk_tokens,
    )
    for what, ids in (
        ("passages are empty or no text and cannot be found", refused),
        ("passages that the judgements name are not in the corpus and count as missed", unknown_passages(data)),
    ):
        if ids:
            print(f"eval: {data.name}: {len(ids)} {what} ({', '.join(ids[:3])} …).", file=sys.stderr)


def _run_file(given: Path, name: str, leg: str, *, is_one: bool) -> Path:
    """The file itself for one set and one leg; else, or if it is a folder, one of its files."""
    return given if is_one and not given.is_dir() else given / f"{name}.{leg}.trec"


def _facts(bench: Bench, arguments: argparse.Namespace, loads: Sequence[str]) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_name(),
        "machine": machine_name(),
        "load_averages": [*loads, load_average()],
        "embedding": bench.embedding.spec.name,
        "chunk_tokens": bench.settings.chunk_tokens,
        "top_k": arguments.top_k,
        "candidates": arguments.candidates,
        "database": "DATABASE_URL" if bench.settings.database_url else "embedded",
    }


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as exc:
        raise SetError(f"{file} cannot be written: {exc.strerror}.") from exc


if __name__ == "__main__":
    sys.exit(main())
