"""Cut a text into spans of at most so many tokens, given only a way to count. Knows no tokenizer.

Cuts stand before white space where possible, else between characters that are seen as separate, else anywhere.
Counting is what costs, so each span's end is guessed from the tokens a character counted so far: two or three counts
a span, of about its own length, however long the text is.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

_WORD_WITH_LEADING_SPACE = re.compile(r"\s*\S+(?:\s+\Z)?|\s+\Z")
_FIRST_GUESS_CHARS_PER_TOKEN = 4.0
_MAX_CHARS_PER_TOKEN = 32  # longer spans are never tried: keeps a megabyte without a space linear
_GUESSES = 4  # after so many counts, a span that is nearly full is taken, and the search halves what is left
_NEARLY_FULL = 0.95
_MAX_VISIBLE_CHARS = 64  # longer clusters of marks and joined signs are nothing that anyone sees as one character
_ORDINARY_WORD_CHARS = 64
_ZERO_WIDTH_JOINER = "\u200d"


class _Tried(NamedTuple):
    """A place where the span could end, and the tokens it then has."""

    end: int
    tokens: int


def split_at_tokens(text: str, max_tokens: int, count_tokens: Callable[[str], int]) -> list[tuple[int, int]]:
    """Spans (start, end) in order that cover `text` exactly; `count_tokens(text[start:end]) <= max_tokens` for each.

    Only a span of a single character may count more (one character can expand to several tokens).
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}, must be at least 1")
    cuts = [match.end() for match in _WORD_WITH_LEADING_SPACE.finditer(text)]
    spans: list[tuple[int, int]] = []
    start = 0
    chars_per_token = _FIRST_GUESS_CHARS_PER_TOKEN
    while start < len(text):
        fit = _long_fit(text, start, cuts, max_tokens, count_tokens, chars_per_token)
        chars_per_token = (fit.end - start) / max(fit.tokens, 1)
        spans.append((start, fit.end))
        start = fit.end
    return spans


def _long_fit(
    text: str,
    start: int,
    cuts: list[int],
    max_tokens: int,
    count_tokens: Callable[[str], int],
    chars_per_token: float,
) -> _Tried:
    """A long span from `start` that fits: up to a word's end, else inside the first word.

    Token counts are nearly monotonic in length, not quite: only an end that was seen to fit is returned.
    """
    beyond = min(len(text), start + max_tokens * _MAX_CHARS_PER_TOKEN) + 1
    low, high = _Tried(start, 0), _Tried(beyond, 0)  # low fits, high does not; 0 tokens: not counted
    target = start + int(max_tokens * chars_per_token)
    tries = 0
    while (end := _place_near(text, target, low.end, high.end, start, cuts)) is not None:
        tries += 1
        tokens = count_tokens(text[start:end])
        if tokens > max_tokens:
            high = _Tried(end, tokens)
        else:
            low = _Tried(end, tokens)
            if tokens == max_tokens or (tries >= _GUESSES and tokens >= _NEARLY_FULL * max_tokens):
                break
        target = _next_target(start, low, high, max_tokens) if tries < _GUESSES else (low.end + high.end) // 2
    return low if low.end > start else _Tried(start + 1, max_tokens)


def _next_target(start: int, low: _Tried, high: _Tried, max_tokens: int) -> int:
    """Where the span would be full if its tokens were spread evenly."""
    if high.tokens:
        share = (max_tokens - low.tokens) / (high.tokens - low.tokens)
        return low.end + int((high.end - low.end) * share)
    return start + (low.end - start) * max_tokens // max(low.tokens, 1)


def _place_near(text: str, target: int, low: int, high: int, start: int, cuts: list[int]) -> int | None:
    """A place for a cut between `low` and `high` (exclusive), near `target` and best before it; None if none is left.

    Once a word's end is known to fit (`low`), only other words' ends are of interest.
    """
    if high - low < 2:
        return None
    target = min(max(target, low + 1), high - 1)
    index = bisect.bisect_right(cuts, target)
    if index and cuts[index - 1] > low:
        return cuts[index - 1]
    if index and cuts[index - 1] == low and low > start:
        following = cuts[index] if index < len(cuts) else high
        return following if following < min(high, low + _ORDINARY_WORD_CHARS) else None
    return _visible_boundary(text, target, low, high) or (target if low == start else None)


def _visible_boundary(text: str, target: int, low: int, high: int) -> int | None:
    """The place at or next to `target`, between `low` and `high`, that splits no composed character."""
    back = target
    while back > max(low, target - _MAX_VISIBLE_CHARS):
        if not _continues(text, back):
            return back
        back -= 1
    ahead = target + 1
    while ahead < min(high, target + _MAX_VISIBLE_CHARS):
        if not _continues(text, ahead):
            return ahead
        ahead += 1
    return None


def _continues(text: str, i: int) -> bool:
    """Whether `text[i]` belongs to the character before it: a mark, a joined emoji or a Hangul vowel or final jamo."""
    if i >= len(text):
        return False
    char = text[i]
    joined = _ZERO_WIDTH_JOINER in (char, text[i - 1])
    return joined or unicodedata.category(char).startswith("M") or "\u1160" <= char <= "\u11ff"
