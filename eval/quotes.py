"""How good quote mode's answers are: is the answer in them, in how many sentences, from the right passage, how fast?

    python -m eval quotes --data FOLDER [--sets korquad squad2] [--questions 400] [--json FILE]

FOLDER holds sets in BEIR's layout whose questions know their answers (queries.jsonl: meta.answers). Each is stored and
searched as the app does it, five passages a question. Asked are the questions for which one of the five is a piece of
a right passage and holds the answer; the others are counted, and say something about search, not about quoting. "four"
is the choice without its bar. Own work is the choice of sentences alone, which has the question's vector from the search,
first words are search and choice together; both with the app's own embedding, one question after another. Where a set has
questions that nothing in it answers (meta.answerable false), the share of them that is refused stands beside the share of
the answerable that is lost.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from eval.beir import Question, SetError, load
from eval.quotes_answers import holds_answer, is_verbatim
from eval.retrieval_cache import CachedEmbedding, VectorCache
from eval.retrieval_index import store_passages, throw_away_index
from eval.speed import commit_name, load_average, machine_name
from knowledge.embedding import GakjuEmbedding
from knowledge.embedding.recent import RecentQuestions
from knowledge.lexemes import Analyzer
from knowledge.search import Found, Searcher
from knowledge.servers import EmbeddedServers
from knowledge.types import Evidence
from pipelines.gate import Gate
from pipelines.prompt import answer_language, build_messages
from pipelines.quote import QuoteLLM
from pipelines.reading_order import Quoted
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery
from pipelines.selection import Selector
from settings import Settings, load_settings
from wiring import manifest_of, open_embedding

TOP_K = 5
SENTENCES = 4
_TIMED = 100  # questions of each set
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A question with its answers (none if nothing answers it) and what the search found."""

    question: Question
    answers: tuple[str, ...]
    found: Found

    def is_right(self, item: Evidence) -> bool:
        paths = (item.path, *(source.path for source in item.also_in))
        return any(path in self.question.relevant for path in paths)

    @property
    def is_found(self) -> bool:
        return any(self.is_right(item) and holds_answer(item.text, self.answers) for item in self.found.evidence)


@dataclass(frozen=True, slots=True)
class Searched:
    """A set in its index. `live` has the app's own embedding, `cached` one that remembers."""

    cases: tuple[Case, ...]
    others: tuple[Case, ...]
    retriever: EvidenceRetriever
    searcher: Searcher
    live: GakjuEmbedding
    cached: GakjuEmbedding
    analyzer: Analyzer


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval quotes", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="folder with the evaluation sets")
    parser.add_argument("--sets", nargs="+", default=["korquad", "squad2"], metavar="NAME")
    parser.add_argument("--questions", type=int, default=400, metavar="N", help="of each set, evenly spread")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="server and cache (default: thrown away, .data)")
    arguments = parser.parse_args(argv)
    if arguments.questions < 1:
        parser.error("--questions must be at least 1")
    settings = load_settings(**({"data_dir": arguments.data_dir} if arguments.data_dir else {}))
    loads = [load_average()]
    reports = {}
    for name in arguments.sets:
        with _searched(settings, arguments.data / name, arguments.questions, arguments.data_dir) as searched:
            reports[name] = measure(searched)
        print(f"{name}: {_lines(reports[name])}", flush=True)
    if arguments.json:
        facts = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit_name(),
            "machine": machine_name(),
            "load_averages": [*loads, load_average()],
        }
        content = json.dumps(facts | {"sets": reports}, indent=1, ensure_ascii=False)
        arguments.json.write_text(content + "\n", encoding="utf-8")
    return 0


@contextmanager
def _searched(settings: Settings, folder: Path, limit: int, data_dir: Path | None) -> Iterator[Searched]:
    data, answers = load(folder), _answers(folder / "queries.jsonl")
    asked = _spread([item for item in data.questions if answers.get(item.id)], limit)
    if not asked:
        raise SetError(f"{folder / 'queries.jsonl'} has no answerable question with meta.answers.")
    unanswerable = _spread([item for item in data.others if item.id in answers], limit)
    with ExitStack() as stack:
        scratch = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gakju-eval-")))
        live = stack.enter_context(closing(open_embedding(settings)))
        cache = VectorCache(settings.data_dir.absolute() / "cache" / "eval", live.spec)
        stack.callback(cache.close)
        cached, analyzer = CachedEmbedding(live, cache), Analyzer()
        servers = stack.enter_context(EmbeddedServers(scratch.absolute()))
        index = stack.enter_context(throw_away_index(settings, servers, manifest_of(settings, live), name=data.name))
        store_passages(index, data.passages, embedding=cached, analyzer=analyzer, chunk_tokens=settings.chunk_tokens)
        searcher = Searcher(index.store.db, index.store.generation)
        quick = EvidenceRetriever(searcher, cached, analyzer, top_k=TOP_K)
        cases = [Case(item, answers[item.id], quick.search(SearchQuery(item.text))) for item in asked]
        others = [Case(item, (), quick.search(SearchQuery(item.text))) for item in unanswerable]
        recent = RecentQuestions(live)
        retriever = EvidenceRetriever(searcher, recent, analyzer, top_k=TOP_K)
        yield Searched(tuple(cases), tuple(others), retriever, searcher, recent, cached, analyzer)


def _answers(file: Path) -> dict[str, tuple[str, ...]]:
    """Answers by question id; () where the set says that there are none, nothing where it says nothing."""
    known: dict[str, tuple[str, ...]] = {}
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        row = json.loads(line) if line.strip() else {}
        meta = row.get("meta") or row.get("metadata") or {}
        if meta.get("answerable") is False:
            known[str(row["_id"])] = ()
        elif meta.get("answers"):
            known[str(row["_id"])] = tuple(map(str, meta["answers"]))
    return known


def _spread(items: Sequence[Question], limit: int) -> list[Question]:
    return list(items[:: max(1, math.ceil(len(items) / limit))])


def measure(searched: Searched) -> dict[str, Any]:
    """The figures of one set; shares 0..1, times in ms as [p50, p95]."""
    found = [case for case in searched.cases if case.is_found]
    if not found:
        raise SetError("None of the questions has its passage among the five found.")
    by_app = _choices(searched, found, Selector(searched.analyzer, searched.cached, searched.searcher.idf))
    by_four = _choices(
        searched,
        found,
        Selector(searched.analyzer, searched.cached, searched.searcher.idf, max_sentences=SENTENCES, bar=0.0),
    )
    quotations = [(item, case) for case, chosen in zip(found, by_app, strict=True) for item in chosen]
    gate = Gate.load(searched.live.spec.name)
    report: dict[str, Any] = {
        "asked": len(searched.cases),
        "with their passage among five": len(found),
        "app": _quality(found, by_app),
        "four": _quality(found, by_four),
        "verbatim": float(np.mean([is_verbatim(q, case.found.evidence[q.n - 1]) for q, case in quotations])),
        "lost": _refused(gate, found, by_app),
    }
    if searched.others:
        choices = _choices(
            searched, searched.others, Selector(searched.analyzer, searched.cached, searched.searcher.idf)
        )
        report["unanswerable"] = len(searched.others)
        report["refused"] = _refused(gate, searched.others, choices)
    return report | dict(_timed(searched, found))


def _choices(searched: Searched, cases: Sequence[Case], selector: Selector) -> list[list[Quoted]]:
    return [
        selector.select(
            case.question.text,
            case.found.evidence,
            language=answer_language(case.question.text, case.found.evidence),
        )
        for case in cases
    ]


def _quality(cases: Sequence[Case], choices: Sequence[Sequence[Quoted]]) -> dict[str, float]:
    """`contained`: the answer is in the quotation; `contained in gold`: in a sentence of a right passage."""
    right = [
        [case.is_right(case.found.evidence[item.n - 1]) for item in chosen]
        for case, chosen in zip(cases, choices, strict=True)
    ]
    holding = [
        [holds_answer(item.text, case.answers) for item in chosen] for case, chosen in zip(cases, choices, strict=True)
    ]
    return {
        "sentences": float(np.mean([len(chosen) for chosen in choices])),
        "contained": float(np.mean([any(row) for row in holding])),
        "contained in gold": float(
            np.mean([any(a and b for a, b in zip(*rows, strict=True)) for rows in zip(holding, right, strict=True)])
        ),
        "sentences from gold": float(np.mean([share for row in right for share in row])) if any(right) else 0.0,
    }


def _refused(gate: Gate, cases: Sequence[Case], choices: Sequence[Sequence[Quoted]]) -> float:
    """By the gate before the language model, or since no sentence answers."""
    return float(
        np.mean([not chosen or not gate.passes(case.found) for case, chosen in zip(cases, choices, strict=True)])
    )


def _timed(searched: Searched, cases: Sequence[Case]) -> Mapping[str, list[float]]:
    llm = QuoteLLM(analyzer=searched.analyzer, embedding=searched.live, idf=searched.searcher.idf)
    times: dict[str, list[float]] = {"own work": [], "own work, processor": [], "first words": []}
    step = max(1, math.ceil(len(cases) / _TIMED))
    for case in [*cases[-_WARM_UP:], *cases[::step]]:
        text = case.question.text
        began = time.perf_counter()
        found = searched.retriever.search(SearchQuery(text))
        messages = build_messages(text, text, found.evidence)
        own, processor = time.perf_counter(), time.process_time()
        next(iter(llm.stream_chat(messages)))
        times["own work"].append((time.perf_counter() - own) * 1000)
        times["own work, processor"].append((time.process_time() - processor) * 1000)
        times["first words"].append((time.perf_counter() - began) * 1000)
    return {
        f"{name}, ms": [round(float(x), 1) for x in np.percentile(v[_WARM_UP:], [50, 95])] for name, v in times.items()
    }


def _lines(report: Mapping[str, Any]) -> str:
    lines = []
    for name, value in report.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{key} {x:.2f}" if key == "sentences" else f"{key} {x:.1%}" for key, x in value.items())
        elif isinstance(value, list):
            shown = f"p50 {value[0]:.0f}, p95 {value[1]:.0f}"
        else:
            shown = f"{value:.1%}" if isinstance(value, float) else str(value)
        lines.append(f"  {name:30} {shown}")
    return "\n".join(["", *lines])


if __name__ == "__main__":
    sys.exit(main())
