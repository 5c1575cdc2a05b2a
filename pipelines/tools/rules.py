"""Which tool a question asks for, by the rules of the tools file: the way without a language model.

Looks at what the user wrote, and at nothing else. A follow-up ("그럼 2024년 11월은?") may take what it lacks from the
user's earlier questions, the latest first; something it must bring itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.tools.types import Rule, ToolCall, ToolSettings

_LOOKED_AT_CHARS = 500  # of each question
_OTHER_WORDS = 1
_SMALL_WORD_CHARS = 3  # "of", "the", "per"


def choose_by_rules(
    tools: Iterable[tuple[str, ToolSettings]],
    question: str,
    *,
    earlier: Sequence[str] = (),
    most: int,
    first: bool = False,
) -> list[ToolCall]:
    """At most `most` calls; `first`: only by rules that go before the documents. `tools`: each with its server's name. `earlier`: the user's questions, oldest first, where
    `question` leans on them."""
    texts = [text[:_LOOKED_AT_CHARS] for text in (question, *reversed(earlier))]
    calls = []
    for server, tool in tools:
        for rule in tool.rules:
            if first and not (rule.first and _is_all(rule, texts[0])):
                continue
            found = _found(rule, texts)
            if found is not None:
                calls.append(ToolCall(f"{server}.{tool.name}", _arguments(rule, found)))
                break
    return calls[:most]


def _found(rule: Rule, texts: Sequence[str]) -> dict[str, str] | None:
    """The named groups; None where the rule does not hold."""
    if any(pattern.search(texts[0]) for pattern in rule.unless):
        return None
    groups: dict[str, str] = {}
    brings = False
    for pattern in (*rule.needs, *rule.takes):
        at, match = next(((n, m) for n, m in enumerate(map(pattern.search, texts)) if m), (0, None))
        if match is None:
            if pattern in rule.needs:
                return None
            continue
        brings = brings or at == 0
        for name, text in match.groupdict().items():
            if text is not None and name not in groups:
                groups[name] = rule.values.get(name, {}).get(text.casefold(), text)
    return groups if brings else None


def _is_all(rule: Rule, question: str) -> bool:
    """Whether the question asks for this and hardly more: "환율이 원가에 얼마나 영향을 주나" names an exchange rate, too."""
    spans = [match.span() for pattern in (*rule.needs, *rule.takes) for match in pattern.finditer(question)]
    others = 0
    for word in re.finditer(r"\S+", question):
        is_small = word.group().isascii() and len(word.group().strip("?!.,")) <= _SMALL_WORD_CHARS
        if not is_small and not any(start < word.end() and word.start() < end for start, end in spans):
            others += 1
    return others <= _OTHER_WORDS


def _arguments(rule: Rule, groups: Mapping[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for name, template in rule.arguments.items():
        if not isinstance(template, str):
            arguments[name] = template
        elif all(group in groups for group in re.findall(r"\{(\w+)", template)):
            arguments[name] = template.format_map(groups)
    return arguments
