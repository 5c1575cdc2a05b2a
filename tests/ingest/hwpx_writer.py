"""Writes HWPX files for tests: a ZIP archive with the parts and elements that Hancom Office writes (KS X 6101).

Knows nothing of the reader.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

_NAMESPACES = (
    'xmlns:hp="http://www.hancom.co.kr/hwpml/2011/paragraph" xmlns:hs="http://www.hancom.co.kr/hwpml/2011/section" '
    'xmlns:hh="http://www.hancom.co.kr/hwpml/2011/head" xmlns:hc="http://www.hancom.co.kr/hwpml/2011/core" '
    'xmlns:opf="http://www.idpf.org/2007/opf/"'
)
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>'
_OUTLINE = (("^1.", "DIGIT"), ("^2.", "HANGUL_SYLLABLE"), ("^3)", "DIGIT"))
_ARTICLES = (("제^1조", "DIGIT"), ("^1.^2.", "DIGIT"), ("^7", "CIRCLED_DIGIT"))
MANIFEST = f'{_XML}<odf:manifest xmlns:odf="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'


def _numbering(number: int, levels: Sequence[tuple[str, str]]) -> str:
    heads = "".join(
        f'<hh:paraHead start="1" level="{level}" numFormat="{name}" checkable="0">{pattern}</hh:paraHead>'
        for level, (pattern, name) in enumerate(levels, start=1)
    )
    return f'<hh:numbering id="{number}" start="0">{heads}</hh:numbering>'


def _header() -> str:
    """Shapes 0 plain, 1–3 outline levels, 4 article numbers, 5 bullets; styles 0 바탕글, 1 제목, 2 개요 2."""
    heads = [("NONE", 0, 0), *(("OUTLINE", 0, level) for level in range(3)), ("NUMBER", 2, 0), ("BULLET", 1, 0)]
    shapes = "".join(
        f'<hh:paraPr id="{number}"><hh:align horizontal="JUSTIFY"/>'
        f'<hh:heading type="{kind}" idRef="{ref}" level="{level}"/></hh:paraPr>'
        for number, (kind, ref, level) in enumerate(heads)
    )
    names = (("바탕글", "Normal"), ("제목", "Title"), ("개요 2", "Outline 2"))
    styles = "".join(
        f'<hh:style id="{number}" type="PARA" name="{korean}" engName="{english}" paraPrIDRef="0"/>'
        for number, (korean, english) in enumerate(names)
    )
    return (
        f'{_XML}<hh:head {_NAMESPACES} version="1.4" secCnt="1"><hh:refList><hh:numberings itemCnt="2">'
        f"{_numbering(1, _OUTLINE)}{_numbering(2, _ARTICLES)}</hh:numberings>"
        f'<hh:bullets><hh:bullet id="1" char="\uf06c" useImage="0"/></hh:bullets>'
        f"<hh:paraProperties>{shapes}</hh:paraProperties><hh:styles>{styles}</hh:styles></hh:refList></hh:head>"
    )


def p(*parts: str, shape: int = 0, style: int = 0) -> str:
    """A paragraph; a part that begins with "<" is markup of a run, another one is words."""
    runs = "".join(part if part.startswith("<") else f"<hp:t>{escape(part)}</hp:t>" for part in parts)
    line = '<hp:linesegarray><hp:lineseg textpos="0"/></hp:linesegarray>'
    return (
        f'<hp:p id="0" paraPrIDRef="{shape}" styleIDRef="{style}"><hp:run charPrIDRef="0">{runs}</hp:run>{line}</hp:p>'
    )


def sub_list(*paragraphs: str) -> str:
    return f'<hp:subList id="" vertAlign="TOP">{"".join(paragraphs)}</hp:subList>'


def section_definition() -> str:
    return '<hp:secPr id="" outlineShapeIDRef="1"><hp:grid lineGrid="0"/></hp:secPr>'


def table(
    cells: Sequence[tuple[int, int, int, int, Sequence[str]]], *, caption: Sequence[str] = (), header: bool = False
) -> str:
    """Cells as (row, column, rows, columns, paragraphs). `header`: the first row is marked as one."""
    rows: dict[int, str] = {}
    for row, column, height, width, paragraphs in cells:
        rows[row] = rows.get(row, "") + (
            f'<hp:tc name="" header="{int(header and row == 0)}">{sub_list(*paragraphs)}'
            f'<hp:cellAddr colAddr="{column}" rowAddr="{row}"/><hp:cellSpan colSpan="{width}" rowSpan="{height}"/></hp:tc>'
        )
    title = f'<hp:caption side="TOP">{sub_list(*caption)}</hp:caption>' if caption else ""
    return f'<hp:tbl id="1" rowCnt="{len(rows)}">{title}{"".join(f"<hp:tr>{row}</hp:tr>" for row in rows.values())}</hp:tbl>'


def note(kind: str, *paragraphs: str) -> str:
    """`kind`: footNote, endNote, header, footer or hiddenComment."""
    return f'<hp:ctrl><hp:{kind} number="1">{sub_list(*paragraphs)}</hp:{kind}></hp:ctrl>'


def auto_number(kind: str, number: int) -> str:
    """`kind`: FOOTNOTE, PICTURE, TABLE or EQUATION."""
    return (
        f'<hp:ctrl><hp:autoNum num="{number}" numType="{kind}"><hp:autoNumFormat type="DIGIT"/></hp:autoNum></hp:ctrl>'
    )


def text_box(*paragraphs: str) -> str:
    return f'<hp:rect id="1"><hp:drawText lastWidth="1">{sub_list(*paragraphs)}</hp:drawText></hp:rect>'


def equation(script: str) -> str:
    return f'<hp:equation id="1" version="Equation Version 60"><hp:script>{escape(script)}</hp:script></hp:equation>'


def section(*paragraphs: str) -> str:
    return f"{_XML}<hs:sec {_NAMESPACES}>{''.join(paragraphs)}</hs:sec>"


def content_hpf(sections: Sequence[str], title: str = "") -> str:
    items = "".join(f'<opf:item id="{name}" href="Contents/{name}.xml"/>' for name in ("header", *sections))
    spine = "".join(f'<opf:itemref idref="{name}"/>' for name in ("header", *sections))
    return (
        f"{_XML}<opf:package {_NAMESPACES}><opf:metadata><opf:title>{escape(title)}</opf:title></opf:metadata>"
        f"<opf:manifest>{items}</opf:manifest><opf:spine>{spine}</opf:spine></opf:package>"
    )


def archive(parts: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(zipfile.ZipInfo("mimetype"), "application/hwp+zip")  # stored, and first
        for name, content in parts.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def hwpx_file(*sections: str, title: str = "", extra: dict[str, str | bytes] | None = None) -> bytes:
    """A whole file of sections made by `section`; `extra` adds or replaces parts."""
    names = [f"section{index}" for index in range(len(sections))]
    parts: dict[str, str | bytes] = {
        "version.xml": f"{_XML}<hv:HCFVersion xmlns:hv='http://www.hancom.co.kr/hwpml/2011/version' major='5'/>",
        "META-INF/manifest.xml": MANIFEST,
        "Contents/content.hpf": content_hpf(names, title),
        "Contents/header.xml": _header(),
        **{f"Contents/{name}.xml": text for name, text in zip(names, sections, strict=True)},
    }
    return archive({**parts, **(extra or {})})
