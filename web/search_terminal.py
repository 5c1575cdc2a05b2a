"""`gakju search`: what the search finds for a question, and with --explain why, in a terminal or as JSON.

The same object that the page and the API show. Knows nothing about how a search is made.
"""

from __future__ import annotations

import argparse

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.cli.output import complain, say, say_json, shown
from knowledge.errors import InvalidFilter
from knowledge.explanation import Candidate, Explanation
from knowledge.search import Found
from knowledge.types import Evidence
from pipelines.gate import Gate
from pipelines.prompt import passage_title
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery
from web.search_arguments import filters_of

_LINE_CHARS = 160
_SHOWN_TERMS = 20
_SHOWN_CANDIDATES = 20


def run(retriever: EvidenceRetriever, gate: Gate, arguments: argparse.Namespace) -> int:
    """Prints what is found; exit code 0, 1 where nothing was found, 2 for an empty question or a filter that cannot be.

    Raises:
        DatabaseUnavailable, EmbeddingUnavailable
    """
    question = arguments.question.strip()
    if not question:
        complain("gakju: the question is empty.")
        return 2
    try:
        filters = filters_of(arguments)
    except InvalidFilter as exc:
        complain(f"gakju: {exc.sentence()}")
        return 2
    found = retriever.search(SearchQuery(question), filters=filters, explain=arguments.explain)
    probability, passes = gate.probability(found), gate.passes(found)
    if arguments.json:
        say_json(
            {
                "question": question,
                "evidence": [item.to_dict() for item in found.evidence],
                "gate": {"probability": probability, "threshold": gate.threshold, "passes": passes},
                "explanation": found.explanation.to_dict() if found.explanation else None,
            }
        )
        return 0 if found.evidence else 1
    console = Console(highlight=False, soft_wrap=False)
    if found.explanation:
        _explain(console, found.explanation)
    _passages(found, is_filtered=filters is not None)
    verdict = "answers" if passes else "refuses: the passages do not carry an answer"
    say(f"\nThe gate {verdict} (probability {probability:.3f}, threshold {gate.threshold:.3f}).")
    return 0 if found.evidence else 1


def _passages(found: Found, *, is_filtered: bool) -> None:
    if not found.evidence:
        say("Nothing was found" + (" within these filters." if is_filtered else "."))
        return
    for item in found.evidence:
        say(f"\n[{item.rank}] {shown(passage_title(item))}")
        say(f"    {shown(item.collection)}/{shown(item.path)}   {_scores(item)}")
        say(f"    {shown(_line(item.readable))}")
        for source in item.also_in:
            say(f"    the same text stands in {shown(source.collection)}/{shown(source.path)}")


def _scores(item: Evidence) -> str:
    parts = [("fused", item.scores.fused), ("meaning", item.scores.meaning), ("words", item.scores.words)]
    parts.append(("rerank", item.scores.rerank))
    return "  ".join(f"{name} {value:.3f}" for name, value in parts if value is not None)


def _explain(console: Console, explanation: Explanation) -> None:
    terms = _table("Words of the question", "word", "chunks with it", "idf", "weight", "finds")
    for term in explanation.terms[:_SHOWN_TERMS]:
        row = (term.lexeme, f"{term.chunks:,}", f"{term.idf:.2f}", f"{term.weight:.2f}", "yes" if term.finds else "")
        terms.add_row(*map(_cell, row))
    console.print(terms)
    _say_more(len(explanation.terms) - _SHOWN_TERMS, "words")
    if explanation.pools:
        pools = _table("Where candidates came from", "pool", "share", "quota", "by meaning", "by words")
        for pool in explanation.pools:
            row = (pool.name, f"{pool.share:.0%}", str(pool.quota), str(pool.by_meaning), str(pool.by_words))
            pools.add_row(*map(_cell, row))
        console.print(pools)
    ranks = _table("Candidates", "#", "fused", "meaning", "words", "fate", "passage")
    for number, item in enumerate(explanation.candidates[:_SHOWN_CANDIDATES], start=1):
        ranks.add_row(*map(_cell, (str(number), f"{item.fused:.3f}", *_legs(item), item.fate, _where(item))))
    console.print(ranks)
    _say_more(len(explanation.candidates) - _SHOWN_CANDIDATES, "candidates")
    say(f"fused = {explanation.formula}")
    for sentence in explanation.ran:
        say(f"- {sentence}")
    say("took " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in explanation.timings_ms.items()))


def _legs(item: Candidate) -> tuple[str, str]:
    return _leg(item.meaning, item.meaning_rank), _leg(item.words, item.words_rank)


def _leg(score: float | None, rank: int | None) -> str:
    if score is None:
        return "–"
    return f"{score:.3f} ({'#' + str(rank) if rank else 'beyond'})"


def _where(item: Candidate) -> str:
    return _line(" › ".join([item.path, *item.heading]) if item.path else item.chunk_id)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE_CHARS else line[: _LINE_CHARS - 1] + "…"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _cell(text: str) -> Text:
    return Text(shown(text))


def _say_more(count: int, what: str) -> None:
    if count > 0:
        say(f"… and {count:,} more {what}: --json has them all.")
