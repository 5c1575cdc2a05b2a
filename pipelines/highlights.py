"""Where in a passage a cited sentence stands: quoted there word for word, else the sentence with most words in common.

Knows nothing about footnote numbers or streams.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from knowledge.lexemes import Analyzer
from knowledge.sentences import sentence_spans

# A shared word or two is chance; below this share of the sentence's lexemes nothing is marked.
_MIN_OVERLAP = 0.3
_MIN_SHARED = 2
# White space and Markdown signs make no difference between a quotation and its source.
_FORMATTING = re.compile(r"[\s*_`|#>]+")


def highlights(statements: Iterable[str], passage: str, analyzer: Analyzer) -> tuple[tuple[int, int], ...]:
    letters, offsets = _condensed(passage)
    spans: list[tuple[int, int]] = []
    sentences: list[tuple[int, int, frozenset[str]]] | None = None
    for statement in statements:
        wanted, _ = _condensed(re.sub(r"^[ \t]*(?:[-*+]|\d+[.)])[ \t]+|[.!?。…]+$", "", statement))
        at = letters.find(wanted) if len(wanted) >= 4 else -1
        if at >= 0:
            end = offsets[at + len(wanted) - 1] + 1
            spans.append((offsets[at], end + len(passage[end:]) - len(passage[end:].lstrip(".!?。…"))))
            continue
        if sentences is None:
            sentences = [
                (start, end, frozenset(analyzer.analyze(passage[start:end]))) for start, end in sentence_spans(passage)
            ]
        spans.extend(_closest(frozenset(analyzer.analyze(statement)), sentences))
    return _merged(spans)


def _closest(wanted: frozenset[str], sentences: Sequence[tuple[int, int, frozenset[str]]]) -> list[tuple[int, int]]:
    """The sentence that shares most words with the statement for its length, if it shares enough."""
    best: list[tuple[int, int]] = []
    best_score = 0.0
    for start, end, words in sentences:
        shared = len(wanted & words)
        score = shared / (len(wanted) * len(words)) ** 0.5 if shared else 0.0
        if shared >= _MIN_SHARED and shared >= _MIN_OVERLAP * len(wanted) and score > best_score:
            best, best_score = [(start, end)], score
    return best


def _condensed(text: str) -> tuple[str, list[int]]:
    """The text in small letters without white space and Markdown signs, and where each character stands in `text`."""
    kept = [(low, i) for i, char in enumerate(text) if not _FORMATTING.match(char) for low in char.lower()]
    return "".join(low for low, _ in kept), [i for _, i in kept]


def _merged(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
