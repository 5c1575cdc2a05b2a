"""How well a person's own questions find their passages in the live index: `gakju eval retrieval --set FOLDER`.

The app's own search is asked, over all that it searches. Each question has one answer: the first chunk that holds it
counts, wherever else the same stands. Questions whose document or passage is gone count as missed and are named.
Latency is that of the app's search at its own TOP_K. Reads the index and writes into FOLDER alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from eval.beir import Question, QuestionSet, SetError
from eval.facts import commit_name, load_average, machine_name, must_be_writable, now
from eval.own_files import SetFolder, write_beir
from eval.own_places import Answer, Places
from eval.own_report import Asked, as_json, say_left_out, say_shown, say_worst
from eval.own_sheet import Filled, bring_up_to_date, read_sheet
from eval.retrieval_runs import plain_id, read_run, write_run
from ingest.cli.output import say
from knowledge.types import Evidence
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery
from settings import Settings, load_settings
from wiring import Index, open_index, search_parts

if TYPE_CHECKING:
    from eval.retrieval_report import SetReport

_WARM_UP = 3


def run(arguments: argparse.Namespace) -> tuple[SetReport, dict[str, Any]]:
    """Measure and print; the numbers, and what the JSON file says.

    Raises:
        SetError: the set cannot be used.
        GakjuError: the database or the embedding server does not answer.
    """
    from eval.retrieval_report import as_comparison, as_heading, as_table, report  # ir-measures may be missing

    for name, usual in (("leg", ["both"]), ("query_field", "text"), ("candidates", None), ("plot", None)):
        if getattr(arguments, name) != usual:
            raise SetError(f"--{name.replace('_', '-')} does not go with --set, which asks the search as the app does.")
    folder = SetFolder.open(arguments.set)
    sheet = read_sheet(bring_up_to_date(folder), folder.rows)
    if not sheet.filled:
        raise SetError(
            f"No question counts in {folder.folder / 'questions.csv'}: {sheet.empty} rows have none and {sheet.struck_out} "
            "are struck out; fill in the column `question`."
        )
    must_be_writable(arguments.run)
    against = read_run(arguments.against) if arguments.against else None
    settings = load_settings(**({"data_dir": arguments.data_dir} if arguments.data_dir else {}))
    load = load_average()
    with open_index(settings) as index:
        asked = list(_ask(settings, index, folder, sheet.filled, top_k=arguments.top_k))
        counts = index.live.current.store.counts()
        facts = _facts(settings, index, [load, load_average()])
    if all(item.answer.gone and item.rank is None for item in asked):
        raise SetError(
            f"No answer of {folder.folder} stands in the collection {folder.plan.collection!r} any more: its documents were "
            "removed, renamed or rewritten; make a new set."
        )
    if arguments.run:
        write_run(arguments.run, {item.item.id: item.ranking for item in asked}, tag="gakju-own")
    _write_beir(folder.folder, asked)
    found = report(
        QuestionSet(folder.folder.resolve().name, (), tuple(map(_question, asked))),
        {plain_id(item.item.id): [plain_id(key) for key, _ in item.ranking] for item in asked},
        leg="both",
        query_field="text",
        passages=counts.documents,
        chunks=counts.chunks,
        timings_ms=[item.took_ms for item in asked],
        against=against,
    )
    say("\n\n".join(filter(None, [as_heading(facts, [found]), as_table([found]), as_comparison([found])])))
    say_shown(asked, settings.top_k)
    say_worst(folder.folder, asked, arguments.top_k)
    say_left_out(folder.folder, asked, sheet.struck_out, sheet.empty)
    return found, facts | {"sets": [found.to_dict()], "questions": [as_json(item) for item in asked],
                           "struck_out": sheet.struck_out, "not_filled_in": sheet.empty}  # fmt: skip


def _ask(
    settings: Settings, index: Index, folder: SetFolder, filled: Sequence[Filled], *, top_k: int
) -> Iterator[Asked]:
    collection, store = folder.plan.collection, index.live.current.store
    if not store.counts(collection).documents:
        raise SetError(
            f"{folder.folder} is a set of the collection {collection!r}, of which this index holds no document: check "
            "DATABASE_URL and DATA_DIR, or `gakju ingest status`."
        )
    rows = {row.id: row for row in folder.rows}
    places = Places(store, collection)
    answers = [places.answer(item, rows) for item in filled]
    # The app's own search as wiring.py builds it, once as deep as the app asks it and once deeper.
    app = _retriever(settings, index)
    deep = _retriever(settings.model_copy(update={"top_k": max(top_k, settings.top_k)}), index)
    for item in filled[:_WARM_UP]:
        app.search(SearchQuery(item.question))
    console = Console(stderr=True)
    pairs = list(zip(filled, answers, strict=True))
    for item, answer in track(pairs, "searching", console=console, transient=True, disable=not console.is_terminal):
        query = SearchQuery(item.question)
        began = time.perf_counter()
        shown = app.search(query).evidence
        took_ms = (time.perf_counter() - began) * 1000
        found = deep.search(query).evidence[:top_k]
        ranking = _ranking(found, answer, collection)
        yield Asked(
            item,
            _label(item, rows.get(item.id)),
            answer,
            next((place for place, (key, _) in enumerate(ranking, start=1) if key == answer.id), None),
            any(answer.is_in(evidence, collection) for evidence in shown),
            tuple(ranking),
            found[:3],
            took_ms,
        )


def _retriever(settings: Settings, index: Index) -> EvidenceRetriever:
    parts, _ = search_parts(settings, index)
    retriever: EvidenceRetriever = parts["retriever"]
    return retriever


def _ranking(found: Sequence[Evidence], answer: Answer, collection: str) -> list[tuple[str, float]]:
    """Chunks by name, best first; the first one that holds the answer has the answer's, further ones are left out."""
    ranking: dict[str, float] = {}
    for evidence in found:
        key = plain_id(f"{evidence.path}#{evidence.start}-{evidence.end}")
        if answer.is_in(evidence, collection):
            key = answer.id
        elif key == answer.id:
            key += "'"  # another text stands there now
        ranking.setdefault(key, evidence.scores.fused)
    return list(ranking.items())


def _label(item: Filled, row: Any) -> str:
    """The question's language; with the passage's before it where that is another: "en>ko"."""
    from knowledge.lexemes import language_of

    asked_in = language_of(item.question)
    return asked_in if row is None or row.language == asked_in else f"{row.language}>{asked_in}"


def _question(asked: Asked) -> Question:
    return Question(asked.item.id, asked.item.question, {asked.answer.id: 1}, asked.label)


def _write_beir(folder: Path, asked: Sequence[Asked]) -> None:
    questions = [
        {
            "_id": item.item.id,
            "text": item.item.question,
            "metadata": {"lang": item.label, "document": item.answer.path},
        }
        for item in asked
    ]
    write_beir(folder, questions, {item.item.id: item.answer.id for item in asked})


def _facts(settings: Settings, index: Index, loads: Sequence[str]) -> dict[str, Any]:
    return {
        "at": now(),
        "commit": commit_name(),
        "machine": machine_name(),
        "load_averages": list(loads),
        "embedding": index.live.current.embedding.spec.name,
        "chunk_tokens": settings.chunk_tokens,
        "top_k": settings.top_k,
        "database": "DATABASE_URL" if settings.database_url else "embedded",
    }
