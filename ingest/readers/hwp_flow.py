"""Paragraphs of a Hangul document to headings, paragraphs, lists and tables, as JSON-ready objects.

{"kind": …, "level": …, "text": …}; level 0 is the document's own title. Knows neither of the two file formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ingest.readers.hwp_grid import grid_lines
from ingest.readers.hwp_model import Box, Paragraph, Shape, Styles, Table
from ingest.readers.hwp_numbering import Counters

_OUTLINE_STYLE = re.compile(r"(?:개요|outline|heading) ?(\d{1,2})$", re.IGNORECASE)
_NAMED_LEVELS = {"제목": 0, "title": 0, "문서제목": 0, "큰제목": 0, "대제목": 1, "중제목": 2, "소제목": 3}
_MAX_HEADING_LEVEL = 6  # deeper outline levels are items of text in the documents that use them
_MAX_HEADING_CHARS = 80
_SENTENCE_END = (".", ",", ";", "다")
_LEADER = re.compile(r"\t *\d+ *$")  # an entry of a table of contents
_DIVISION_LABEL = re.compile(r"제 ?\d+ ?[가-힣]")
_BOXED_NUMBER = re.compile("[\U000f02b1-\U000f02ba]")  # Hancom's own code points for 1 to 10 in a box
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U000ffffd]")


def flow_pieces(styles: Styles, paragraphs: Iterable[Paragraph]) -> Iterator[dict[str, Any]]:
    """The pieces of a document's paragraphs, as they come."""
    finished: list[dict[str, Any]] = []
    flow = Flow(styles, finished.append)
    for paragraph in paragraphs:
        flow.add(paragraph)
        yield from finished
        finished.clear()
    flow.end()
    yield from finished


class Flow:
    """Takes paragraphs in document order and hands finished pieces to `emit`."""

    def __init__(self, styles: Styles, emit: Callable[[dict[str, Any]], None]) -> None:
        self._styles = styles
        self._emit = emit
        self._counters = Counters(styles.numberings)
        self._outline = 1
        self._items: list[str] = []

    def add(self, paragraph: Paragraph) -> None:
        if paragraph.outline is not None:
            self._outline = paragraph.outline
        label = self._label(paragraph)  # before what hangs on it, which may be numbered too
        text = "".join(part for part in paragraph.parts if isinstance(part, str))
        before, after = _anchored(paragraph)
        for part in before:
            self._add_part(part)
        self._add_text(paragraph, label, text)
        for part in after:
            self._add_part(part)

    def end(self) -> None:
        """Hand over what is held back."""
        if self._items:
            items, self._items = self._items, []
            self._emit({"kind": "list", "text": "\n".join(items)})

    def _add_part(self, part: Table | Box) -> None:
        if isinstance(part, Box):
            for paragraph in part.paragraphs:
                self.add(paragraph)
            return
        for paragraph in part.caption:
            self.add(paragraph)
        if len({cell.column for cell in part.cells}) <= 1:
            # A frame around text, which Korean forms are full of, and no table.
            for cell in part.cells:
                for paragraph in cell.paragraphs:
                    self.add(paragraph)
            return
        lines = grid_lines(part.cells, [self._words(cell.paragraphs) for cell in part.cells])
        if lines:
            self.end()
            self._emit({"kind": "table", "text": "\n".join(lines)})

    def _add_text(self, paragraph: Paragraph, label: str, text: str) -> None:
        notes = [words for note in paragraph.notes if (words := self._words(note))]
        is_entry = bool(_LEADER.search(text))
        text = _plain(text)
        if not text and not notes:
            return
        level = None if is_entry or notes else self._heading_level(paragraph, text)
        text = " ".join([text, *(f"({note})" for note in notes)]).strip()
        whole = f"{label} {text}" if label else text
        shape = self._shape(paragraph)
        if level is not None:
            self.end()
            self._emit({"kind": "heading", "level": level, "text": " ".join(whole.split())})
        elif label and not _DIVISION_LABEL.match(label):
            indent = "  " * shape.level
            self._items.append(indent + whole.replace("\n", f"\n{indent}  "))
        else:
            self.end()
            self._emit({"kind": "paragraph", "text": whole})

    def _words(self, paragraphs: Sequence[Paragraph]) -> str:
        """All on one line, with what tables and boxes inside hold."""
        words: list[str] = []
        for paragraph in paragraphs:
            words.append(f"{self._label(paragraph)} ")
            for part in paragraph.parts:
                if isinstance(part, str):
                    words.append(part)
                elif isinstance(part, Box):
                    words.append(f" {self._words(part.paragraphs)} ")
                else:
                    inner = [*([part.caption] if part.caption else []), *(cell.paragraphs for cell in part.cells)]
                    words.append(" " + " ".join(self._words(content) for content in inner) + " ")
            words.extend(f" ({self._words(note)})" for note in paragraph.notes)
            words.append(" ")
        return " ".join(_plain("".join(words)).split())

    def _shape(self, paragraph: Paragraph) -> Shape:
        return self._styles.shapes.get(paragraph.shape, Shape())

    def _label(self, paragraph: Paragraph) -> str:
        shape = self._shape(paragraph)
        if shape.head == "bullet":
            mark = _plain(self._styles.bullets.get(shape.ref, "-"))
            return mark or "-"
        if shape.head == "outline":
            return self._counters.label(self._outline, shape.level)
        return self._counters.label(shape.ref, shape.level) if shape.head == "number" else ""

    def _heading_level(self, paragraph: Paragraph, text: str) -> int | None:
        if len(text) > _MAX_HEADING_CHARS or text.endswith(_SENTENCE_END) or "\n" in text.strip():
            return None
        shape = self._shape(paragraph)
        level = shape.level + 1 if shape.head == "outline" else None
        for name in self._styles.names.get(paragraph.style, ()) if level is None else ():
            match = _OUTLINE_STYLE.match(name.strip())
            level = int(match.group(1)) if match else _NAMED_LEVELS.get(name.replace(" ", "").lower())
            if level is not None:
                break
        return level if level is not None and level <= _MAX_HEADING_LEVEL else None


def _anchored(paragraph: Paragraph) -> tuple[list[Table | Box], list[Table | Box]]:
    """Tables and boxes before the paragraph's first word, and the others: no sentence is broken by one."""
    before: list[Table | Box] = []
    after: list[Table | Box] = []
    seen_words = False
    for part in paragraph.parts:
        if isinstance(part, str):
            seen_words = seen_words or bool(part.strip())
        else:
            (after if seen_words else before).append(part)
    return before, after


def _plain(text: str) -> str:
    """Without Hancom's private characters where they have a plain sign; tabs and runs of blanks are one blank."""
    if _PRIVATE.search(text):
        text = _BOXED_NUMBER.sub(lambda match: chr(0x2460 + ord(match.group()) - 0xF02B1), text)
        text = re.sub("[\uf000-\uf0ff]", "•", text)  # symbol fonts, in practice bullets
    return "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
