"""An evaluation set from your own documents: questions that they answer, to see how well the search finds the passages.

    gakju eval new-set FOLDER [--questions 50]      then: gakju eval retrieval --set FOLDER

Passages of the index are sampled, spread over documents, languages and kinds. With a language model connected
(LLM_BASE_URL) it writes a question to each; what cannot be understood alone, points to "this document" or is not answered
by words of the passage is refused. Without one, you write the questions into FOLDER/questions.csv. Check that file in any
case: strike rows out (keep: n), rewrite questions, add your own with the document that answers them.

FOLDER holds text of your documents. Nothing else is written, and nothing is sent but to LLM_BASE_URL. A run that was
stopped goes on where it was when the command is given again.

Exit codes: 0 done; 1 fewer questions than wanted; 2 wrong use, folder or setting; 3 something that is needed does not
answer, what was done is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from eval.beir import SetError
from eval.frame import IN_PART, OK, run_in_frame
from eval.own_chunks import LANGUAGES, collections_with_documents, sample
from eval.own_files import PASSAGES, Plan, SetFolder
from eval.own_llm import JsonModel
from eval.own_progress import progress
from eval.own_questions import REASONS
from eval.own_sheet import bring_up_to_date
from eval.own_writing import Writer, unwritten
from ingest.cli.output import complain, names, say
from settings import Settings, load_settings
from wiring import Index, connect_llm, open_index, search_parts

_TRIES_A_QUESTION = 4


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run_in_frame(lambda: _run(arguments), again="Given again, the same command goes on from here.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gakju eval new-set", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty folder, or one to go on with")
    parser.add_argument("--questions", type=int, default=50, metavar="N", help="how many (default: 50)")
    parser.add_argument("--collection", metavar="NAME", help="of which documents (default: COLLECTION)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other numbers sample other passages")
    parser.add_argument("--language", choices=list(LANGUAGES), default="both", help="of the questions (default: both)")
    parser.add_argument(
        "--tries",
        type=int,
        metavar="N",
        help=f"passages to try at most, this time (default: {_TRIES_A_QUESTION} a question)",
    )
    parser.add_argument(
        "--by-hand", action="store_true", help="write the questions yourself even if a language model is connected"
    )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    if arguments.questions < 1 or (arguments.tries or 1) < 1:
        raise SetError("--questions and --tries must be at least 1.")
    settings = load_settings()
    collection = arguments.collection or settings.collection
    by_model = bool(settings.llm_base_url) and not arguments.by_hand
    plan = Plan(collection, arguments.seed, arguments.language, "model" if by_model else "people")
    with open_index(settings) as index:
        if not index.store.counts(collection).documents:
            raise SetError(
                f"The collection {collection!r} holds no documents: `gakju ingest add PATH` puts some into it"
                f"{_others(index)}."
            )
        folder = SetFolder.create(arguments.folder, plan)
        with _alone(folder.folder):
            try:
                if by_model:
                    _by_model(settings, index, folder, arguments)
                else:
                    _by_hand(index, folder, arguments.questions)
            finally:
                sheet = bring_up_to_date(folder)  # also of what was done before a fault
    return _say_end(folder, arguments.questions, sheet)


def _others(index: Index) -> str:
    held = collections_with_documents(index.live.current)
    return f", or name one that does with --collection ({names(held)})" if held else ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The lock goes with the process, however that ends."""
    with (folder / PASSAGES).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetError(f"Another `gakju eval new-set` is writing into {folder}.") from None
        yield


def _by_hand(index: Index, folder: SetFolder, wanted: int) -> None:
    missing = max(wanted - len(folder.rows), 0)
    plan, tried = folder.plan, folder.tried
    passages = sample(index.live.current, plan.collection, language=plan.language, seed=plan.seed, crossing=False)
    for sampled in islice((item for item in passages if item.key not in tried), missing):
        folder.add(unwritten(folder.next_id(), sampled))


def _by_model(settings: Settings, index: Index, folder: SetFolder, arguments: argparse.Namespace) -> None:
    plan = folder.plan
    passages = sample(index.live.current, plan.collection, language=plan.language, seed=plan.seed, crossing=True)
    parts, _ = search_parts(settings, index)
    llm = connect_llm(settings)
    missing = arguments.questions - len(folder.rows)
    tries = arguments.tries or _TRIES_A_QUESTION * max(missing, 5)

    async def write() -> None:
        try:
            await llm.describe()  # one sentence now rather than after the models were loaded for nothing
            with progress(arguments.questions, len(folder.rows)) as face:
                writer = Writer(folder, JsonModel(llm), parts["retriever"], on_change=face)
                await writer.write(passages, wanted=arguments.questions, tries=tries)
        finally:
            await llm.aclose()

    if missing > 0:
        with closing(passages):
            asyncio.run(write())


def _say_end(folder: SetFolder, wanted: int, sheet: Path) -> int:
    refused = Counter(folder.refused)
    if refused:
        say(f"{sum(refused.values())} passages were refused:")
        for reason, count in refused.most_common():
            say(f"  {count:5} {REASONS.get(reason, reason)}")
    made, folder_name = len(folder.rows), folder.folder
    if folder.plan.writer == "people":
        say(f"{made} passages stand in {sheet}. Write a question to each in the column `question`, or leave it empty.")
    else:
        say(
            f"{made} questions stand in {sheet}. Check them: `n` under `keep` strikes one out, and you may rewrite them."
        )
    say(f"Then: gakju eval retrieval --set {folder_name}")
    if made < wanted:
        complain(f"eval: {made} of {wanted}; there is nothing more to ask about, or --tries was too low.")
        return IN_PART
    return OK


if __name__ == "__main__":
    sys.exit(main())
