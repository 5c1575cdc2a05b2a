"""One conversation as a list shows it, its title, and which of its turns a page holds. Knows nothing about Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MAX_TITLE_CHARS = 80


@dataclass(frozen=True, slots=True)
class Session:
    """`created`, `updated`: seconds since the epoch. `title`: of the first question, until it is renamed."""

    id: str
    title: str
    created: float
    updated: float
    turns: int
    persona: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def title_of(text: str) -> str:
    """What a conversation that begins with this question, or is given this name, is called."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TITLE_CHARS else line[: MAX_TITLE_CHARS - 1] + "…"


def session_of(session_id: str, facts: Mapping[str, str], turns: int) -> Session:
    return Session(
        id=session_id,
        title=facts.get("title", ""),
        created=float(facts["created"]),
        updated=float(facts["updated"]),
        turns=turns,
        persona=facts.get("persona", ""),
    )


def slice_before(ids: Sequence[str], *, last: int | None, before: str | None) -> list[str]:
    """The `last` ids that stand before the id `before`; all of them where these are None, none where it is unknown."""
    if before is not None:
        ids = ids[: ids.index(before)] if before in ids else []
    return list(ids[-last:] if last else ids)
