"""Cut a text into spans of at most so many tokens, given only a way to count. Knows no tokenizer.

Cuts stand before white space where possible, else between characters that are seen as separate, else anywhere.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Callable

_WORD_WITH_LEADING_SPACE = re.compile(r"\s*\S+(?:\s+\Z)?|\s+\Z")
_FIRST_GUESS_CHARS_PER_TOKEN = 4
_MAX_CHARS_PER_TOKEN = 32  # longer spans are never tried: keeps a megabyte without a space linear
_ZERO_WIDTH_JOINER = "\u200d"


def split_at_tokens(text: str, max_tokens: int, count_tokens: Callable[[str], int]) -> list[tuple[int, int]]:
    """Spans (start, end) in order that cover `text` exactly; `count_tokens(text[start:end]) <= max_tokens` for each.

    Only a span of a single character may count more (one character can expand to several tokens).
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}, must be at least 1")
    cuts = [match.end() for match in _WORD_WITH_LEADING_SPACE.finditer(text)]
    spans: list[tuple[int, int]] = []
    start = 0
    while start < len(text):
        end = _longest_fit(text, start, cuts, max_tokens, count_tokens)
        spans.append((start, end))
        start = end
    return spans


def _longest_fit(text: str, start: int, cuts: list[int], max_tokens: int, count_tokens: Callable[[str], int]) -> int:
    """End of a long span from `start` that fits: at a word's end, else inside the first word."""

    def fits(end: int) -> bool:
        return count_tokens(text[start:end]) <= max_tokens

    horizon = start + max_tokens * _MAX_CHARS_PER_TOKEN
    first = bisect.bisect_right(cuts, start)
    count = _longest_prefix(
        bisect.bisect_right(cuts, horizon) - first,
        lambda k: fits(cuts[first + k - 1]),
        guess=bisect.bisect_right(cuts, start + max_tokens * _FIRST_GUESS_CHARS_PER_TOKEN) - first,
    )
    if count:
        return cuts[first + count - 1]
    chars = _longest_prefix(min(cuts[first], horizon) - start, lambda k: fits(start + k), guess=max_tokens)
    return _visible_boundary(text, start, start + max(chars, 1))


def _longest_prefix(limit: int, fits: Callable[[int], bool], *, guess: int) -> int:
    """A large k in 0..limit with `fits(k)`, in O(log k) calls; the largest one where fitting is monotonic.

    Token counts are nearly monotonic in length, not quite: only a k that was seen to fit is returned.
    """
    low, high = 0, limit + 1  # low fits (0 needs no test), high does not
    step = max(1, min(guess, limit))
    while low + step < high:
        if fits(low + step):
            low, step = low + step, step * 2
        else:
            high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def _visible_boundary(text: str, start: int, end: int) -> int:
    """`end`, or the nearest place before it (after `start`) that splits no composed character; `end` if none."""
    cut = end
    while cut > start and _continues(text, cut):
        cut -= 1
    return cut if cut > start else end


def _continues(text: str, i: int) -> bool:
    """Whether `text[i]` belongs to the character before it: a mark, a joined emoji or a Hangul vowel or final jamo."""
    if i >= len(text):
        return False
    char = text[i]
    joined = _ZERO_WIDTH_JOINER in (char, text[i - 1])
    return joined or unicodedata.category(char).startswith("M") or "\u1160" <= char <= "\u11ff"
