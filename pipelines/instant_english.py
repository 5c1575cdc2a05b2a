"""The wording of an English question: without articles, helping verbs and politeness, its words in the singular, in order.

Order is all that says who does what to whom, so it stays. Knows nothing about where questions are stored.
"""

from __future__ import annotations

import re

from knowledge.lexemes import stem
from pipelines.instant_wording import Wording

_TOKENS = re.compile(r"(?:(?<!\w)[-−])?\d[\d,]*(?:\.\d+)?|[a-z]+(?:[-./+#][a-z0-9]+)*[+#]*|[%$€£&<>=+,]|[^\W_]+")
_SHORT = (
    (re.compile(r"\b(what|how|who|where|when|why|it|that|there)['’]s\b"), r"\1 is"),
    (re.compile(r"\bcan['’]?t\b|\bcannot\b"), "can not"),
    (re.compile(r"\bwon['’]t\b"), "will not"),
    (re.compile(r"n['’]t\b"), " not"),
    (re.compile(r"['’](?:s|re|m)\b|s['’](?=\s)"), ""),
    (re.compile(r"^(?:(?:hi|hello|hey|please|so|excuse me)[\s,]+)+"), ""),
    (re.compile(r"^(?:(?:can|could|would) you )?(?:please )?(?:tell me|explain|let me know) (?=what|how|when|where|why|who|which|if)"), ""),
    (re.compile(r"^(?:do you know|i (?:want|would like|need) to know|i wonder) (?=what|how|when|where|why|who|which)"), ""),
    (re.compile(r"^(?:what is |what are )?(?:the |a )?(?:best |right )?ways? (?:to|of) "), "how "),
    (re.compile(r"\bhow (?:(?:do|can|could|should|would|may|must) (?:i|we|you|one)|to)\b"), "how"),
    (re.compile(r"[\s,]*\bplease\b"), ""),
)  # fmt: skip
_DROPPED = frozenset("a an the do does is are am be i me my we our us you your own just exactly actually".split())
_PAST = frozenset("did was were had".split())
_OPENS = frozenset("what how when where why who which do does is are can could will did should".split())
_OWN_WORDS = frozenset(
    "news goods customs futures arms means works series species glasses times savings damages".split()
)
_SMALL = frozenset("and or to of in on at by for from with into if as than per".split())


def english_wording(text: str) -> Wording:
    text = text.casefold().strip(" ?.!")
    for pattern, instead in _SHORT:
        text = pattern.sub(instead, text)
    clauses = _in_order(re.split(r", (?=[a-z])", text))
    words: list[str] = []
    tokens = _TOKENS.findall(" ".join(clauses))
    for at, word in enumerate(tokens):
        # At the end it is no helper: "What do auricles do?"
        if word == "," or (word in _DROPPED and not (word in ("do", "does") and at == len(tokens) - 1)):
            continue
        words.append(
            "<past>" if word in _PAST else "<not>" if word in ("not", "never") else singular(word.replace(",", ""))
        )
    for at in range(1, len(words) - 1):
        if words[at] in ("and", "or"):
            words[at - 1], words[at + 1] = sorted((words[at - 1], words[at + 1]))
    nouns = [
        stem(word) for word in words if word.isalpha() and word not in _SMALL and word not in _OPENS and len(word) > 2
    ]
    # A space between the words: "can not" is not "cannot" by chance.
    return Wording(tuple((f"{word} ", "") for word in words), frozenset(), tuple(dict.fromkeys(nouns)))


def _in_order(clauses: list[str]) -> list[str]:
    """ "When it rains, what happens?" as "what happens when it rains"."""
    if len(clauses) == 2 and clauses[0].startswith(("when ", "if ")) and clauses[1].split(" ", 1)[0] in _OPENS:
        return [clauses[1], clauses[0]]
    return clauses


def singular(word: str) -> str:
    if (
        not (word.isascii() and word.isalpha())
        or len(word) < 4
        or word.endswith(("ss", "us", "is"))
        or word in _OWN_WORDS
    ):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") else word
