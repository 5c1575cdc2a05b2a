"""Does a text hold one of the answers that a set knows, and is a quotation word for word? Knows nothing about search."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable

from knowledge.types import Evidence
from pipelines.reading_order import Quoted

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_HANGUL = re.compile(r"[가-힣]")
_DASHES = frozenset("-‐–—·")
_PUNCTUATION = frozenset(string.punctuation) | frozenset("‘’“”´《》〈〉「」『』…") | _DASHES
# White space and Markdown signs make no difference between a quotation and its source.
_FORMATTING = re.compile(r"[\s*_`|#>\\]+|\[\d+\]|!?\[|\]\([^)]*\)|<[^>]*>")


def holds_answer(text: str, answers: Iterable[str]) -> bool:
    """Whether `text` has one of `answers`, both as SQuAD's and KorQuAD's scripts normalise them: small letters without
    punctuation and articles. English answers as whole words; Korean ones also with a particle behind them."""
    words = normalised(text)
    for answer in answers:
        wanted = normalised(answer)
        if not wanted:
            continue
        if wanted in words if _HANGUL.search(words) else f" {wanted} " in f" {words} ":
            return True
    return False


def normalised(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).lower()
    kept = (" " if char in _DASHES else "" if char in _PUNCTUATION else char for char in text)
    return " ".join(_ARTICLES.sub(" ", "".join(kept)).split())


def is_verbatim(quoted: Quoted, evidence: Evidence) -> bool:
    """Whether all of a quotation stands in its passage: in one piece, or a row's names and values each by themselves."""
    source = _condensed(evidence.readable)
    text = quoted.text.removesuffix(" …")
    if _condensed(text) in source:
        return True
    return all(_condensed(piece) in source for piece in re.split(r" · |: ", text))


def _condensed(text: str) -> str:
    return _FORMATTING.sub("", text).lower()
