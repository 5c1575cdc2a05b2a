"""Reading order: segments of a page to lines, column by column. Knows no PDF library.

Text in columns is recognised by lines that fill both sides of a gap which runs through several of them; what crosses
the gap (a title, an abstract, a wide table) is read where it stands. Anything else is read row by row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from ingest.readers.pdf_aligned import with_aligned_tables
from ingest.readers.pdf_model import Line, Segment

Row = list[Segment]

_GUTTER_EMS = 0.8
_MIN_COLUMN_LINES = 4  # justified lines may have wide spaces below each other by chance
_MIN_COLUMN_EMS = 8.0
_MIN_FILL = 0.6  # of their column: lines of prose fill it, labels and values do not
_MIN_COLUMN_SHARE = 0.15  # of the text's width
_MIN_LINE_CHARS = 9
_CANDIDATES = 6
_MAX_DEPTH = 3
_JOINED_EMS = 0.2
_RAGGED_EMS = 2.5
_ONE_PITCH = 1.35


def page_lines(segments: Sequence[Segment]) -> list[Line]:
    """Lines of the page in the order a person reads them."""
    groups = [rows_of(group) for group in _groups(list(segments), 0)]
    pitch = _usual_pitch(groups)
    return [line for rows in groups for line in _lines(rows, pitch)]


def _usual_pitch(groups: Sequence[Sequence[Row]]) -> float:
    """The page's usual distance from line to line, in points."""
    distances: Counter[float] = Counter()
    for rows in groups:
        for above, row in pairwise(rows):
            if not row[0].rows:
                distances[round(2 * (row[0].bottom - above[0].bottom)) / 2] += 1
    most = max((count for distance, count in distances.items() if distance > 0), default=0)
    # The distance below headings may be more frequent than that inside paragraphs, which is smaller.
    return min((distance for distance, count in distances.items() if distance > 0 and 3 * count >= most), default=0.0)


def _groups(segments: list[Segment], depth: int) -> list[list[Segment]]:
    """The segments split into parts that are read one after the other."""
    gutter = _gutter(segments) if depth < _MAX_DEPTH else None
    if gutter is None:
        return [segments] if segments else []
    crossing = [s for s in segments if s.x0 < gutter - 1 and s.x1 > _left_end(gutter, s)]
    result: list[list[Segment]] = []
    wide: list[Segment] = []
    for kind, band in _bands(segments, crossing):
        sides = _sides(band, gutter) if kind == "columns" else None
        if sides is None:
            wide.extend(band)
            continue
        if wide:
            result.append(wide)
            wide = []
        result.extend(_groups(sides[0], depth + 1))
        result.extend(_groups(sides[1], depth + 1))
    return [*result, wide] if wide else result


def _left_end(gutter: float, segment: Segment) -> float:
    return gutter - 0.5 * _GUTTER_EMS * segment.size


def _gutter(segments: Sequence[Segment]) -> float | None:
    """Left side of a right column: where many lines begin and nearly none run across."""
    starts = Counter(round(segment.x0 / 2) for segment in segments if not segment.rows)
    for start, _ in starts.most_common(_CANDIDATES):
        near = [s.x0 for s in segments if abs(s.x0 / 2 - start) <= 1]
        gutter = min(near) - 0.1
        crossing = [s for s in segments if s.x0 < gutter - 1 and s.x1 > _left_end(gutter, s)]
        if len(crossing) * 2 > len(segments):
            continue
        if any(kind == "columns" and _sides(band, gutter) for kind, band in _bands(segments, crossing)):
            return gutter
    return None


def _bands(segments: Sequence[Segment], crossing: Sequence[Segment]) -> list[tuple[str, list[Segment]]]:
    """The page from top to bottom, cut at what runs across: ("wide", …) and ("columns", …) in turn."""
    across = set(map(id, crossing))
    cuts = sorted((s.top, s.bottom) for s in crossing)
    bands: list[tuple[str, list[Segment]]] = []
    for segment in sorted(segments, key=lambda s: (s.middle, s.x0)):
        # A segment beside one that crosses belongs to its line.
        wide = id(segment) in across or any(top <= segment.middle <= bottom for top, bottom in cuts)
        kind = "wide" if wide else "columns"
        if bands and bands[-1][0] == kind:
            bands[-1][1].append(segment)
        else:
            bands.append((kind, [segment]))
    return bands


def _sides(band: Sequence[Segment], gutter: float) -> tuple[list[Segment], list[Segment]] | None:
    """The columns left and right of `gutter`, or None if they are not two columns of prose."""
    left = [s for s in band if s.x0 < gutter - 1]
    right = [s for s in band if s.x0 >= gutter - 1]
    if not left or not right:
        return None
    width = max(s.x1 for s in right) - min(s.x0 for s in left)
    columns = (max(s.x1 for s in left) - min(s.x0 for s in left), max(s.x1 for s in right) - gutter)
    last_column_is_short = len(rows_of(right)) < _MIN_COLUMN_LINES
    narrowest = columns[0] if last_column_is_short else min(columns)
    if narrowest < max(_MIN_COLUMN_SHARE * width, _MIN_COLUMN_EMS * median(s.size for s in left)):
        return None
    if not _is_prose(left, columns[0]) or not (last_column_is_short or _is_prose(right, columns[1])):
        return None
    if last_column_is_short and (
        len(rows_of(left)) < 2 * _MIN_COLUMN_LINES or right[0].x1 - right[0].x0 < _MIN_FILL * columns[0]
    ):
        return None
    return left, right


def _is_prose(segments: Sequence[Segment], width: float) -> bool:
    rows = rows_of(segments)
    if len(rows) < _MIN_COLUMN_LINES:
        return False
    if any(segment.rows for segment in segments) and len(rows) < 2 * _MIN_COLUMN_LINES:
        return False
    # Lines that fill their column, without the ragged ends of paragraphs and headings.
    widths = [row[-1].x1 - row[0].x0 for row in rows]
    chars = [sum(len(segment.text) for segment in row) for row in rows]
    return median(widths) >= _MIN_FILL * width and median(chars) >= _MIN_LINE_CHARS


def rows_of(segments: Sequence[Segment]) -> list[Row]:
    """Segments that stand on one line together, from left to right; the lines from top to bottom."""
    rows: list[Row] = []
    for segment in sorted(segments, key=lambda s: (s.middle, s.x0)):
        last = rows[-1] if rows else None
        if last and not segment.rows and not last[0].rows and _same_line(last[0], segment):
            last.append(segment)
        else:
            rows.append([segment])
    for row in rows:
        row.sort(key=lambda s: s.x0)
    return rows


def _same_line(first: Segment, other: Segment) -> bool:
    shared = min(first.bottom, other.bottom) - max(first.top, other.top)
    return shared > 0.5 * min(first.bottom - first.top, other.bottom - other.top)


def _lines(rows: Sequence[Row], pitch: float) -> list[Line]:
    rows = with_aligned_tables(rows)
    plain = [row for row in rows if not row[0].rows]
    body = [row for row in plain if not row[0].edge] or plain  # a running line may be wider
    left = min((row[0].x0 for row in body), default=0.0)
    ends = {max((row[-1].x1 for row in body), default=0.0), *_narrow_ends(plain, pitch)}
    lines: list[Line] = []
    above: Row | None = None
    for row in rows:
        distance = (row[0].bottom - above[0].bottom) / pitch if above and pitch else 0.0
        end = min(
            (end for end in ends if row[-1].x1 <= end + 1 and row[-1].x1 > end - _RAGGED_EMS * row[0].size),
            default=max(ends),
        )
        reach = (row[-1].x1 - left) / (end - left) if end > left else 1.0
        edge = "".join(sorted({mark for segment in row for mark in segment.edge}))
        size = min(segment.size for segment in row)
        lines.append(Line(_joined(row), min(reach, 1.0), distance, size, edge, row[0].rows))
        above = row
    return lines


def _narrow_ends(rows: Sequence[Row], pitch: float) -> set[float]:
    """Where paragraphs end on the right whose lines, but for the last, all end there."""
    ends = set()
    start = 0
    for index in range(1, len(rows) + 1):
        if index < len(rows) and rows[index][0].bottom - rows[index - 1][0].bottom <= _ONE_PITCH * pitch:
            continue
        wrapped = [row[-1].x1 for row in rows[start : index - 1]]
        size = rows[start][0].size
        even = len(wrapped) >= _MIN_COLUMN_LINES - 1 and max(wrapped) - min(wrapped) < _RAGGED_EMS * size
        if even and max(wrapped) - rows[start][0].x0 > _MIN_COLUMN_EMS * size:
            ends.add(max(wrapped))
        start = index
    return ends


def _joined(row: Row) -> str:
    text = row[0].text
    for before, segment in pairwise(row):
        apart = segment.x0 - before.x1 > _JOINED_EMS * segment.size and not text.endswith(" ")
        text += (" " if apart else "") + segment.text
    return text
