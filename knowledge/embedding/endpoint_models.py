"""What well-known embedding models want before a question and before a passage, by their names.

From the models' own cards. A wrong prefix costs a few points of nDCG and nothing tells of it, so it is not left to the
user for the models that one meets. Knows nothing about servers.
"""

from __future__ import annotations

import re

_TASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
# The first that matches counts. (pattern in the lower-case name, before a question, before a passage)
_KNOWN = (
    (r"qwen3-(vl-)?embedding", _TASK, ""),
    (r"e5-.*instruct|gte-qwen2-.*instruct", f"{_TASK} ", ""),
    (r"(^|[/_-])e5-", "query: ", "passage: "),
    (r"bge-m3|kure-v1", "", ""),
    (r"bge-.*-en(-|$)", "Represent this sentence for searching relevant passages: ", ""),
    (r"arctic-embed-.*v2", "query: ", ""),
    (r"nomic-embed-text", "search_query: ", "search_document: "),
    (r"embeddinggemma", "task: search result | query: ", "title: none | text: "),
)


def known_prefixes(*names: str) -> tuple[str, str] | None:
    """What goes before a question and before a passage; None where none of the model's `names` is known."""
    for name in names:
        for pattern, query, passage in _KNOWN:
            if re.search(pattern, name.lower()):
                return query, passage
    return None


def configured_prefix(setting: str) -> str | None:
    """A prefix as a setting has it: "" leaves it to the model's name (None), "none" is no prefix, `\\n` a line break."""
    if not setting:
        return None
    return "" if setting.strip().lower() == "none" else setting.replace("\\n", "\n")
