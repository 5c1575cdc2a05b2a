"""What tools wrote, made safe to keep and to show: no control characters, no lone surrogates, a known length."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def cleaned(text: str) -> str:
    """Without what cannot be stored (NUL, surrogates) and what hides or turns text around (zero width, bidi)."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").encode("utf-8", "replace").decode("utf-8"))


def one_line(text: str, most_chars: int) -> str:
    line = " ".join(cleaned(text).split())
    return line if len(line) <= most_chars else line[: most_chars - 1] + "…"


def cut(text: str, most_chars: int) -> tuple[str, int]:
    """At most so many characters, ended at a line or a space where one is near; and how many there were, 0 if all fit."""
    text = text.strip()
    if len(text) <= most_chars:
        return text, 0
    head = text[: most_chars - 1]
    at = max(head.rfind("\n"), head.rfind(" "))
    return (head[:at] if at > 0.8 * most_chars else head).rstrip() + "…", len(text)
