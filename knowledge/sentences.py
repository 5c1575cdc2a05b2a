"""Sentence spans of Korean and English text, by rules, in linear time.

Paragraphs, list items, table rows and headings (`text_units`) are cut at full stops that end a sentence. Numbers
("3.5%", "1,000"), dates ("2024. 3. 1."), abbreviations, initials and list numbers do not end one, and short quotations
and brackets stay whole. Knows no tokens, no chunks and no files.

Every look around a position is bounded and every scan moves forward, so that hostile input costs no more than prose.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator

from knowledge.text_units import ALWAYS_SHORT, SHORT_BEFORE_NUMBER, Span, stripped, units

# How far back a word is read, and how far ahead a quotation or bracket may close and still be kept whole.
_WORD_WINDOW = 24
_QUOTE_WINDOW = 300

_QUOTED_NEXT = re.compile(r"(?:이?라(?:고|는|며)|이?란|하고|고|는|며|면)")

_OPENERS = {"“": "”", "‘": "’", "(": ")", "[": "]", "「": "」", "『": "』", "《": "》", "〈": "〉", "（": "）"}
_CLOSERS = frozenset("”’)]」』》〉）\"'")
_MARK = re.compile(r"[.!?…]+|[。！？]+|[\"'“”‘’()\[\]「」『』《》〈〉（）]")
_AFTER_END = re.compile(r"[”’)\]」』》〉）]{0,4}(?:\[\d{1,4}\]){0,8}")  # closers, then footnote marks as in "했다.[12]"
_PLAIN_QUOTE_END = re.compile(r"'(?![A-Za-z]{1,2}\b)")

# These may also end a sentence: then a word follows that usually begins one.
_MAYBE_SHORT = frozenset("etc jr sr inc ltd co corp dept est a.m p.m ph.d u.s u.k u.n d.c b.c a.d op cit".split())
_STARTERS = frozenset(
    "the a an in on at it its he she they we you i this that these those there then but and or so however if when while "
    "as for after before since because although also our their his her my your what why how who".split()
)
_KOREAN_LIST_LETTERS = frozenset("가나다라마바사아자차카타파하")
_DATE = re.compile(r"\d{4}\.\d{1,2}(?:\.\d{1,2})?|'?\d{2}\.\d{1,2}\.\d{1,2}")
_DOTTED = re.compile(r"(?:[A-Za-z]\.){1,5}[A-Za-z]")
_SECTION_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,5}")
_NEXT_WORD = re.compile(r"\s{0,64}([^\s.,;:!?]{0,24})")


def sentence_spans(text: str) -> list[Span]:
    """Spans `(start, end)` of the sentences of `text`, in order, not overlapping, without white space at their ends.

    Together they hold every character that is not white space.
    """
    spans: list[Span] = []
    for start, end in units(text):
        spans.extend(_cut(text, start, end))
    return spans


class _Enclosures:
    """Which quotations and brackets are open. One counts only if it closes within `_QUOTE_WINDOW` characters."""

    def __init__(self, text: str, end: int) -> None:
        self._text = text
        self._end = end
        self._open: deque[tuple[str, int]] = deque()
        self._counts: Counter[str] = Counter()
        self._next_close: dict[str, tuple[int, bool]] = {}

    def outermost(self, position: int) -> int | None:
        """Where the outermost open one began, or None. Those that ran over the window are forgotten."""
        while self._open and position - self._open[0][1] > _QUOTE_WINDOW + 1:
            self._counts[self._open.popleft()[0]] -= 1
        return self._open[0][1] if self._open else None

    def see(self, char: str, position: int) -> int | None:
        """Take note of a mark; returns where the outermost began if this closes it."""
        self.outermost(position)
        if self._counts[char] > 0:
            while True:
                closer, began = self._open.pop()
                self._counts[closer] -= 1
                if closer == char:
                    return began if not self._open else None
        before = self._text[position - 1] if position else " "
        if char == "'" and not (before.isspace() or before in '(["“'):
            return None
        closer = _OPENERS.get(char, char if char in "\"'" else "")
        if closer and self._closes(closer, position):
            self._open.append((closer, position))
            self._counts[closer] += 1
        return None

    def _closes(self, closer: str, position: int) -> bool:
        known, found = self._next_close.get(closer, (-1, False))
        if known <= position or (not found and known < position + _QUOTE_WINDOW):
            begin = position + 1 if known <= position else known
            limit = min(self._end, position + _QUOTE_WINDOW + 1)
            if closer == "'":
                hit = _PLAIN_QUOTE_END.search(self._text, begin, limit)
                at = hit.start() if hit else -1
            else:
                at = self._text.find(closer, begin, limit)
            known, found = (at, True) if at >= 0 else (limit, False)
            self._next_close[closer] = (known, found)
        return found and known - position <= _QUOTE_WINDOW


def _cut(text: str, start: int, end: int) -> Iterator[Span]:
    enclosures = _Enclosures(text, end)
    begin = start
    for mark in _MARK.finditer(text, start, end):
        char, at = mark.group()[0], mark.start()
        if at < begin:
            continue
        if char in _CLOSERS or char in _OPENERS:
            opened = enclosures.see(char, at)
            stop = at + 1
            cuts = opened is not None and _closing_ends(text, begin, opened, at, end)
        else:
            after = _AFTER_END.match(text, mark.end(), end)
            inside = enclosures.outermost(at) is not None
            stop = after.end() if after and not inside else mark.end()
            cuts = not inside and _mark_ends(text, begin, mark.group(), at, stop, end)
        if cuts and stop < end:
            yield stripped(text, begin, stop)
            begin = stop
            while begin < end and text[begin].isspace():
                begin += 1
    if begin < end:
        yield begin, end


def _closing_ends(text: str, begin: int, opened: int, at: int, end: int) -> bool:
    """True if a sentence ends with this closing mark: `He said "Go." Then`, `(A whole sentence.) Next`."""
    if text[at - 1] not in ".!?…。！？" or at + 1 >= end or not text[at + 1].isspace():
        return False
    word = _next_word(text, at + 1, end)
    if text[at] in "\"”’'":
        return word[:1].isupper() or word[:1] in '“"'
    return opened == begin


def _mark_ends(text: str, begin: int, mark: str, at: int, stop: int, end: int) -> bool:
    """True if a sentence ends with the full stops, question or exclamation marks at `at`, closers up to `stop`."""
    if stop >= end or mark[0] in "。！？":
        return True
    following = text[stop]
    before = text[at - 1] if at > begin else ""
    if not following.isspace():
        return _ends_without_space(text, before, mark, following, stop, end)
    word = _next_word(text, stop, end)
    if word[:1].isascii() and word[:1].islower() and not _is_hangul(before):
        return False
    if "…" in mark or (len(mark) > 1 and set(mark) == {"."}):
        return word[:1].isupper() or (bool(before) and before in "다요죠까")
    return mark[0] != "." or len(mark) > 1 or _full_stop_ends(text, begin, at, word)


def _ends_without_space(text: str, before: str, mark: str, following: str, stop: int, end: int) -> bool:
    """`했다.그러나` is two sentences; `바다.txt`, `v2.0`, `뭐?라고` and `example.com` are not."""
    if text[stop - 1] in _CLOSERS and text[stop - 1] != "]":
        return False  # “…않겠다.”라는
    if mark == ".":
        return bool(before) and before in "다요오함음임됨까죠" and (_is_hangul(following) or following in "“‘「『(/")
    if "…" in mark or set(mark) == {"."}:
        return False
    return _is_hangul(following) and not _QUOTED_NEXT.match(text, stop, end)


def _full_stop_ends(text: str, begin: int, at: int, following_word: str) -> bool:
    """Judge one "." that white space follows, by the word before it and the word after it."""
    left = text[max(begin, at - _WORD_WINDOW) : at]
    parts = left.split()
    if not parts or left[-1].isspace():
        return True
    core = parts[-1].lstrip("(\"'“‘[「『<《〈（").lower()
    first = len(parts) == 1 and at - begin <= _WORD_WINDOW  # the sentence began with this word
    digit_next = following_word[:1].isdigit()
    starter_next = following_word.lower() in _STARTERS and following_word[:1].isupper()
    if core in ALWAYS_SHORT or (core in SHORT_BEFORE_NUMBER and digit_next):
        return False
    if core in _MAYBE_SHORT or _DOTTED.fullmatch(core) or (len(core) == 1 and core.isascii() and core.isalpha()):
        return starter_next and not first
    if core[:1].isdigit() or core[:1] == "'":
        return _number_ends(core, parts, first=first, digit_next=digit_next, starter_next=starter_next)
    return not (first and core in _KOREAN_LIST_LETTERS)


def _number_ends(core: str, parts: list[str], *, first: bool, digit_next: bool, starter_next: bool) -> bool:
    if core.isdigit() and digit_next:
        return len(core) > 4  # "2024. 3. 1."
    if first and _SECTION_NUMBER.fullmatch(core):
        return len(core) == 4 and core.isdigit()  # a list or section number, unless it is a year
    if _DATE.fullmatch(core):
        return False
    # A short number is a date's last part or counts items inside a line ("1. 범위 2. 기간"), unless a new sentence is clear.
    return starter_next or not (core.isdigit() and len(core) <= 2)


def _next_word(text: str, start: int, end: int) -> str:
    match = _NEXT_WORD.match(text, start, end)
    return match.group(1) if match else ""


def _is_hangul(char: str) -> bool:
    return "가" <= char <= "힣"
