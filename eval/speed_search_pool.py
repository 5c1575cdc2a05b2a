"""Real texts and questions for the measurement of search: the documents that ship, or folders that somebody names.

A folder is a question set in BEIR's layout or any folder of files that the app reads. Knows nothing about chunks.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

from eval.beir import SetError, is_set, load
from eval.retrieval_sets import gold_set
from ingest.files import find_files
from ingest.readers import ARCHIVES, SUPPORTED, read
from knowledge.errors import ReadFailed
from settings import PROJECT_DIR

_MAX_FILE_BYTES = 200_000_000


def real_texts(folders: Sequence[Path]) -> list[str]:
    """Raises:
    SetError: a folder is not there or holds nothing that can be read.
    """
    found: list[str] = []
    for folder in folders or [PROJECT_DIR / "knowledge" / "docs"]:
        texts = [item.text for item in load(folder).passages] if is_set(folder) else _files(folder)
        if not any(text.strip() for text in texts):
            raise SetError(f"{folder} holds no text that can be read.")
        found += texts
    return found


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise SetError(f"{folder} is not a folder.")
    texts = []
    for file in find_files([folder], supported=SUPPORTED - ARCHIVES)[0]:
        try:
            texts.append(read(file.path, max_bytes=_MAX_FILE_BYTES).text)
        except ReadFailed as exc:
            print(f"eval: {exc.sentence()}", file=sys.stderr)
    return texts


def real_questions(folders: Sequence[Path], count: int) -> list[str]:
    """`count` questions: an equal share of each set in `folders`, else those that ship; again from the start if they are
    fewer."""
    sets = [load(folder) for folder in folders if is_set(folder)] or [gold_set()]
    share = math.ceil(count / len(sets))
    columns = []
    for data in sets:
        every = max(1, len(data.questions) // share)
        columns.append([question.text for question in data.questions[::every][:share]])
    questions = [text for text in chain.from_iterable(zip_longest(*columns)) if text]
    return [questions[i % len(questions)] for i in range(count)]
