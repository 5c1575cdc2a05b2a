"""XML of strangers by the standard library's parser in C, without document types: no entity is declared, none expands.

defusedxml refuses the same, but parses in Python, five times slower. It still reads the few parts that may have a
document type. A document type stands before the first element or nowhere, so a second Expat looks at what comes before
it, in whatever encoding; expanding and external entities need one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from ingest.readers.parsing import Refused

_BLOCK_BYTES = 64 * 1024


class DocumentTypeRefused(Refused):
    def __init__(self) -> None:
        super().__init__("damaged", "it has declarations that its format does not use")


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _WithoutDocumentType:
    """The stream, as long as no document type comes before its first element."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._guard: expat.XMLParserType | None = expat.ParserCreate()
        self._guard.StartDoctypeDeclHandler = self._refuse
        self._guard.StartElementHandler = self._pass
        self._is_passed = False

    def read(self, size: int = -1, /) -> bytes:
        block = self._stream.read(_BLOCK_BYTES if size < 0 else size)
        if self._guard:
            try:
                self._guard.Parse(block, False)
            except expat.ExpatError as exc:  # before the first element
                if not self._is_passed:
                    raise ElementTree.ParseError(str(exc)) from exc
            if self._is_passed:
                self._guard = None
        return block

    def _refuse(self, *_: object) -> None:
        if not self._is_passed:
            raise DocumentTypeRefused

    def _pass(self, *_: object) -> None:
        self._is_passed = True


def iterparse(stream: Readable, events: Sequence[Literal["start", "end"]]) -> Iterator[tuple[str, Element]]:
    """As the standard library's. Raises: Refused ("damaged") for a document type, ElementTree.ParseError."""
    return ElementTree.iterparse(_WithoutDocumentType(stream), events)  # noqa: S314 - without a document type


def parse(stream: Readable) -> Element:
    """The root element. Raises: as `iterparse`."""
    guarded = _WithoutDocumentType(stream)
    parser = ElementTree.XMLParser()  # noqa: S314 - without a document type
    while block := guarded.read():
        parser.feed(block)
    root: Element = parser.close()
    return root
