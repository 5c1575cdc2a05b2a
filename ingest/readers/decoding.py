"""Bytes to text in the encodings Korean files come in, and the cleaning every text goes through. Knows no formats."""

from __future__ import annotations

import codecs
import re
import sys
import unicodedata
from functools import lru_cache

from knowledge.errors import ReadFailed

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAGIC = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP or Office file",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"\x89PNG": "an image",
    b"GIF8": "an image",
    b"\xff\xd8\xff": "an image",
    b"\x7fELF": "a program",
    b"\x1f\x8b": "a gzip file",
}
_SAMPLE_BYTES = 65_536
_MAX_CONTROL_SHARE = 0.01
_MIN_HANGUL_SHARE = 0.3
_MIN_UTF16_BYTES = 8
_MIN_ZERO_SHARE = 0.02
_MIN_KNOWN_SHARE = 0.9
_COMMON = frozenset("\t\r\n\u00a0·×÷°±ㆍ…“”‘’「」『』【】《》〈〉※○●◎△▲□■◇◆★☆→←①②③④⑤⑥⑦⑧⑨⑩、。，：；")
_MAX_COMBINING_RUN = 30  # the Stream-Safe Text Format's limit, Unicode Standard Annex 15

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r\x1b"))
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_DROPPED = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\ufeff]")  # with soft hyphens and stray marks
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def decode(data: bytes, *, name: str, declared: str | None = None) -> str:
    """Cleaned text of `data`: by its byte order mark, else UTF-8, else `declared`, else CP949 (which holds EUC-KR).

    Raises:
        ReadFailed: "unsupported" for binary content, "encoding" if no encoding fits strictly.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            text = _strictly(data[len(mark) :], encoding)
            if text is None:
                raise _undecodable(name)
            return clean(text)
    unmarked = _utf16_without_mark(data[:_SAMPLE_BYTES])
    wide = _strictly(data, unmarked) if unmarked else None
    if wide is not None:
        return clean(wide)
    _refuse_binary(data, name)
    found = _strictly(data, "utf-8")
    if found is None and declared:
        found = _strictly(data, declared)
    if found is None:
        found = _strictly(data, "cp949")
        if found is not None and not _looks_korean(found):
            found = None
    if found is None:
        raise _undecodable(name)
    return clean(found)


def clean(text: str) -> str:
    """NFC, line feeds only, no NUL or other control characters, U+FFFD for lone surrogates, plain spaces."""
    text = _LINE_ENDS.sub("\n", text)
    text = _DROPPED.sub("", text).replace("\u00a0", " ")
    text = _LONE_SURROGATE.sub("\ufffd", text)
    if not text.isascii():
        # Composition is quadratic in a run of combining marks: 60,000 of them took 2.7 s.
        mark, long_run = _combining()
        # A run that is too long has one of the characters looked at. Looking at all took 40 s for 200 MB.
        if mark.search(text[:: _MAX_COMBINING_RUN + 1]):
            text = long_run.sub(r"\1", text)
        text = unicodedata.normalize("NFC", text)
    return text


@lru_cache(maxsize=1)
def _combining() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A combining mark, and too many of them in a row (the first group may stay)."""
    codes = range(0x300, min(0x1F000, sys.maxunicode))
    mark = f"[{re.escape(''.join(chr(code) for code in codes if unicodedata.combining(chr(code))))}]"
    return re.compile(mark), re.compile(f"({mark}{{{_MAX_COMBINING_RUN}}}){mark}+")


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return str(codecs.decode(data, encoding, "strict"))
    except (UnicodeError, LookupError, ValueError, TypeError):  # the last ones: a declared encoding that is none
        return None


def _looks_korean(text: str) -> bool:
    """CP949 accepts some bytes of other encodings; Korean text has Hangul among its non-ASCII characters."""
    other = [char for char in text[:_SAMPLE_BYTES] if char > "\x7f"]
    return not other or sum("가" <= char <= "힣" for char in other) >= _MIN_HANGUL_SHARE * len(other)


def _utf16_without_mark(sample: bytes) -> str | None:
    """The byte order of UTF-16 that does not say so: blanks and line ends have a zero byte, always on the same side."""
    zeros = [sample[side::2].count(0) for side in (0, 1)]
    if len(sample) < _MIN_UTF16_BYTES or sum(zeros) < _MIN_ZERO_SHARE * len(sample):
        return None
    encoding = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    text = sample[: len(sample) // 2 * 2].decode(encoding, "replace")
    known = sum(char in _COMMON or " " <= char <= "~" or "가" <= char <= "힣" for char in text)
    return encoding if known >= _MIN_KNOWN_SHARE * len(text) else None


def _refuse_binary(data: bytes, name: str) -> None:
    sample = data[:_SAMPLE_BYTES]
    what = next((what for magic, what in _MAGIC.items() if sample.startswith(magic)), None)
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if what is None and controls > _MAX_CONTROL_SHARE * len(sample) and controls > 1:
        what = "binary data"
    if what:
        raise ReadFailed(
            f"{name} holds {what}, not text.",
            reason="unsupported",
            hint="Give it its right ending, or save it as text.",
        )


def _undecodable(name: str) -> ReadFailed:
    return ReadFailed(
        f"{name} is neither UTF-8, UTF-16 nor CP949 text.", reason="encoding", hint="Save it as UTF-8 and try again."
    )
