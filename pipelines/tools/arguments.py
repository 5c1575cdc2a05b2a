"""Whether arguments are what a tool takes: checked against its JSON Schema before anything is sent.

The schema is a server's, so nothing that it refers to is fetched, and a schema that is none refuses every call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.exceptions import ValidationError as Mismatch
from referencing import Registry
from referencing.exceptions import Unresolvable

from pipelines.tools.types import Tool, ToolFailed

MAX_ARGUMENTS_CHARS = 2_000
_NUMBERS = {"integer": int, "number": float}


def checked_arguments(tool: Tool, arguments: object) -> dict[str, Any]:
    """The arguments as they are sent: what the schema does not know is refused, a number written as text is taken.

    Raises:
        ToolFailed: bad_arguments, or malformed where the schema itself is wrong.
    """
    if not isinstance(arguments, Mapping):
        raise ToolFailed(tool.full_name, "bad_arguments", said="the arguments are no JSON object")
    taken = {str(name): _as_asked(tool.schema, str(name), value) for name, value in arguments.items()}
    if len(canonical(taken)) > MAX_ARGUMENTS_CHARS:
        raise ToolFailed(tool.full_name, "bad_arguments", said=f"more than {MAX_ARGUMENTS_CHARS:,} characters")
    schema = {"additionalProperties": False, **tool.schema, "type": "object"}
    try:
        Draft202012Validator.check_schema(schema)
        # A registry of our own, or a "$ref" to a URL would be downloaded.
        Draft202012Validator(schema, registry=Registry()).validate(taken)
    except Mismatch as exc:
        raise ToolFailed(tool.full_name, "bad_arguments", said=exc.message[:200]) from exc
    except (SchemaError, Unresolvable, RecursionError) as exc:
        raise ToolFailed(tool.full_name, "malformed", said="its schema of arguments is not valid") from exc
    return taken


def canonical(arguments: Mapping[str, Any]) -> str:
    """The same text for the same arguments, however they are ordered."""
    return json.dumps(arguments, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _as_asked(schema: Mapping[str, Any], name: str, value: object) -> object:
    properties = schema.get("properties")
    wanted = properties.get(name) if isinstance(properties, Mapping) else None
    convert = _NUMBERS.get(str(wanted.get("type"))) if isinstance(wanted, Mapping) else None
    if convert is not None and isinstance(value, str):
        try:
            return convert(value)
        except ValueError:
            return value
    return value
