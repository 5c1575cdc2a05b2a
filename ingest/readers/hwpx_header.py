"""The header.xml of an HWPX file to `Styles`. Knows its elements and nothing of the text. Format: KS X 6101 (OWPML)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from ingest.readers.hwp_model import Level, Shape, Styles

_HEADS = {"OUTLINE": "outline", "NUMBER": "number", "BULLET": "bullet"}
_MAX_LEVELS = 10


def local_name(element: Element) -> str:
    """The tag without its namespace, which changed between versions of Hancom Office."""
    return str(element.tag).rpartition("}")[2]


def named(element: Element, name: str) -> Iterator[Element]:
    """The children called `name`, in any namespace."""
    return (child for child in element if local_name(child) == name)


def whole(element: Element, attribute: str, default: int = 0) -> int:
    """A whole number in an attribute; `default` where it is missing or none."""
    value = element.get(attribute, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else default


def read_styles(root: Element) -> Styles:
    shapes: dict[int, Shape] = {}
    names: dict[int, tuple[str, str]] = {}
    numberings: dict[int, tuple[Level, ...]] = {}
    bullets: dict[int, str] = {}
    for element in root.iter():
        kind, number = local_name(element), whole(element, "id", -1)
        if kind == "paraPr":
            shapes[number] = _shape(element)
        elif kind == "style":
            names[number] = (element.get("name", ""), element.get("engName", ""))
        elif kind == "numbering":
            numberings[number] = _numbering(element)
        elif kind == "bullet":
            bullets[number] = element.get("char", "")
    return Styles(shapes, names, numberings, bullets)


def _shape(element: Element) -> Shape:
    for heading in named(element, "heading"):
        head = _HEADS.get(heading.get("type", ""), "")
        return Shape(head, min(whole(heading, "level"), _MAX_LEVELS - 1), whole(heading, "idRef"))
    return Shape()


def _numbering(element: Element) -> tuple[Level, ...]:
    heads = {whole(head, "level"): head for head in named(element, "paraHead")}
    levels = []
    for number in range(1, _MAX_LEVELS + 1):
        head = heads.get(number)
        if head is None:
            levels.append(Level(""))
        else:
            levels.append(Level(head.text or "", head.get("numFormat", "DIGIT"), whole(head, "start", 1)))
    return tuple(levels)
