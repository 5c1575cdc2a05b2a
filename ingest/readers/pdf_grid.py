"""Drawn tables: rules and segments to rows of cells. Knows no PDF library.

A table is at least two rows and two columns of rules that meet. Its outer left and right sides may be open, as they
are in most Korean reports.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from ingest.readers.pdf_model import Rule, Segment

_SLACK = 3.0  # points by which rules that meet may miss each other
_MAX_RULES = 1500
_MAX_LINES = 400  # rows or columns of one table
_MAX_CELLS = 20_000
_MAX_REPEATED_CHARS = 60
_MAX_PROSE_LINES = 14  # in cells side by side: columns of text with a rule between them

Cell = tuple[int, int, int, int]  # row, column, rows, columns


def take_tables(segments: Sequence[Segment], level: Sequence[Rule], upright: Sequence[Rule]) -> list[Segment]:
    """The segments, those that stand in a drawn table replaced by one that holds its rows."""
    level, upright = _joined(level), _joined(upright)
    if len(level) < 2 or not upright or len(level) + len(upright) > _MAX_RULES:
        return list(segments)
    rest = list(segments)
    found = []
    for levels, uprights in sorted(_meeting(level, upright), key=lambda group: len(group[0]) + len(group[1])):
        table, rest = _table(rest, levels, uprights)
        found.extend(table)
    return rest + found


def _joined(rules: Sequence[Rule]) -> list[Rule]:
    """Rules on one line that touch, as one: programs draw one a cell."""
    result: list[Rule] = []
    for rule in sorted(rules, key=lambda rule: (round(rule.at / 1.5), rule.start)):
        last = result[-1] if result else None
        if last and abs(last.at - rule.at) <= 1.5 and rule.start <= last.end + _SLACK:
            result[-1] = Rule(last.at, last.start, max(last.end, rule.end))
        else:
            result.append(rule)
    return result


def _meeting(level: Sequence[Rule], upright: Sequence[Rule]) -> list[tuple[list[Rule], list[Rule]]]:
    """Groups of rules that hang together."""
    parent = list(range(len(level) + len(upright)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for i, row in enumerate(level):
        for j, column in enumerate(upright, start=len(level)):
            crosses = row.start - _SLACK <= column.at <= row.end + _SLACK
            if crosses and column.start - _SLACK <= row.at <= column.end + _SLACK:
                parent[root(i)] = root(j)
    groups: dict[int, tuple[list[Rule], list[Rule]]] = defaultdict(lambda: ([], []))
    for i, row in enumerate(level):
        groups[root(i)][0].append(row)
    for j, column in enumerate(upright, start=len(level)):
        groups[root(j)][1].append(column)
    return [group for group in groups.values() if len(group[0]) > 1 and group[1]]


def _table(segments: list[Segment], level: list[Rule], upright: list[Rule]) -> tuple[list[Segment], list[Segment]]:
    """The table that the rules draw, if they do, and the segments outside it."""
    upright = upright + _open_sides(level, upright)
    ys, xs = _places(level), _places(upright)
    rows, columns = len(ys) - 1, len(xs) - 1
    if rows < 2 or columns < 2 or max(rows, columns) > _MAX_LINES or rows * columns > _MAX_CELLS:
        return [], segments
    segments = [part for segment in segments for part in _cut(segment, ys, xs)]
    inside = [s for s in segments if xs[0] <= (s.x0 + s.x1) / 2 <= xs[-1] and ys[0] <= s.middle <= ys[-1]]
    if not inside:
        return [], segments
    at: dict[tuple[int, int], list[Segment]] = defaultdict(list)
    cells = _cells(ys, xs, level, upright)
    owner = {
        (r, c): cell
        for cell in cells
        for r in range(cell[0], cell[0] + cell[2])
        for c in range(cell[1], cell[1] + cell[3])
    }
    for segment in inside:
        row = min(max(bisect_right(ys, segment.middle) - 1, 0), rows - 1)
        column = min(max(bisect_right(xs, (segment.x0 + segment.x1) / 2) - 1, 0), columns - 1)
        at[owner[row, column][:2]].append(segment)
    if _is_prose(at) or (len({row for row, _ in at}) < 2 and len({column for _, column in at}) < 2):
        return [], segments
    texts = {place: cell_text(group) for place, group in at.items()}
    grid = [["" for _ in range(columns)] for _ in range(rows)]
    for row, column, tall, _ in cells:
        text = texts.get((row, column), "")
        grid[row][column] = text
        for below in range(row + 1, row + tall if len(text) <= _MAX_REPEATED_CHARS else row):
            grid[below][column] = text
    kept = [index for index in range(columns) if any(line[index] for line in grid)]
    own = {row for row, _ in at}
    lines = tuple(tuple(grid[row][index] for index in kept) for row in range(rows) if row in own)
    if len(kept) < 2 or len(lines) < 2:
        return [], segments
    gone = set(map(id, inside))
    edge = "".join(sorted({mark for segment in inside for mark in segment.edge}))
    table = Segment("", xs[0], ys[0], xs[-1], ys[-1], min(s.size for s in inside), edge, lines)
    return [table], [segment for segment in segments if id(segment) not in gone]


def _cut(segment: Segment, ys: list[float], xs: list[float]) -> list[Segment]:
    """The segment in parts where columns meet: words of neighbouring cells may stand as close as words of one."""
    parts = [segment]
    if ys[0] <= segment.middle <= ys[-1]:
        for x in xs[bisect_right(xs, segment.x0) : bisect_right(xs, segment.x1)]:
            parts[-1:] = parts[-1].cut_at(x)
    return parts


def _open_sides(level: list[Rule], upright: list[Rule]) -> list[Rule]:
    top, bottom = min(rule.at for rule in level), max(rule.at for rule in level)
    left, right = min(rule.start for rule in level), max(rule.end for rule in level)
    sides = []
    if min(rule.at for rule in upright) > left + 3 * _SLACK:
        sides.append(Rule(left, top, bottom))
    if max(rule.at for rule in upright) < right - 3 * _SLACK:
        sides.append(Rule(right, top, bottom))
    return sides


def _places(rules: Sequence[Rule]) -> list[float]:
    places: list[float] = []
    for at in sorted(rule.at for rule in rules):
        if not places or at - places[-1] > _SLACK:
            places.append(at)
    return places


def _cells(ys: list[float], xs: list[float], level: list[Rule], upright: list[Rule]) -> list[Cell]:
    """Cells of the grid; neighbours without a rule between them are one cell."""
    rows, columns = len(ys) - 1, len(xs) - 1
    below = _ruled(ys, xs, level)
    beside = _ruled(xs, ys, upright)
    cells: list[Cell] = []
    taken: set[tuple[int, int]] = set()
    for row in range(rows):
        for column in range(columns):
            if (row, column) in taken:
                continue
            right = column + 1
            while right < columns and (right, row) not in beside and (row, right) not in taken:
                right += 1
            low = row + 1
            while low < rows and all((low, index) not in below for index in range(column, right)):
                low += 1
            taken.update((r, c) for r in range(row, low) for c in range(column, right))
            cells.append((row, column, low - row, right - column))
    return cells


def _ruled(places: list[float], across: list[float], rules: list[Rule]) -> set[tuple[int, int]]:
    """(line, part): the parts of the grid's lines that are drawn."""
    drawn = set()
    for rule in rules:
        line = min(range(len(places)), key=lambda index: abs(places[index] - rule.at))
        for part in range(len(across) - 1):
            middle = (across[part] + across[part + 1]) / 2
            if rule.start - _SLACK <= middle <= rule.end + _SLACK:
                drawn.add((line, part))
    return drawn


def _is_prose(at: dict[tuple[int, int], list[Segment]]) -> bool:
    """True if two neighbouring cells hold whole columns of text."""
    long = {place for place, group in at.items() if len({round(s.middle / 4) for s in group}) > _MAX_PROSE_LINES}
    return any((row, other) in long for row, column in long for other in range(column + 1, column + 3))


def cell_text(segments: Sequence[Segment]) -> str:
    """Words of a cell, one line of the page a line."""
    lines: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda segment: segment.middle):
        if lines and segment.middle - lines[-1][0].middle < 0.5 * segment.size:
            lines[-1].append(segment)
        else:
            lines.append([segment])
    ordered = (sorted(line, key=lambda segment: segment.x0) for line in lines)
    return "\n".join(" ".join(_words(segment) for segment in line) for line in ordered)


def _words(segment: Segment) -> str:
    return " ".join(" ".join(row) for row in segment.rows) if segment.rows else segment.text
