"""An English heading as a question: "How footnotes are checked" → "How are footnotes checked?".

What is no clause is asked about: "What do the documents say about …?". Knows nothing about where headings come from.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from knowledge.lexemes import stem

_AUXILIARY = r"is|are|was|were|can|cannot|could|should|must|will|would|has|have|does|do|did|may"
_IS_QUESTION = re.compile(
    rf"^(?:(?:what|who|which|why|when|where|how(?:\s+(?:many|much|long|often|far|large|big|old|fast))?)(?:'s)?\s+)?(?:{_AUXILIARY})\b"
    r"|^(?:what|who|which)\s+(?:happens|counts|belongs|makes|goes|comes|causes|determines|sets|decides|moves|drives|runs|pays)\b"
    r"|^which\s+\w+\b|^what\s+else\b|^how\s+(?:many|much|long|often)\b.*\b(?:is|are|do|does|can)\b",
    re.IGNORECASE,
)
_HOW_TO = re.compile(r"^how\s+to\s+(?P<rest>.+)$", re.IGNORECASE)
_WHAT_TO = re.compile(
    r"^(?P<word>where|when|what|which \w+|how (?:much|many|often|long))\s+to\s+(?P<rest>.+)$", re.IGNORECASE
)
_INVERTED = re.compile(
    r"^(?P<word>how|why|where)\s+(?P<subject>[^?]{2,60}?)\s+(?P<aux>is|are|was|were|can|should|must|will)\s+(?P<rest>.+)$",
    re.IGNORECASE,
)
_FROM_TO = re.compile(r"^from\s+(?P<rest>.+\s+to\s+.+)$", re.IGNORECASE)
_AT_PLACE = re.compile(r"^(?:in|on|at|to|by|with|for|from|without|after|before|during|under|as)\b", re.IGNORECASE)
_WORKS = re.compile(r"^how\s+(?P<subject>.+?)\s+works?$", re.IGNORECASE)
_WHAT_IS = re.compile(r"^(?P<word>what|who|where)\s+(?P<subject>.+?)\s+(?P<aux>is|are|means?|does)$", re.IGNORECASE)
_WHEN = re.compile(r"^(?P<word>when|if)\s+(?P<rest>\w+(?:\s+\S+){1,})$", re.IGNORECASE)
_CLAUSE = re.compile(r"^(?:how|why|what|where|when|who|which|whether|if)\b", re.IGNORECASE)
_DO = re.compile(
    r"^(?:add|adjust|build|calculate|change|check|choose|configure|connect|convert|create|delete|deploy|disable|download|edit|"
    r"enable|export|find|import|install|limit|manage|open|read|remove|rename|replace|reset|restore|run|save|search|select|"
    r"send|set|share|start|stop|test|uninstall|update|upgrade|upload|use|verify|write)\s+(?!and\b|of\b|in\b|for\b)\w",
    re.IGNORECASE,
)
_POINTS = re.compile(r"\b(?:it|its|they|them|their|this|that|these|those|here|above|below)\b", re.IGNORECASE)
_NAME = re.compile(r"[A-Z].*[A-Z]|\d")  # acronyms, CamelCase, codes
_SMALL_WORDS = frozenset("the a an and or of for in on to with by from at".split())
_LEAST_CLAUSE_WORDS = 3


def english_question(heading: str, *, title: str, lead: str) -> str | None:
    """`title`: of the document, named where the heading speaks of nothing that is in it. `lead`: tells which words have small letters."""
    if heading.endswith("?"):
        return heading
    if _POINTS.search(heading):
        return None  # only its document knows of what
    if len(heading.split()) < _LEAST_CLAUSE_WORDS and _CLAUSE.match(heading):
        return None
    if match := _HOW_TO.match(heading):
        return f"How do I {match['rest']}?"
    if match := _WHAT_TO.match(heading):
        return f"{match['word'].capitalize()} should I {match['rest']}?"
    if match := _FROM_TO.match(heading):
        return f"How do I get from {match['rest']}?"
    if match := _WORKS.match(heading):
        is_many = heading.endswith("work")
        return f"How {'do' if is_many else 'does'} {match['subject']} work?"
    if _IS_QUESTION.match(heading):
        return f"{heading}?"
    if match := _WHAT_IS.match(heading):
        return _what_is(match)
    if match := _INVERTED.match(heading):
        return f"{match['word'].capitalize()} {match['aux']} {match['subject']} {match['rest']}?"
    if match := _WHEN.match(heading):
        return f"What happens {match['word'].lower()} {match['rest']}?"
    if _DO.match(heading):
        return f"How do I {heading[0].lower()}{heading[1:]}?"
    if _AT_PLACE.match(heading):
        return None
    topic = heading[0].lower() + heading[1:] if _CLAUSE.match(heading) else small_letters(heading, f"{lead}. {title}")
    if title and not _stems(heading) & _stems(title):
        return f"What does “{title}” say about {topic}?"
    return f"What do the documents say about {topic}?"


def english_meaning(term: str) -> str:
    return f"What does “{term}” mean?"


def small_letters(heading: str, text: str) -> str:
    """`heading` inside a sentence: words that are no names lose their capital. `text` shows how they are written."""
    words = heading.split()
    has_small = any(word.islower() and len(word) > 2 for word in words[1:])  # then the first is large as the first
    known = _stems(re.sub(r"\b[A-Z]\w*", "", text))
    return " ".join(_small(word, known, text, is_first=at == 0 and has_small) for at, word in enumerate(words))


def _small(word: str, known: Collection[str], text: str, *, is_first: bool) -> str:
    if _NAME.search(word) or not word[:1].isupper():
        return word
    lowered = word[0].lower() + word[1:]
    if stem(lowered.strip(".,:;()'\"’")) in known or lowered in _SMALL_WORDS:
        return lowered
    is_name = re.search(rf"[a-z,;]\s+{re.escape(word)}\b", text)  # with its capital in the middle of a sentence
    return lowered if (is_first or word.endswith("ing")) and not is_name else word


def _stems(text: str) -> set[str]:
    return {stem(word) for word in re.findall(r"[a-z]+", text.lower()) if word not in _SMALL_WORDS}


def _what_is(match: re.Match[str]) -> str:
    word, subject, aux = match["word"].capitalize(), match["subject"], match["aux"].lower()
    if aux in ("is", "are"):
        return f"{word} {aux} {subject}?"
    if aux == "does":
        return f"{word} does {subject} do?"
    return f"{word} {'does' if aux == 'means' else 'do'} {subject} mean?"
