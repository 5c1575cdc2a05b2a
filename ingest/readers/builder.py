"""Puts a document's text together piece by piece, so that block offsets are right by construction. Knows no formats."""

from __future__ import annotations

import unicodedata
from pathlib import PurePath

from knowledge.errors import ReadFailed
from knowledge.types import Block, ParsedDocument, Place

_MAX_TITLE_CHARS = 200
_NO_PLACE = Place()


class DocumentBuilder:
    """Collects headings and blocks in order; `build` returns the document.

    A heading's words stand in the text, above the blocks that carry it in `Block.heading`. They become a block of
    their own only where nothing follows under them, so that they are found but not quoted as if they were content.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._blocks: list[Block] = []
        self._headings: list[tuple[int, str]] = []
        self._bare: tuple[int, int, tuple[str, ...], Place] | None = None
        self._bare_level = 0
        self.first_top_heading: str | None = None

    def heading(self, level: int, title: str, *, place: Place = _NO_PLACE, in_text: bool = True) -> None:
        """Open a section. `in_text=False`: its words are part of the block that follows ("제3조(목적) 이 규정은 …")."""
        title = one_line(title)
        if not title:
            return
        if self._bare and level <= self._bare_level:
            self._keep_bare_heading()
        self._headings = [(above, words) for above, words in self._headings if above < level] + [(level, title)]
        self._bare = None
        if level == 1 and self.first_top_heading is None:
            self.first_top_heading = title
        if in_text:
            start, end = self._append(title, "\n\n")
            self._bare, self._bare_level = (start, end, self._path(), place), level

    def block(
        self,
        text: str,
        *,
        kind: str = "paragraph",
        place: Place = _NO_PLACE,
        heading: tuple[str, ...] | None = None,
        separator: str = "\n\n",
    ) -> None:
        """Append a block under the open section, or under `heading` if given. Blank text is left out."""
        text = text.strip("\n").rstrip()
        if not text.strip():
            return
        path = self._path() if heading is None else tuple(one_line(words) for words in heading)
        if self._bare and path[: len(self._bare[2])] != self._bare[2]:
            self._keep_bare_heading()  # the block stands elsewhere
        self._bare = None
        if not unicodedata.is_normalized("NFC", text):  # pieces were put together at a syllable or an accent
            text = unicodedata.normalize("NFC", text)
        start, end = self._append(text, separator)
        self._blocks.append(Block(start, end, path, place, kind))

    def build(self, *, name: str, titles: tuple[str | None, ...] = ()) -> ParsedDocument:
        """The document, called by the first of `titles` that is not blank, else by the file's name without its ending.

        Raises:
            ReadFailed: "empty" if no block was added.
        """
        self._keep_bare_heading()
        if not self._blocks:
            raise ReadFailed(f"{name} holds no text.", reason="empty", hint="Remove it, or save it again with content.")
        title = next((one_line(title) for title in titles if title and title.strip()), "") or title_from_name(name)
        return ParsedDocument(title, "".join(self._parts), tuple(self._blocks))

    def _path(self) -> tuple[str, ...]:
        return tuple(words for _, words in self._headings)

    def _append(self, text: str, separator: str) -> tuple[int, int]:
        if self._parts:
            self._parts.append(separator)
            self._length += len(separator)
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        return start, self._length

    def _keep_bare_heading(self) -> None:
        if self._bare:
            start, end, path, place = self._bare
            self._blocks.append(Block(start, end, path, place))
            self._bare = None


def one_line(text: str) -> str:
    """`text` on one line, cut to a title's length."""
    return " ".join(text[: 4 * _MAX_TITLE_CHARS].split())[:_MAX_TITLE_CHARS].rstrip()


def title_from_name(name: str) -> str:
    return one_line(unicodedata.normalize("NFC", PurePath(name).stem)) or "-"
