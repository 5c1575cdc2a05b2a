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
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.beir import QuestionSet, SetError
from eval.bench import Bench, index_with, open_bench
from eval.facts import commit_name, load_average, machine_name, must_be_picture, must_be_writable, now, write_json
from eval.frame import IN_PART, OK, run_in_frame
from eval.retrieval_runs import plain_id, read_run, write_judgements, write_run
from eval.retrieval_search import LEGS, Asker, Leg, Ranking
from eval.retrieval_sets import chosen_sets

if TYPE_CHECKING:
    from eval.retrieval_report import SetReport


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run_in_frame(lambda: _run(arguments))


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

        must_be_picture(arguments.plot)
    if arguments.top_k < 1 or (arguments.candidates or 1) < 1:
        raise SetError("--top-k and --candidates must be at least 1.")
    floors = load_floors(arguments.floor) if arguments.floor else None
    must_be_writable(arguments.json, arguments.plot)
    if arguments.set:
        from eval.own_retrieval import run

        own, written = run(arguments)
        if arguments.json:
            write_json(arguments.json, written)
        return _say_fallen(below_floors([own], floors) if floors is not None else [])
    sets = chosen_sets(arguments.dataset, arguments.all)
    legs = list(dict.fromkeys(arguments.leg))
    is_one = len(sets) * len(legs) == 1
    if arguments.run:
        must_be_writable(*(_run_file(arguments.run, data.name, leg, is_one=is_one) for data in sets for leg in legs))
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
        write_json(arguments.json, facts | {"sets": [item.to_dict() for item in reports]})
    if arguments.plot:
        plot(reports, arguments.plot, title=f"{facts['commit']}, {facts['embedding']}, {facts['at'][:10]}")
    return _say_fallen(below_floors(reports, floors) if floors is not None else [])


def _say_fallen(fallen: Sequence[str]) -> int:
    for line in fallen:
        print(f"eval: {line}.", file=sys.stderr)
    return IN_PART if fallen else OK


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

    with index_with(bench, data) as index:
        counts = index.store.counts(index.collection)
        asker = Asker(index, bench.embedding, bench.cached, bench.analyzer, arguments.top_k, arguments.candidates)
        for leg in legs:
            asked = asker.ask([*data.questions, *data.others], leg=leg, query_field=arguments.query_field)
            if arguments.run:
                _write_run(_run_file(arguments.run, data.name, leg, is_one=is_one), data, asked.rankings, leg)
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


def _write_run(file: Path, data: QuestionSet, rankings: Mapping[str, Ranking], leg: Leg) -> None:
    write_run(file, rankings, tag=f"gakju-{leg}")
    ids = {key for question in data.questions for key in (question.id, *question.relevant)}
    if file.suffix != ".jsonl" and any(plain_id(key) != key for key in ids):
        judgements = file.with_name(f"{file.name}.qrels")
        write_judgements(judgements, {question.id: question.relevant for question in data.questions})
        print(f"eval: ids with white space stand in {file} with %20, and so they do in {judgements}.", file=sys.stderr)


def _run_file(given: Path, name: str, leg: str, *, is_one: bool) -> Path:
    """The file itself for one set and one leg; else, or if it is a folder, one of its files."""
    return given if is_one and not given.is_dir() else given / f"{name}.{leg}.trec"


def _facts(bench: Bench, arguments: argparse.Namespace, loads: Sequence[str]) -> dict[str, Any]:
    return {
        "at": now(),
        "commit": commit_name(),
        "machine": machine_name(),
        "load_averages": [*loads, load_average()],
        "embedding": bench.embedding.spec.name,
        "chunk_tokens": bench.settings.chunk_tokens,
        "top_k": arguments.top_k,
        "candidates": arguments.candidates,
        "database": "DATABASE_URL" if bench.settings.database_url else "embedded",
    }


if __name__ == "__main__":
    sys.exit(main())
