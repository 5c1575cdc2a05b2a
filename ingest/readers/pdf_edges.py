"""Marks what stands at the top and bottom of a page, where running headers and page numbers are. Knows no PDF library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingest.readers.pdf_model import Segment


def with_edges(segments: Sequence[Segment]) -> list[Segment]:
    """The segments, those in the first and last two rows of the page marked."""
    rows: list[float] = []
    for segment in sorted(segments, key=lambda segment: segment.middle):
        if not rows or segment.middle - rows[-1] > 0.5 * segment.size:
            rows.append(segment.middle)
    if not rows:
        return []
    top, bottom = rows[min(1, len(rows) - 1)], rows[max(-2, -len(rows))]
    return [replace(segment, edge=_edge(segment, top, bottom)) for segment in segments]


def _edge(segment: Segment, top: float, bottom: float) -> str:
    slack = 0.5 * segment.size
    return ("t" if segment.middle <= top + slack else "") + ("b" if segment.middle >= bottom - slack else "")
