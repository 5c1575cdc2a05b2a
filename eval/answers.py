"""How good answers are: what they cite, whether it carries them, and whether the app answers and refuses rightly.

    python -m eval answers [--data FOLDER [--sets NAME…] | --gold] [--questions N] [--json FILE]

FOLDER is a set in BEIR's layout whose questions know their answers (queries.jsonl: meta.answers) or are known to have
none (meta.answerable false, or a file unanswerable.jsonl), or a folder of such sets. Without it, the questions that ship
are asked over the documents that ship. Each question is a turn of the real app in a conversation of its own, with the
language model of LLM_BASE_URL, quote mode if there is none.

Citation recall and precision are ALCE's (arXiv 2305.14627), per answer; whether a passage entails a sentence is judged by
the app's own claim checker. An answer is contained if one of the known ones stands in it, both normalised as SQuAD's
and KorQuAD's scripts do; F1 is of words, in Korean of characters. Intervals are 95 % bootstrap over the questions.

Exit codes: 0 measured; 2 a wrong set, file or option; 3 something that is needed does not answer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eval.answers_report import as_json, as_markdown, groups_of
from eval.answers_run import Row, ask_all
from eval.answers_service import service_over
from eval.answers_sets import AnswerSet, chosen_answer_sets
from eval.beir import SetError
from eval.bench import Bench, index_with, open_bench
from eval.facts import commit_name, load_average, machine_name, must_be_writable, now, write_json
from eval.frame import OK, run_in_frame
from pipelines.checking import RuleChecker

_LINE_EVERY_S = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run_in_frame(lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval answers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--data", type=Path, metavar="FOLDER", help="a set that knows answers, or a folder of them")
    what.add_argument("--gold", action="store_true", help="the questions that ship (the default)")
    parser.add_argument("--sets", nargs="+", default=[], metavar="NAME", help="of those in FOLDER (default: all)")
    parser.add_argument(
        "--questions",
        type=int,
        default=200,
        metavar="N",
        help="at most N answerable and N unanswerable ones of each set,\nevenly spread (default: 200)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too, and every answer")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="server and vectors (default: thrown away, DATA_DIR)"
    )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    if arguments.questions < 1:
        raise SetError("--questions must be at least 1.")
    if arguments.sets and not arguments.data:
        raise SetError("--sets needs --data, the folder that they are in.")
    must_be_writable(arguments.json)
    sets = chosen_answer_sets(arguments.data, arguments.sets, arguments.questions)
    loads = [load_average()]
    rows: dict[str, list[Row]] = {}
    with open_bench(arguments.data_dir, embedded=True) as bench:
        checker = RuleChecker(bench.analyzer)
        for item in sets:
            rows[item.name] = _ask(bench, item, checker)
            _say_failed(item.name, rows[item.name])
            loads.append(load_average())
        facts = _facts(bench, arguments, loads, rows) | {"left_out": {item.name: item.left_out for item in sets}}
    groups = groups_of(rows)
    print(as_markdown(groups, facts))
    if arguments.json:
        write_json(arguments.json, as_json(groups, facts, rows))
    return OK


def _ask(bench: Bench, item: AnswerSet, checker: RuleChecker) -> list[Row]:
    with (
        index_with(bench, item.data) as index,
        service_over(bench, index.store, related="off") as service,
        _progress(item.name, len(item.cases)) as told,
    ):
        return ask_all(service, item.cases, checker, told)


def _say_failed(name: str, rows: Sequence[Row]) -> None:
    codes = Counter(row.failed for row in rows if row.failed)
    if codes:
        told = ", ".join(f"{count} with {code}" for code, count in codes.most_common())
        print(
            f"eval: {name}: {codes.total()} of {len(rows)} questions failed and count as not answered: {told}.",
            file=sys.stderr,
        )


@contextmanager
def _progress(name: str, wanted: int) -> Iterator[Callable[[int], None]]:
    """Yields what takes the number of questions asked: a bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    began = said_at = time.monotonic()

    def say(asked: int) -> None:
        nonlocal said_at
        moment = time.monotonic()
        if moment - said_at >= _LINE_EVERY_S or asked == wanted:
            said_at = moment
            left_s = (moment - began) / asked * (wanted - asked)
            print(f"{name}: {asked} of {wanted} questions, {left_s:.0f} s left", file=sys.stderr, flush=True)

    if not console.is_terminal:
        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=wanted)
        yield lambda asked: bar.update(task, completed=asked)


def _facts(
    bench: Bench, arguments: argparse.Namespace, loads: Sequence[str], rows: dict[str, list[Row]]
) -> dict[str, Any]:
    settings = bench.settings
    names = sorted({row.llm for some in rows.values() for row in some if row.llm and row.llm != "instant answer"})
    return {
        "at": now(),
        "command": _command(arguments),
        "commit": commit_name(),
        "machine": machine_name(),
        "load_averages": list(loads),
        "llm": f"Answered by {' and '.join(names) or 'nobody'}",
        "temperature": settings.llm_temperature if settings.llm_base_url else None,
        "embedding": bench.embedding.spec.name,
        "chunk_tokens": settings.chunk_tokens,
        "top_k": settings.top_k,
        "verify": settings.verify,
    }


def _command(arguments: argparse.Namespace) -> str:
    parts = ["python -m eval answers"]
    parts += ["--data", arguments.data.name] if arguments.data else []
    parts += ["--sets", *arguments.sets] if arguments.sets else []
    return " ".join([*parts, "--questions", str(arguments.questions)])


if __name__ == "__main__":
    sys.exit(main())
