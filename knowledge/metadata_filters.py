"""LlamaIndex's metadata filters as ours. What cannot be said with ours is refused: a condition that was passed over may
be the one that keeps people apart. Knows nothing about SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import partial

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from knowledge.errors import InvalidFilter
from knowledge.filters import Filters, as_moment, shown

_LISTS = {
    "collection": "collections",
    "document_id": "documents",
    "path": "paths",
    "document": "paths",  # what nodes call their path
    "type": "types",
    "language": "languages",
}
_DATE = "date"
_OFFERED = f"Filter by {', '.join(_LISTS)} with == or in, by {_DATE} with >, >=, < or <=, joined by and."
_MAX_DEPTH = 20
_MAX_CONDITIONS = 200


def to_filters(filters: MetadataFilters | None, *, doc_ids: object = None, node_ids: object = None) -> Filters:
    """`doc_ids`, `node_ids`: ids of documents and of chunks that a query is held to; None is any.

    Raises:
        InvalidFilter: a key, an operator, a condition or a value that is not offered; names it.
    """
    wanted = Filters.from_dict({"documents": doc_ids, "chunks": node_ids})
    for item in _flat(filters):
        wanted = wanted.within(_one(item))
    return wanted


def _flat(filters: MetadataFilters | None) -> list[MetadataFilter]:
    """All conditions of nested groups, which hold at once.

    Raises:
        InvalidFilter: a group of another kind.
    """
    found: list[MetadataFilter] = []
    waiting = [] if filters is None else [(filters, 0)]
    while waiting:
        group, depth = waiting.pop()
        if depth > _MAX_DEPTH or len(found) + len(group.filters) > _MAX_CONDITIONS:
            raise InvalidFilter("The filters are nested too deep or too many.", hint=_OFFERED)
        if group.filters and group.condition not in (None, FilterCondition.AND):
            raise InvalidFilter(f'Joining filters by "{group.condition.value}" is not offered.', hint=_OFFERED)
        for item in group.filters:
            if isinstance(item, MetadataFilters):
                waiting.append((item, depth + 1))
            else:
                found.append(item)
    return found


def _one(item: MetadataFilter) -> Filters:
    if item.key == _DATE and item.operator in _DATES:
        return _DATES[item.operator](item.value)
    if item.key not in _LISTS or item.operator not in (FilterOperator.EQ, FilterOperator.IN):
        raise InvalidFilter(f"A filter {shown(item.key)} {item.operator.value} … is not offered.", hint=_OFFERED)
    values = item.value if item.operator == FilterOperator.IN else [item.value]
    return Filters.from_dict({_LISTS[item.key]: values})


def _from(value: object, *, later: bool) -> Filters:
    return Filters(modified_after=_moment(value, later=later))


def _until(value: object, *, later: bool) -> Filters:
    return Filters(modified_before=_moment(value, later=later))


def _moment(value: object, *, later: bool) -> datetime:
    """`later`: the end of the day or the instant that `value` is, rather than its beginning."""
    moment = as_moment(_DATE, value)
    if not later:
        return moment
    try:
        return moment + (timedelta(days=1) if _is_day(value) else timedelta(microseconds=1))
    except OverflowError as exc:
        raise InvalidFilter(f"The filter {_DATE} has {shown(value)}, after which there is no date.") from exc


def _is_day(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


_DATES: Mapping[FilterOperator, Callable[[object], Filters]] = {
    FilterOperator.GTE: partial(_from, later=False),
    FilterOperator.GT: partial(_from, later=True),
    FilterOperator.LT: partial(_until, later=False),
    FilterOperator.LTE: partial(_until, later=True),
}
