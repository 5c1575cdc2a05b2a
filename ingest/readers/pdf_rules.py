"""The straight lines drawn on a PDF page, from PDFium: tables are drawn with them. Knows neither text nor tables."""

from __future__ import annotations

import ctypes
from itertools import pairwise

import pypdfium2.raw as pdfium

from ingest.readers.pdf_glyphs import turned
from ingest.readers.pdf_model import Rule

_MAX_OBJECTS = 20_000  # maps and drawings have more
_MAX_POINTS = 400  # in one path; curves and drawings have more
_MAX_RULES = 4000
_THIN_POINTS = 3.0
_MIN_LENGTH_POINTS = 3.0
_MAX_FORM_DEPTH = 2

Box = tuple[float, float, float, float]
Matrix = tuple[float, float, float, float, float, float]


def page_rules(page: pdfium.FPDF_PAGE, *, quarter: int) -> tuple[list[Rule], list[Rule]]:
    """Level and upright rules, on the page as it is read; none where there are too many to be a table's."""
    boxes: list[Box] = []
    budget = [_MAX_OBJECTS]
    count = pdfium.FPDFPage_CountObjects(page)
    for index in range(min(count, _MAX_OBJECTS + 1)):
        _collect(pdfium.FPDFPage_GetObject(page, index), (1.0, 0.0, 0.0, 1.0, 0.0, 0.0), boxes, budget, 0)
        if budget[0] < 0 or len(boxes) > _MAX_RULES:
            return [], []
    level, upright = [], []
    for box in boxes:
        x0, top, x1, bottom = turned(box, quarter)
        width, height = x1 - x0, bottom - top
        if height <= _THIN_POINTS and width >= max(_MIN_LENGTH_POINTS, 2 * height):
            level.append(Rule((top + bottom) / 2, x0, x1))
        elif width <= _THIN_POINTS and height >= max(_MIN_LENGTH_POINTS, 2 * width):
            upright.append(Rule((x0 + x1) / 2, top, bottom))
    return level, upright


def _collect(item: pdfium.FPDF_PAGEOBJECT, matrix: Matrix, boxes: list[Box], budget: list[int], depth: int) -> None:
    """Add the boxes of the straight strokes of `item`; a path that fills a thin box counts as a stroke."""
    budget[0] -= 1
    kind = pdfium.FPDFPageObj_GetType(item)
    if kind == pdfium.FPDF_PAGEOBJ_FORM and depth < _MAX_FORM_DEPTH:
        inner = _times(_matrix(item), matrix)
        for index in range(min(pdfium.FPDFFormObj_CountObjects(item), _MAX_OBJECTS)):
            if budget[0] < 0 or len(boxes) > _MAX_RULES:
                return
            _collect(pdfium.FPDFFormObj_GetObject(item, index), inner, boxes, budget, depth + 1)
    elif kind == pdfium.FPDF_PAGEOBJ_PATH:
        _add_path(item, matrix, boxes)


def _add_path(item: pdfium.FPDF_PAGEOBJECT, matrix: Matrix, boxes: list[Box]) -> None:
    count = pdfium.FPDFPath_CountSegments(item)
    if not 2 <= count <= _MAX_POINTS:
        return
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(item, ctypes.byref(fill), ctypes.byref(stroke))
    whole = _times(_matrix(item), matrix)
    for points in _polygons(item, count, whole):
        xs, ys = [x for x, _ in points], [y for _, y in points]
        hull = (min(xs), min(ys), max(xs), max(ys))
        if min(hull[2] - hull[0], hull[3] - hull[1]) <= _THIN_POINTS:
            boxes.append(hull)
        elif stroke.value:
            boxes.extend(
                (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) for (x0, y0), (x1, y1) in pairwise(points)
            )


def _polygons(item: pdfium.FPDF_PAGEOBJECT, count: int, matrix: Matrix) -> list[list[tuple[float, float]]]:
    """Points of the parts of a path; a part with a curve is left out."""
    a, b, c, d, e, f = matrix
    x, y = ctypes.c_float(), ctypes.c_float()
    parts: list[list[tuple[float, float]]] = []
    curved: set[int] = set()
    for index in range(count):
        segment = pdfium.FPDFPath_GetPathSegment(item, index)
        pdfium.FPDFPathSegment_GetPoint(segment, ctypes.byref(x), ctypes.byref(y))
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if kind == pdfium.FPDF_SEGMENT_MOVETO or not parts:
            parts.append([])
        if kind == pdfium.FPDF_SEGMENT_BEZIERTO:
            curved.add(len(parts) - 1)
        parts[-1].append((a * x.value + c * y.value + e, b * x.value + d * y.value + f))
        if pdfium.FPDFPathSegment_GetClose(segment):
            parts[-1].append(parts[-1][0])
    return [points for index, points in enumerate(parts) if len(points) > 1 and index not in curved]


def _matrix(item: pdfium.FPDF_PAGEOBJECT) -> Matrix:
    matrix = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(item, ctypes.byref(matrix)):
        return 1.0, 0.0, 0.0, 1.0, 0.0, 0.0
    return matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f


def _times(first: Matrix, then: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    p, q, r, s, t, u = then
    return a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u
