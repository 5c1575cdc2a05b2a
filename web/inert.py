"""Makes untrusted Markdown harmless to look at: no image is fetched, raw HTML is shown as text, `[1]` stays a footnote.

Knows nothing of pages or answers. Code spans and fenced blocks stay as they are. This is the first of three nets: the
page's sanitizer and its content security policy catch what slips through.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_CODE = re.compile(
    r"""(?P<fenced>^[ \t>]*(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z))
      | (?P<span>(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=ticks)(?!`))""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
# "훌륭합니다![1]" is an exclamation and a footnote, "![1](http://…)" is an image.
_IMAGE_MARK = re.compile(r"!(?=\[)(?!\[\d+\](?!\())")
_TAG_START = re.compile(r"<(?=[A-Za-z/!?])")
_AUTOLINK = re.compile(r"<(?=https?://[^\s<>]*>)", re.IGNORECASE)
_FOOTNOTE_AS_LINK = re.compile(r"(\[\d+\])\(")
_FOOTNOTE_AS_DEFINITION = re.compile(r"^([ \t>]*\[\d+\]):", re.MULTILINE)


def without_images(markdown: str) -> str:
    """Images become links: an image that a model was talked into would send its address to a stranger's server."""
    return _outside_code(markdown, lambda text: _IMAGE_MARK.sub("", text))


def displayable(markdown: str) -> str:
    """Images and raw HTML inert, and no way to turn the footnote `[1]` into a link elsewhere. Idempotent."""

    def neutral(text: str) -> str:
        text = _IMAGE_MARK.sub("", text)
        text = _TAG_START.sub(lambda match: "<" if _AUTOLINK.match(text, match.start()) else "&lt;", text)
        text = _FOOTNOTE_AS_LINK.sub(r"\1&#40;", text)
        return _FOOTNOTE_AS_DEFINITION.sub(r"\1&#58;", text)

    return _outside_code(markdown, neutral)


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    pieces: list[str] = []
    position = 0
    for code in _CODE.finditer(markdown):
        pieces += [change(markdown[position : code.start()]), code.group()]
        position = code.end()
    return "".join([*pieces, change(markdown[position:])])
