"""A rerun over thousands of unchanged files, against reading and hashing them all with sha256sum."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from eval.speed_bench import Bench, Line, Measured, Spent, by_turns, clock, median_and_spread
from eval.speed_files import many_texts
from ingest.files import SourceFile, content_hash, find_files
from ingest.ingestor import READING, Ingestor
from ingest.preparing import Preparer
from ingest.readers import SUPPORTED
from ingest.workers import LocalWorkers
from knowledge.database import Connection
from knowledge.embedding import GakjuEmbedding, build_embedding
from knowledge.file_states import FileFacts, FileStates
from knowledge.lexemes import Analyzer
from knowledge.search_indexes import tidy
from knowledge.store import EmbeddedChunk, IndexStore
from knowledge.terms import term_vector
from knowledge.types import Chunk, Document
from settings import PROJECT_DIR, load_settings
from wiring import manifest_of, open_ingestor

GOAL = 2.0
_MEDIAN_BYTES = 45_000  # with these, 74 kB in the mean
_WRITERS = 4


def measure(bench: Bench) -> Measured:
    count, rounds = (300, 2) if bench.is_quick else (10_000, 5)
    folder = bench.scratch / "texts"
    total_bytes = many_texts(folder, files=count, median_bytes=_MEDIAN_BYTES)
    settings = load_settings(data_dir=bench.scratch, database_url="", embed_base_url="")
    with (
        closing(build_embedding(cache_dir=bench.scratch / "cache")) as embedding,
        bench.index(manifest_of(settings, embedding)) as (store, url),
    ):
        _store_all(store, settings.collection, find_files([folder], supported=SUPPORTED)[0], embedding)
        new_workers = LocalWorkers(
            Preparer(embedding, Analyzer(), chunk_tokens=settings.chunk_tokens),
            max_file_bytes=settings.max_file_mb * 1_000_000,
            file_timeout_s=settings.file_timeout_s,
        )
        with (
            closing(new_workers) as workers,
            open_ingestor(settings, store, settings.collection, workers) as ingestor,
        ):
            rerun, hashed, command = by_turns(
                rounds,
                lambda _: _rerun(ingestor, folder, count),
                lambda _: _sha256sum(folder),
                lambda _: _command(folder, url, bench.scratch),
            )
    return _measured(count, total_bytes, rerun, hashed, command)


def _measured(
    count: int, total_bytes: int, rerun: Sequence[Spent], hashed: Sequence[Spent], command: Sequence[Spent]
) -> Measured:
    ratios = [a.wall_s / b.wall_s for a, b in zip(rerun, hashed, strict=True)]
    whole = [a.wall_s / b.wall_s for a, b in zip(command, hashed, strict=True)]
    ratio = statistics.median(ratios)
    lines = [
        Line(
            f"rerun over {count:,} unchanged files ({total_bytes / 1e6:,.0f} MB) over sha256sum of them",
            median_and_spread(ratios, unit="×"),
            f"≤ {GOAL:g}×",
            ratio <= GOAL,
        ),
        Line("… seconds of the rerun", median_and_spread([item.wall_s for item in rerun])),
        Line("… seconds of sha256sum", median_and_spread([item.wall_s for item in hashed])),
        Line(
            "… seconds of the whole command, its start included", median_and_spread([item.wall_s for item in command])
        ),
        Line("… the command over sha256sum", median_and_spread(whole, unit="×")),
    ]
    numbers = {
        "files": count,
        "bytes": total_bytes,
        "rerun_s": [item.wall_s for item in rerun],
        "rerun_cpu_s": [item.cpu_s for item in rerun],
        "sha256sum_s": [item.wall_s for item in hashed],
        "command_s": [item.wall_s for item in command],
        "ratio": ratio,
    }
    return Measured(lines, numbers)


def _store_all(store: IndexStore, collection: str, files: Sequence[SourceFile], embedding: GakjuEmbedding) -> None:
    """As ingestion leaves it, but with one short chunk a file: what is stored of a text has no part in a rerun."""
    vectors = np.random.default_rng(0).normal(size=(len(files), embedding.spec.dimension)).astype(np.float16)
    with FileStates(store.db, collection) as states, ThreadPoolExecutor(_WRITERS) as writers:
        jobs = zip(files, vectors, strict=True)
        list(writers.map(lambda job: _store_file(store, states, *job), jobs))
    tidy(store)


def _store_file(store: IndexStore, states: FileStates, file: SourceFile, vector: np.ndarray) -> None:
    digest = content_hash(file.path)
    document = Document(states.collection, file.name, file.origin, digest, file.size_bytes, file.name, file.name, "und")
    chunk = EmbeddedChunk(Chunk(0, 0, len(file.name), file.name), vector, term_vector({file.name: 1}), "und")
    facts = FileFacts(file.name, file.origin, str(file.root), socket.gethostname(), file.size_bytes, file.modified_ns)

    def note(conn: Connection) -> None:
        states.stored(conn, facts, content_hash=digest, reading=READING)

    store.replace(document, [chunk], reading=READING, also=note, settle=False)


def _rerun(ingestor: Ingestor, folder: Path, count: int) -> Spent:
    with clock() as spent:
        files, _ = find_files([folder], supported=SUPPORTED)
        outcomes = [result.outcome for result in ingestor.run(files)]
    if outcomes != ["unchanged"] * count:
        raise RuntimeError(f"not all files were unchanged: {set(outcomes)}")
    return spent()


def _sha256sum(folder: Path) -> Spent:
    with clock() as spent:
        listed = subprocess.Popen(["find", str(folder), "-type", "f", "-print0"], stdout=subprocess.PIPE)
        subprocess.run(["xargs", "-0", "sha256sum"], stdin=listed.stdout, stdout=subprocess.DEVNULL, check=True)
        listed.wait()
    return spent()


def _command(folder: Path, url: str, data_dir: Path) -> Spent:
    with clock() as spent:
        subprocess.run(
            [sys.executable, "-m", "ingest", "add", str(folder)],
            env=os.environ | {"DATABASE_URL": url, "DATA_DIR": str(data_dir)},
            cwd=PROJECT_DIR, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return spent()
