"""What a question says, in order, without how politely it says it; and when two questions say the same.

Knows nothing about languages: pipelines/instant_korean.py and pipelines/instant_english.py make wordings of questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LOOSE_ROLES = frozenset(["", "는", "가", "를", "에", "로"])  # speech leaves them out, or says 는 instead


@dataclass(frozen=True, slots=True)
class Wording:
    """`items`: (word, role) in order; a role is the particle that says what the word is to the verb, "" where none is
    said. `asks`: question words that may stand anywhere. `nouns`: lexemes by which the question is looked up.
    """

    items: tuple[tuple[str, str], ...]
    asks: frozenset[str]
    nouns: tuple[str, ...]

    def same_as(self, other: Wording) -> bool:
        if self.asks != other.asks or not self.items:
            return False
        flat, other_flat = _flat(self.items), _flat(other.items)
        if flat == other_flat:
            roles, others = _roles(self.items), _roles(other.items)
            return all(_agree(roles.get(at, ""), others.get(at, "")) for at in roles.keys() | others.keys())
        return Counter(phrases := _phrases(self.items)) == Counter(_phrases(other.items)) and len(phrases) > 1


def _flat(items: Iterable[tuple[str, str]]) -> str:
    """Without the borders between words: Kiwi may see one more or less."""
    return "".join(word for word, _ in items)


def _roles(items: Iterable[tuple[str, str]]) -> dict[int, str]:
    roles: dict[int, str] = {}
    at = 0
    for word, role in items:
        at += len(word)
        if role:
            roles[at] = role
    return roles


def _agree(one: str, other: str) -> bool:
    if one == other:
        return True
    return {one, other} <= _LOOSE_ROLES and (one in ("", "는") or other in ("", "는"))


def _phrases(items: Sequence[tuple[str, str]]) -> list[str]:
    """What may stand in another order without saying anything else; none where that cannot be told.

    In a clause ("환율이 떨어지면") everything but the topic belongs to its verb. No role may come twice: whose verb is whose
    would be told by the order.
    """
    has_clauses = any(word.startswith("<") for word, _ in items)
    roles = [role for _, role in items if role]
    if len(set(roles)) < len(roles) or (has_clauses and sum(word.startswith("<") for word, _ in items) > 1):
        return []
    phrases, phrase = [], ""
    for word, role in items:
        phrase += f"{word} {role} "
        if role == "는" or word.startswith("<") or (role and not has_clauses):
            phrases.append(phrase)
            phrase = ""
    return [*phrases, f"={phrase}"]  # the last one, with the verb of the question, stays the last
