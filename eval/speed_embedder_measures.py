"""The measurements of the embedder: both engines on the same batches, questions one by one, memory. Prints how far it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.facts import load_average
from eval.speed_bench import memory_of, resident_bytes
from knowledge.embedding import GakjuEmbedding, OnnxE5Embedding

_BATCH = 50
_WARM_UP = 5
_SPIN_UP_S = 0.5
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Compared:
    """`ours_s`, `nano_s`: processor seconds of each batch, `tokens` in it. `differing`: texts whose vector alone is
    another than in its batch."""

    tokens: Sequence[int]
    ours_s: Sequence[float]
    nano_s: Sequence[float]
    cosines: np.ndarray
    differing: int


@dataclass(frozen=True, slots=True)
class QueryTimes:
    """Milliseconds for each question: wall, and of the processor."""

    wall_ms: Sequence[float]
    cpu_ms: Sequence[float]


def compare(ours: GakjuEmbedding, nano: GakjuEmbedding, texts: Sequence[str]) -> Compared:
    """Batches by turns; who goes first changes."""
    tokens, ours_s, nano_s, cosines, differing = [], [], [], [], 0
    for at in range(0, len(texts), _BATCH):
        batch = texts[at : at + _BATCH]
        if at // _BATCH % 2:
            nano_vectors, nano_cpu_s = _embed(nano, batch)
            vectors, cpu_s = _embed(ours, batch)
        else:
            vectors, cpu_s = _embed(ours, batch)
            nano_vectors, nano_cpu_s = _embed(nano, batch)
        ours_s.append(cpu_s)
        nano_s.append(nano_cpu_s)
        tokens.append(sum(map(ours.count_tokens, batch)))
        cosines.append(np.sum(vectors * nano_vectors, axis=1))
        differing += sum(
            not np.array_equal(ours.embed_passages([text])[0], vector)
            for text, vector in zip(batch, vectors, strict=True)
        )
        ratio, least = sum(nano_s) / sum(ours_s), min(float(item.min()) for item in cosines)
        so_far = f"{min(at + _BATCH, len(texts)):,} of {len(texts):,} texts: {ratio:.2f}×, cosines from {least:.4f}"
        print(f"{so_far}, {differing} differing (load average {load_average()})", file=sys.stderr, flush=True)
    return Compared(tokens, ours_s, nano_s, np.concatenate(cosines), differing)


def ask(embedding: GakjuEmbedding, questions: Sequence[str]) -> QueryTimes:
    """One after the other, warm."""
    for question in questions[:_WARM_UP]:
        embedding.embed_query(question)
    wall_ms, cpu_ms = [], []
    for question in questions:
        began, cpu_began = time.perf_counter(), time.thread_time()
        embedding.embed_query(question)
        cpu_ms.append((time.thread_time() - cpu_began) * 1000)
        wall_ms.append((time.perf_counter() - began) * 1000)
    return QueryTimes(wall_ms, cpu_ms)


@contextmanager
def busy_processors() -> Iterator[set[int]]:
    """Ids of processes that never rest, one for each processor that this one may use."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        time.sleep(_SPIN_UP_S)
        yield {process.pid for process in spinning}
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def memory_of_engine(cache_dir: Path, texts: Sequence[str]) -> list[float]:
    """Resident MB of this process, which has loaded modules alone; with the model; and its peak at work on `texts`."""
    before = resident_bytes(os.getpid())
    with memory_of(os.getpid()) as peaks:
        engine = OnnxE5Embedding(cache_dir=cache_dir, workers=1)
        loaded = resident_bytes(os.getpid())
        engine.embed_passages(texts)
    return [size / _MB for size in (before, loaded, peaks.alone)]


def _embed(engine: GakjuEmbedding, texts: Sequence[str]) -> tuple[np.ndarray, float]:
    """Vectors, and processor seconds of all threads."""
    began = time.process_time()
    vectors = engine.embed_passages(texts)
    return vectors, time.process_time() - began
