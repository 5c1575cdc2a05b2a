"""Named styles of answering: a role, a tone, and what may be searched. From a TOML file that the operator writes.

    [grain]
    title = "Grain desk"                 # shown where a style is chosen; title_ko for Korean
    role = "You help the buyers of a feed company."
    tone = "Short, with figures first."
    collections = ["grain", "contracts"]  # none: all

A persona narrows and colours, it never loosens: the rules on passages and footnotes stand above it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowledge.errors import InvalidMessage
from knowledge.filters import Filters

_NAME = re.compile(r"[\w.-]{1,64}")
_TEXTS = ("title", "title_ko", "role", "tone")
_MAX_CHARS = 2_000


class PersonasError(ValueError):
    """The file cannot be used. The message is one sentence that names it and the place in it."""


@dataclass(frozen=True, slots=True)
class Persona:
    """`collections`: names of those that are searched; None is all."""

    name: str
    title: str = ""
    title_ko: str = ""
    role: str = ""
    tone: str = ""
    collections: tuple[str, ...] | None = None

    @property
    def style(self) -> str:
        """What the model is told of it."""
        return "\n".join(filter(None, [self.role, self.tone]))

    @property
    def scope(self) -> Filters | None:
        return None if self.collections is None else Filters(collections=self.collections)

    def shown(self, language: str) -> str:
        return (self.title_ko if language == "ko" else self.title) or self.title or self.title_ko or self.name


NOBODY = Persona("")


def load_personas(file: Path) -> dict[str, Persona]:
    """Raises:
    PersonasError: the file is not readable, not TOML, or says something that a persona has not.
    """
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise PersonasError(f"{file} cannot be read ({exc.strerror}).") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise PersonasError(f"{file} is no TOML: {exc}.") from exc
    return {name: _persona(file, name, fields) for name, fields in data.items()}


def chosen(personas: Mapping[str, Persona], name: str) -> Persona:
    """ "" is nobody.

    Raises:
        InvalidMessage: there is no such persona.
    """
    if not name:
        return NOBODY
    persona = personas.get(name)
    if persona is None:
        listed = ", ".join(personas) or "none"
        raise InvalidMessage(
            f"There is no persona {name[:64]!r}.", reason="unknown_persona", hint=f"There are: {listed}."
        )
    return persona


def _persona(file: Path, name: str, fields: Any) -> Persona:
    if not _NAME.fullmatch(name):
        raise PersonasError(f"{file}: {name!r} is no name of a persona (letters, digits, _ . -).")
    if not isinstance(fields, dict):
        raise PersonasError(f"{file}: {name} is no table; write [{name}] and its fields below.")
    for key, value in fields.items():
        if key == "collections":
            if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
                raise PersonasError(f"{file}: {name}.collections is no list of names.")
        elif key not in _TEXTS:
            raise PersonasError(f"{file}: {name}.{key} is not known; there are {', '.join(_TEXTS)}, collections.")
        elif not isinstance(value, str) or len(value) > _MAX_CHARS:
            raise PersonasError(f"{file}: {name}.{key} is no text of at most {_MAX_CHARS:,} characters.")
    names = fields.get("collections")
    texts = {key: fields[key].strip() for key in _TEXTS if key in fields}
    return Persona(name, **texts, collections=None if names is None else tuple(names))
