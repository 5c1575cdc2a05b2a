"""Footnotes in an answer: finds `[n]` while the text streams, and where in passage n the cited sentence stands.

Models write `[1]`, `[1, 2]`, `[1-3]`, `[^1]`, `【1】` or `［1］`, split over tokens as they please. What leaves here has
whole markers `[1][2]` that all exist. Not footnotes: anything in code, `[2024]`, links `[1](https://…)`, and indexes
such as `a[1]`. A marker right after a Hangul syllable or a word ("Paris[1]") is one: that is how models write them.
Knows nothing about models or pages: HTML and images in an answer are the page's to defuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from knowledge.lexemes import Analyzer
from knowledge.sentences import sentence_spans
from knowledge.types import Citation, Evidence
from pipelines.highlights import highlights

_DIGITS = "0-9０-９"
_NUMBERS = rf"[{_DIGITS}]{{1,2}}(?:[ \t]?[-–—~∼][ \t]?[{_DIGITS}]{{1,2}})?"
_LIST = rf"[ \t]?\^?({_NUMBERS}(?:[ \t]?[,，、;][ \t]?\^?{_NUMBERS})*)[ \t]?"
_MARKER = re.compile(rf"\[{_LIST}\]|【{_LIST}(?:†[^】\n]{{0,30}})?】|［{_LIST}］")
_MAYBE_MARKER = re.compile(rf"\[[{_DIGITS} \t\-–—~∼,，、;^]*|[【［][{_DIGITS} \t\-–—~∼,，、;^]*(?:†[^】\n]{{0,30}})?")
_MARKER_CHARS = 64  # a longer list of numbers is text

# `[1](` is a link only before something like an address: "…이다[1](2024년 기준)" is a footnote.
_LINK = re.compile(r"\((?:<|https?:|ftp:|mailto:|data:|javascript:|file:|www\.|/|#|\.{1,2}/)", re.IGNORECASE)
_MAYBE_LINK = re.compile(r"\([a-z.]{0,10}", re.IGNORECASE)

# What stands before an index: one small letter, or argv and arr ("Paris[1]", "vitamin C[1]" and "5 m[1]" are prose).
_INDEXED = re.compile(r"(?<![A-Za-z0-9_$])(?:(?<![0-9] )[a-z]|argv|args|arr)$")
_LINE_START = r"[ \t>*+\-0-9.)]{0,12}"  # indentation, list and quotation marks that may stand before a code block
_FENCE = re.compile(rf"{_LINE_START}(`{{3,}}|~{{3,}})")
_MAYBE_FENCE = re.compile(rf"{_LINE_START}(?:`*|~*)")
_FENCE_LINE_CHARS = 200
_CODE_SPAN_CHARS = 400  # an opening backtick that finds no partner within so many characters of its line is text
_FEED_CHARS = 256
_CODE_BLOCK = re.compile(r"^[ \t]*(`{3,}|~{3,}).*?(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
_CANONICAL = re.compile(r"\[(\d{1,2})\]")
_TEXT = re.compile(r"[^`\[【［ \t\n]+")


class CitationStream:
    """Resolves the footnotes of one answer while it streams. How the text is cut into pieces makes no difference.

    What leaves is numbered as it appears: the first passage cited becomes [1], whatever its number was in the prompt.
    `cited`: the numbers of the passages, at the place that is their footnote's number. `dropped`: how many numbers were
    removed because there is no such passage.
    """

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        self._count = len(evidence)
        self._pending = ""  # received, not yet decided
        self._before = "\n"  # the last characters decided on, as received
        self._fence = ""  # the run of ` or ~ that opened the code block we are in
        self._fence_open = False  # that run's line, which cannot close the block, is still to come
        self._after_index = False  # an index just ended: `a[1][2]`
        self._cited: dict[int, int] = {}  # number of the passage → number of its footnote
        self.dropped = 0

    @property
    def cited(self) -> tuple[int, ...]:
        return tuple(self._cited)

    def feed(self, piece: str) -> str:
        """Takes the next piece; returns what can be shown. Holds back what may become a marker or a code span."""
        shown = []
        for at in range(0, len(piece), _FEED_CHARS):  # small bites keep a long answer given at once linear
            self._pending += piece[at : at + _FEED_CHARS]
            shown.append(self._drain(final=False))
        return "".join(shown)

    def close(self) -> str:
        """Ends the stream; returns what was held back."""
        return self._drain(final=True)

    def _drain(self, *, final: bool) -> str:
        shown: list[str] = []
        while self._pending:
            step = self._step(final=final)
            if step is None:
                break
            length, text = step
            self._before = (self._before + self._pending[:length])[-40:]
            self._pending = self._pending[length:]
            shown.append(text)
        return "".join(shown)

    def _step(self, *, final: bool) -> tuple[int, str] | None:
        """How many pending characters are decided and what they show as; None: more text is needed."""
        text = self._pending
        if self._fence:
            return self._fenced_line(final=final)
        if self._before.endswith("\n"):
            line, newline, _ = text[:_FENCE_LINE_CHARS].partition("\n")
            complete = bool(newline) or final or len(text) >= _FENCE_LINE_CHARS
            if not complete and (_MAYBE_FENCE.fullmatch(line) or _FENCE.match(line)):
                return None
            opening = _FENCE.match(line)
            if opening and "`" not in line[opening.end() :]:
                self._fence, self._fence_open = opening.group(1), True
                return self._fenced_line(final=final)
        if text[0] == "`":
            return self._code_span(final=final)
        blank = len(text) - len(text.lstrip(" \t"))
        if blank == len(text) and not final:
            return None
        if text[blank : blank + 1] in ("[", "【", "［"):
            return self._bracket(blank, final=final)
        self._after_index = False
        plain = _TEXT.match(text, blank)
        length = plain.end() if plain else max(blank, 1)
        return length, text[:length]

    def _fenced_line(self, *, final: bool) -> tuple[int, str] | None:
        end = self._pending.find("\n") + 1
        if not end and not final:
            return None
        line = self._pending[: end or len(self._pending)]
        bare = line.strip(" \t\r\n>")
        if not self._fence_open and bare.startswith(self._fence) and not bare.strip(self._fence[0]):
            self._fence = ""
        self._fence_open = False
        return len(line), line

    def _code_span(self, *, final: bool) -> tuple[int, str] | None:
        text = self._pending
        run = len(text) - len(text.lstrip("`"))
        if run == len(text) and not final:
            return None
        line, newline, _ = text[:_CODE_SPAN_CHARS].partition("\n")
        complete = bool(newline) or final or len(text) >= _CODE_SPAN_CHARS
        for closing in re.finditer("`+", line[run:]):
            if run + closing.end() == len(line) and not complete:
                return None  # the run may grow
            if len(closing.group()) == run:
                self._after_index = False
                length = run + closing.end()
                return length, text[:length]
        return (run, text[:run]) if complete else None

    def _bracket(self, blank: int, *, final: bool) -> tuple[int, str] | None:
        text = self._pending
        window = text[blank : blank + _MARKER_CHARS]
        marker = _MARKER.match(window)
        if marker is None:
            if _MAYBE_MARKER.fullmatch(window) and len(window) < _MARKER_CHARS and not final:
                return None
            self._after_index = False
            return blank + 1, text[: blank + 1]
        end = blank + marker.end()
        rest = text[end : end + 12]
        if not final and (not rest or (len(rest) < 12 and _MAYBE_LINK.fullmatch(rest))):
            return None
        self._after_index = not blank and (self._after_index or bool(_INDEXED.search(self._before)))
        if self._after_index or _LINK.match(rest):
            return end, text[:end]
        return self._resolved(marker, blank, rest)

    def _resolved(self, marker: re.Match[str], blank: int, rest: str) -> tuple[int, str]:
        numbers = _numbers_of(next(group for group in marker.groups() if group))
        known = [n for n in numbers if 1 <= n <= self._count]
        self.dropped += len(numbers) - len(known)
        notes = [self._cited.setdefault(n, len(self._cited) + 1) for n in known]
        space = self._pending[:blank]
        length = blank + marker.end()
        if not known:  # "known [9] fact." keeps one space, "known [9]." none
            return length, space if re.match(r"[\w(\"'“‘`*]", rest) or self._before.endswith("\n") else ""
        # Markdown reads "[1](" as a link and "[1]:" at the start of a line as a definition that swallows the line.
        gap = " " if rest[:1] == "(" or (rest[:1] == ":" and self._before.endswith("\n")) else ""
        return length, space + "".join(f"[{n}]" for n in notes) + gap


def without_markers(answer: str) -> str:
    """The answer's text with every footnote taken out; code and links stay."""
    stream = CitationStream(())
    return stream.feed(answer) + stream.close()


def make_citations(
    answer: str, evidence: Sequence[Evidence], cited: Iterable[int], *, analyzer: Analyzer
) -> tuple[Citation, ...]:
    """The footnotes of a finished answer, numbered from 1 in the order of `cited` (numbers of passages), with the spans
    that carry its sentences."""
    statements = cited_statements(answer)
    footnotes = []
    for n, passage in enumerate(dict.fromkeys(cited), start=1):
        item = evidence[passage - 1]
        spans = highlights([text for text, numbers in statements if n in numbers], item.text, analyzer)
        footnotes.append(Citation(n, item, spans))
    return tuple(footnotes)


def _numbers_of(markers: str) -> list[int]:
    """`1, 3-5` → [1, 3, 4, 5]."""
    numbers: list[int] = []
    for part in re.split(r"[,，、;]", markers):
        ends = [int(digits) for digits in re.findall(r"\d+", part)]
        numbers.extend(range(min(ends), max(ends) + 1))
    return list(dict.fromkeys(numbers))


def cited_statements(answer: str) -> list[tuple[str, frozenset[int]]]:
    """The sentences of the answer that carry footnotes, without them, and which."""
    prose = _CODE_BLOCK.sub("\n\n", answer)
    # "…이다.[1] 다음" → "…이다[1]. 다음", so that a footnote stays with the sentence before it
    prose = re.sub(r"([.!?。…]+)((?:[ \t]?\[\d{1,2}\])+)", r"\2\1 ", prose)
    found = []
    for start, end in sentence_spans(prose):
        sentence = prose[start:end]
        numbers = frozenset(int(n) for n in _CANONICAL.findall(sentence))
        if numbers:
            found.append((_CANONICAL.sub("", sentence).strip(), numbers))
    return found
