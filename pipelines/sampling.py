"""What one request may set of how the model writes, and within which limits. All else a client sends never reaches it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from knowledge.errors import InvalidMessage

_LIMITS: Mapping[str, tuple[type, float, float]] = {
    "temperature": (float, 0, 2),
    "top_p": (float, 0.01, 1),
    "max_tokens": (int, 1, 32_768),
    "seed": (int, 0, 2**31 - 1),
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """None: as the settings say. `max_tokens` cannot exceed the setting's limit of an answer, only shorten it."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None

    @classmethod
    def checked(cls, wanted: Mapping[str, Any]) -> Sampling:
        """Raises:
        InvalidMessage: an option that is not offered, or a value outside its limits; the sentence names both.
        """
        values: dict[str, Any] = {}
        for name, value in wanted.items():
            if name not in _LIMITS:
                raise InvalidMessage(
                    f"The option {name[:40]!r} is not offered.",
                    reason="unknown_option",
                    hint=f"Offered are {', '.join(_LIMITS)}.",
                )
            if value is None:
                continue
            kind, low, high = _LIMITS[name]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            is_whole = isinstance(value, int) or (is_number and math.isfinite(value) and value == int(value))
            if not is_number or (kind is int and not is_whole) or value != value:
                raise InvalidMessage(f"The option {name} is not a number.", reason="bad_option", hint=_range(name))
            if not low <= value <= high:
                raise InvalidMessage(f"The option {name} is {value}.", reason="bad_option", hint=_range(name))
            values[name] = kind(value)
        return cls(**values)

    def to_arguments(self, *, max_tokens: int | None) -> dict[str, Any]:
        """For the language model's call. `max_tokens`: what an answer may have at most."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if "max_tokens" in given and max_tokens:
            given["max_tokens"] = min(given["max_tokens"], max_tokens)
        return given


def _range(name: str) -> str:
    kind, low, high = _LIMITS[name]
    return f"It takes {'whole numbers' if kind is int else 'numbers'} from {low:g} to {high:g}."
