"""The characters of a PDF page as segments with boxes, from PDFium. Knows neither columns nor tables."""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import pypdfium2.raw as pdfium

from ingest.readers.pdf_gaps import gap_keys, number_columns
from ingest.readers.pdf_model import Segment
from ingest.readers.table_lines import is_number

_APART_EMS = 0.9  # further apart, characters belong to different cells or columns
_BACK_EMS = 0.8
_OTHER_HEIGHT = 2.2
_MIN_REAL_SPACES = 5  # on a page, to know how wide they are
_OF_REAL_SPACE = 0.93
_MIN_SPACE_EMS = 0.1
_ASCENT_EMS, _DESCENT_EMS = 0.88, 0.22  # fonts' own numbers are often wrong
_MAX_TILT = 0.05  # radians
_MIN_SIZE, _MAX_SIZE = 1.0, 400.0
_MAPPING_SAMPLES = 200
_GARBAGE_SHARE = 0.3
_MAX_CHARS = 400_000  # on one page
_LINE_END = frozenset((10, 13))
_HYPHEN = frozenset((0x2, 0xFFFE))  # PDFium's marks for a hyphen at the end of a line
_SPACES = frozenset((32, 9, 0xA0, 0x2002, 0x2003, 0x2009, 0x3000))
# Symbol fonts (Wingdings, Symbol) put their signs at U+F000 and up.
_SYMBOLS = {0xF0B7: "•", 0xF0A7: "▪", 0xF06C: "●", 0xF06E: "■", 0xF0D8: "▶", 0xF0FC: "✓", 0xF0E0: "→", 0xF076: "❖"}


@dataclass(slots=True)
class _Run:
    """A segment that is being put together, in the coordinates of a reader who turned the page upright."""

    quarter: int  # -1: askew
    size: float
    baseline: float
    text: list[str]
    last: int
    x0: float
    x1: float
    top: float
    bottom: float
    gaps: list[tuple[int, float, float, bool]] = field(default_factory=list)  # the last: the space is in the file

    def real_gaps(self) -> list[float]:
        """Widths of the spaces that are in the file, in ems."""
        gaps = [(right - left) / self.size for _, left, right, real in self.gaps if real]
        return [gap for gap in gaps if gap > _MIN_SPACE_EMS]

    def gaps_after_numbers(self) -> Iterator[tuple[float, float, float]]:
        """Gaps that PDFium sees between a number and a word: left and right edge, and where the number begins."""
        begin, x = 0, self.x0
        for at, left, right, real in self.gaps:
            follows = self.text[at + 1 : at + 2]
            if not real and follows and not follows[0].isdigit() and is_number("".join(self.text[begin:at])):
                yield left, right, x
            begin, x = at + 1, right

    def without_typography(self, usual_ems: float, columns: Container[int]) -> None:
        """Take out spaces that PDFium sees in gaps narrower than real ones are: they only spread the line.

        Not those in `columns`.
        """
        own = self.real_gaps()
        least = _OF_REAL_SPACE * (min(own) if own else usual_ems) * self.size
        gaps: list[tuple[int, float, float, bool]] = []
        removed = 0
        for at, left, right, real in self.gaps:
            if real or right - left >= least or any(key in columns for key in gap_keys(left, right)):
                gaps.append((at - removed, left, right, real))
            else:
                self.text[at] = ""
                removed += 1
        self.gaps = gaps

    def segment(self, last_size: float) -> Segment:
        size = min(self.size, last_size)
        top, bottom = self.top, self.bottom
        if self.quarter >= 0:
            top, bottom = self.baseline - _ASCENT_EMS * size, self.baseline + _DESCENT_EMS * size
        return Segment(
            "".join(self.text), self.x0, top, self.x1, bottom, size, gaps=tuple(gap[:3] for gap in self.gaps)
        )


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What stands on a page. `quarter`: quarter turns to the left that its text is read at.

    `other`: segments that stand in other directions (a stamp across the page). `garbage`: most of its characters have
    no meaning, because a font lacks its table of Unicode values.
    """

    segments: list[Segment]
    other: list[Segment]
    quarter: int
    garbage: bool


def page_glyphs(text_page: pdfium.FPDF_TEXTPAGE) -> Glyphs:
    count = min(pdfium.FPDFText_CountChars(text_page), _MAX_CHARS)
    by_direction: dict[int, list[Segment]] = {}
    characters: Counter[int] = Counter()
    meaningless = 0
    runs = list(_runs(text_page, count))
    spaces = sorted(gap for run in runs for gap in run.real_gaps())
    columns = number_columns(gap for run in runs for gap in run.gaps_after_numbers())
    for run in runs:
        if len(spaces) >= _MIN_REAL_SPACES:
            run.without_typography(spaces[len(spaces) // 20], columns)
        last_size = run.size if len(run.text) == 1 else _letters(text_page, run.last)[0]
        segment = run.segment(last_size)
        by_direction.setdefault(run.quarter, []).append(segment)
        characters[run.quarter] += len(segment.text)
        meaningless += sum(map(_is_meaningless, segment.text))
    total = characters.total()
    garbage = total > 0 and (meaningless > _GARBAGE_SHARE * total or _unmapped_share(text_page, count) > _GARBAGE_SHARE)
    main = max((d for d in characters if d >= 0), key=lambda d: characters[d], default=0)
    other = [segment for direction, group in by_direction.items() if direction != main for segment in group]
    return Glyphs(by_direction.get(main, []), other, main, garbage)


def _runs(text_page: pdfium.FPDF_TEXTPAGE, count: int) -> Iterator[_Run]:
    """Characters that belong together: on one line, no further apart than words are.

    A space that PDFium adds for a gap ("generated") may be nothing but typography: LibreOffice and Word set Hangul
    and Latin apart by a fifth of an em, and spread justified lines.
    """
    get_unicode, generated = pdfium.FPDFText_GetUnicode, pdfium.FPDFText_IsGenerated
    get_box, box = pdfium.FPDFText_GetLooseCharBox, pdfium.FS_RECTF()
    pointer = ctypes.byref(box)
    run: _Run | None = None
    space = ""  # "r": a real one, "g": a generated one
    for index in range(count):
        code = get_unicode(text_page, index)
        if code in _LINE_END or code in _SPACES:
            if code in _LINE_END and generated(text_page, index):
                if run:
                    yield _ended(run, space)
                run, space = None, ""
            elif space != "r":
                space = "g" if generated(text_page, index) else "r"
            continue
        if not get_box(text_page, index, pointer):
            continue
        char = "-" if code in _HYPHEN else _SYMBOLS.get(code) or (chr(code) if 0 < code < 0x110000 else "\ufffd")
        x0, top, x1, bottom = turned((box.left, box.bottom, box.right, box.top), run.quarter if run else 0)
        if run and _is_apart(run, x0, top, x1, bottom):
            yield _ended(run, space)
            run, space = None, ""
        if run is None:
            run, space = _opened(text_page, index, char, box), ""
            continue
        if space:
            run.gaps.append((len(run.text), run.x1, x0, space == "r"))
            run.text.append(" ")
        space = ""
        run.text.append(char)
        run.last = index
        run.x0, run.x1 = min(run.x0, x0), max(run.x1, x1)
        run.top, run.bottom = min(run.top, top), max(run.bottom, bottom)
    if run:
        yield run


def _opened(text_page: pdfium.FPDF_TEXTPAGE, index: int, char: str, box: pdfium.FS_RECTF) -> _Run:
    size, across, up = _letters(text_page, index)
    angle = math.atan2(up, across)
    quarter = round(angle / (math.pi / 2)) % 4
    askew = abs(angle - round(angle / (math.pi / 2)) * math.pi / 2) > _MAX_TILT
    x, y = ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(text_page, index, ctypes.byref(x), ctypes.byref(y))
    baseline = turned((x.value, y.value, x.value, y.value), quarter)[1]
    x0, top, x1, bottom = turned((box.left, box.bottom, box.right, box.top), quarter)
    return _Run(-1 if askew else quarter, size, baseline, [char], index, x0, x1, top, bottom)


def _ended(run: _Run, space: str) -> _Run:
    """`run`, with the space that the line really ends with: it tells whether lines are wrapped inside words."""
    if space == "r":
        run.text.append(" ")
    return run


def _is_apart(run: _Run, x0: float, top: float, x1: float, bottom: float) -> bool:
    if run.quarter < 0:
        return False  # PDFium's own line ends are all there is
    if bottom < run.top or top > run.bottom:
        return True
    if not 1 / _OTHER_HEIGHT < (bottom - top) / max(run.bottom - run.top, 0.1) < _OTHER_HEIGHT:
        return True  # a stamp across the text
    return x0 - run.x1 > _APART_EMS * run.size or x1 < run.x1 - _BACK_EMS * run.size - (x1 - x0)


def turned(box: tuple[float, float, float, float], quarter: int) -> tuple[float, float, float, float]:
    """PDF's (left, bottom, right, top), y upwards, as (x0, top, x1, bottom), y downwards, turned upright."""
    left, low, right, high = box
    if quarter == 1:
        return low, left, high, right
    if quarter == 2:
        return -right, low, -left, high
    if quarter == 3:
        return -high, -right, -low, -left
    return left, -high, right, -low


def _letters(text_page: pdfium.FPDF_TEXTPAGE, index: int) -> tuple[float, float, float]:
    """Size in points, and the direction that the letter's line runs in."""
    matrix = pdfium.FS_MATRIX()
    size = pdfium.FPDFText_GetFontSize(text_page, index)
    if not pdfium.FPDFText_GetMatrix(text_page, index, ctypes.byref(matrix)):
        return size, 1.0, 0.0
    size *= math.hypot(matrix.c, matrix.d) or 1.0
    return min(max(abs(size), _MIN_SIZE), _MAX_SIZE), matrix.a or 1e-9, matrix.b


def _unmapped_share(text_page: pdfium.FPDF_TEXTPAGE, count: int) -> float:
    step = max(1, count // _MAPPING_SAMPLES)
    sampled = [
        pdfium.FPDFText_HasUnicodeMapError(text_page, index) == 1
        for index in range(0, count, step)
        if not pdfium.FPDFText_IsGenerated(text_page, index)
    ]
    return sum(sampled) / len(sampled) if sampled else 0.0


def _is_meaningless(char: str) -> bool:
    return (
        char == "\ufffd"
        or "\ue000" <= char <= "\uf8ff"
        or char >= "\U000f0000"
        or char < " "
        or "\x7f" <= char < "\xa0"
    )
