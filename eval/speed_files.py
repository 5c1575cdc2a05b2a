"""Makes the files that ingestion's speed is measured on: variants of the shipped documents, packages full of pictures,
a long PDF, thousands of texts. Written by hand, as no program that makes such files is needed to run Gakju.
"""

from __future__ import annotations

import base64
import os
import random
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_PARAGRAPHS = re.compile(r"\n{2,}")
_NUMBER = re.compile(r"\d+")
_TEXT_ENDINGS = (".md", ".txt")
_PICTURE_BLOCK_BYTES = 4_000_000
_LINES_A_PAGE = 45
_CHARS_A_LINE = 38
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_FONT = (
    b"<</Type/Font/Subtype/Type0/BaseFont/HYSMyeongJo-Medium/Encoding/UniKS-UCS2-H/DescendantFonts["
    b"<</Type/Font/Subtype/CIDFontType0/BaseFont/HYSMyeongJo-Medium/CIDSystemInfo"
    b"<</Registry(Adobe)/Ordering(Korea1)/Supplement 1>>/DW 1000/W[1 95 500]>>]>>"
)


def copy_with_variants(source: Path, target: Path, *, variants: int) -> None:
    """The folder `source` as it is, and its texts `variants` times more: paragraphs shuffled, numbers changed."""
    shutil.copytree(source, target / "0")
    for number in range(1, variants + 1):
        rng = random.Random(number)  # noqa: S311 - reproducible, not secret
        for file in sorted(source.rglob("*")):
            if file.suffix in _TEXT_ENDINGS:
                copy = target / str(number) / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(_varied(file.read_text(encoding="utf-8"), rng), encoding="utf-8")


def _varied(text: str, rng: random.Random) -> str:
    title, *paragraphs = _PARAGRAPHS.split(text.strip())
    rng.shuffle(paragraphs)
    return _NUMBER.sub(lambda match: str(rng.randrange(10 ** len(match[0]))), "\n\n".join([title, *paragraphs])) + "\n"


def shipped_paragraphs(source: Path) -> list[str]:
    """Paragraphs of prose of the shipped documents, Korean and English, in a stable order."""
    files = sorted(file for file in source.rglob("*.md"))
    paragraphs = (part for file in files for part in _PARAGRAPHS.split(file.read_text(encoding="utf-8")))
    return [" ".join(part.split()) for part in paragraphs if len(part) > 80 and not part.startswith(("#", "|", "```"))]


def picture_file(path: Path, paragraph: str, *, picture_bytes: int) -> None:
    """A .docx, .pptx or .pdf of one paragraph and a picture that no packing makes smaller; a .txt has none."""
    writers: dict[str, Callable[[Path, str, int], None]] = {".docx": _docx, ".pptx": _pptx, ".pdf": _pdf_with_picture}
    writer = writers.get(path.suffix)
    if writer:
        writer(path, paragraph, picture_bytes)
    else:
        path.write_text(paragraph + "\n", encoding="utf-8")


def _docx(path: Path, paragraph: str, picture_bytes: int) -> None:
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    parts = {
        "_rels/.rels": _relations({"rId1": ("officeDocument", "word/document.xml")}),
        "word/_rels/document.xml.rels": _relations({"rId1": ("image", "media/image1.png")}),
        "word/document.xml": f'<w:document xmlns:w="{word}"><w:body><w:p><w:r><w:t>{paragraph}</w:t></w:r></w:p>'
        "</w:body></w:document>",
    }
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    _package(path, parts, {"/word/document.xml": kind}, "word/media/image1.png", picture_bytes)


def _pptx(path: Path, paragraph: str, picture_bytes: int) -> None:
    names = f'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:r="{_OFFICE}/relationships" '
    names += 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    shape = f"<p:sp><p:txBody><a:p><a:r><a:t>{paragraph}</a:t></a:r></a:p></p:txBody></p:sp>"
    parts = {
        "_rels/.rels": _relations({"rId1": ("officeDocument", "ppt/presentation.xml")}),
        "ppt/_rels/presentation.xml.rels": _relations({"rId1": ("slide", "slides/slide1.xml")}),
        "ppt/presentation.xml": f'<p:presentation {names}><p:sldIdLst><p:sldId id="256" r:id="rId1"/></p:sldIdLst>'
        "</p:presentation>",
        "ppt/slides/_rels/slide1.xml.rels": _relations({"rId1": ("image", "../media/image1.png")}),
        "ppt/slides/slide1.xml": f"<p:sld {names}><p:cSld><p:spTree>{shape}</p:spTree></p:cSld></p:sld>",
    }
    kind = "application/vnd.openxmlformats-officedocument.presentationml"
    kinds = {
        "/ppt/presentation.xml": f"{kind}.presentation.main+xml",
        "/ppt/slides/slide1.xml": f"{kind}.slide+xml",
    }
    _package(path, parts, kinds, "ppt/media/image1.png", picture_bytes)


def _relations(targets: dict[str, tuple[str, str]]) -> str:
    items = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/relationships/{kind}" Target="{target}"/>'
        for key, (kind, target) in targets.items()
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{items}</Relationships>'


def _package(path: Path, parts: dict[str, str], kinds: dict[str, str], picture: str, picture_bytes: int) -> None:
    overrides = "".join(f'<Override PartName="{name}" ContentType="{kind}"/>' for name, kind in kinds.items())
    defaults = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    defaults += '<Default Extension="png" ContentType="image/png"/>'
    types = f'<Types xmlns="{_PACKAGE}/content-types">{defaults}{overrides}</Types>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, xml in {"[Content_Types].xml": types, **parts}.items():
            package.writestr(name, _XML + xml)
        with package.open(zipfile.ZipInfo(picture), "w") as member:  # stored, as pictures are packed themselves
            for block in _noise(picture_bytes):
                member.write(block)


def _noise(size: int) -> Iterator[bytes]:
    for at in range(0, size, _PICTURE_BLOCK_BYTES):
        yield os.urandom(min(_PICTURE_BLOCK_BYTES, size - at))


def _pdf_with_picture(path: Path, paragraph: str, picture_bytes: int) -> None:
    width = 1000
    height = max(1, picture_bytes // (3 * width))
    drawn = _page_content([*_wrapped(paragraph)]) + b"\nq 400 0 0 200 60 60 cm /I Do Q"
    picture = b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB/BitsPerComponent 8/Length %d>>"
    objects: list[tuple[bytes, Sequence[bytes] | Iterator[bytes]]] = [
        (b"<</Type/Catalog/Pages 2 0 R>>", ()),
        (b"<</Type/Pages/Kids[4 0 R]/Count 1>>", ()),
        (_FONT, ()),
        (_page(5, b"/XObject<</I 6 0 R>>"), ()),
        (b"<</Length %d>>" % len(drawn), (drawn,)),
        (picture % (width, height, 3 * width * height), _noise(3 * width * height)),
    ]
    _write_pdf(path, objects)


def long_pdf(path: Path, paragraphs: Sequence[str], *, pages: int) -> None:
    """Full pages of running text with a header and page numbers, in a font that is not embedded."""
    texts = [line for number in range(pages) for line in _wrapped(paragraphs[number % len(paragraphs)])]
    objects: list[tuple[bytes, Sequence[bytes]]] = [
        (b"<</Type/Catalog/Pages 2 0 R>>", ()),
        (b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(pages)), pages), ()),
        (_FONT, ()),
    ]
    for number in range(pages):
        at = number * _LINES_A_PAGE
        body = [texts[(at + line) % len(texts)] for line in range(_LINES_A_PAGE)]
        content = zlib.compress(_page_content(["Annual report 연간 보고서", *body, f"- {number + 1} -"]))
        objects.append((_page(5 + 2 * number), ()))
        objects.append((b"<</Length %d/Filter/FlateDecode>>" % len(content), (content,)))
    _write_pdf(path, objects)


def _wrapped(paragraph: str) -> list[str]:
    return [paragraph[at : at + _CHARS_A_LINE] for at in range(0, len(paragraph), _CHARS_A_LINE)]


def _page(content: int, resources: bytes = b"") -> bytes:
    return b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents %d 0 R/Resources<</Font<</F 3 0 R>>%s>>>>" % (
        content,
        resources,
    )


def _page_content(lines: Sequence[str]) -> bytes:
    shown = (
        f"BT /F 10 Tf 1 0 0 1 60 {800 - 16 * number} Tm <{line.encode('utf-16-be').hex()}> Tj ET"
        for number, line in enumerate(lines)
    )
    return "\n".join(shown).encode()


def _write_pdf(path: Path, objects: Sequence[tuple[bytes, Sequence[bytes] | Iterator[bytes]]]) -> None:
    """Objects numbered from 1, the first the catalog, each with the blocks of its stream."""
    places = []
    with path.open("wb") as file:
        file.write(b"%PDF-1.7\n")
        for number, (head, blocks) in enumerate(objects, start=1):
            places.append(file.tell())
            file.write(b"%d 0 obj\n%s\n" % (number, head))
            if blocks:
                file.write(b"stream\n")
                file.writelines(blocks)
                file.write(b"\nendstream\n")
            file.write(b"endobj\n")
        table_at = file.tell()
        file.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
        file.writelines(b"%010d 00000 n \n" % place for place in places)
        file.write(b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table_at))


def many_texts(folder: Path, *, files: int, median_bytes: int) -> int:
    """Texts of no meaning in folders of a hundred, of sizes as they are on disks (lognormal). Returns bytes in all."""
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    noise = base64.b64encode(rng.randbytes(6_000_000))
    total = 0
    for number in range(files):
        path = folder / f"{number // 100:03}" / f"{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = min(int(rng.lognormvariate(0, 1) * median_bytes), 4_000_000)
        at = rng.randrange(len(noise) - size)
        data = b"%d\n" % number + noise[at : at + size]
        path.write_bytes(data)
        total += len(data)
    return total
