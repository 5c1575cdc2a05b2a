"""Makes small PDFs with Korean text, rules and bookmarks at given places, without fonts. Knows no reader.

The font is not embedded: its characters are named by Unicode (UniKS-UCS2-H), as in PDFs of old Korean programs. Hangul
is one em wide, Latin half an em. Points count from the lower left corner of an A4 page.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 595, 842
FONT_OBJECT = (
    b"<</Type/Font/Subtype/Type0/BaseFont/HYSMyeongJo-Medium/Encoding/UniKS-UCS2-H/DescendantFonts["
    b"<</Type/Font/Subtype/CIDFontType0/BaseFont/HYSMyeongJo-Medium/CIDSystemInfo"
    b"<</Registry(Adobe)/Ordering(Korea1)/Supplement 1>>/DW 1000/W[1 95 500]>>]>>"
)


def width_of(text: str, size: float) -> float:
    return sum(size if ord(char) > 255 else size / 2 for char in text)


@dataclass
class Page:
    """What is drawn on one page. `rotate`: how the page is turned when shown, in degrees."""

    rotate: int = 0
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, *, size: float = 10, matrix: str = "1 0 0 1") -> None:
        codes = words.encode("utf-16-be").hex()
        self.parts.append(f"BT /F {size} Tf {matrix} {x:.2f} {y:.2f} Tm <{codes}> Tj ET")

    def lines(self, x: float, y: float, lines: Sequence[str], *, size: float = 10, pitch: float = 15) -> None:
        for number, words in enumerate(lines):
            self.text(x, y - number * pitch, words, size=size)

    def rule(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.parts.append(f"{x0} {y0} m {x1} {y1} l S")

    def grid(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        for x in xs:
            self.rule(x, ys[0], x, ys[-1])
        for y in ys:
            self.rule(xs[0], y, xs[-1], y)

    def content(self) -> bytes:
        return "\n".join(self.parts).encode()


def make_pdf(*pages: Page) -> bytes:
    contents = [zlib.compress(page.content()) for page in pages]
    numbers = range(4, 4 + 2 * len(pages), 2)
    kids = " ".join(f"{number} 0 R" for number in numbers).encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(pages)),
        FONT_OBJECT,
    ]
    for number, page, content in zip(numbers, pages, contents, strict=True):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Rotate %d/Contents %d 0 R/Resources<</Font<</F 3 0 R>>>>>>"
            % (WIDTH, HEIGHT, page.rotate, number + 1)
        )
        objects.append(b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(content), content))
    return assemble(objects)


def assemble(objects: Sequence[bytes], *, trailer: bytes = b"") -> bytes:
    """A PDF of `objects`, numbered from 1; the first is the catalog."""
    data = b"%PDF-1.7\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n"
    return data + end % (len(objects) + 1, table, len(objects) + 1, trailer, len(data))
