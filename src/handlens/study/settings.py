"""Settings of a recipe, laid over it one after another: `a.b: value`, and `a.b+: [more]` for lists."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from handlens.base.errors import HandlensError

ADDS = "+"
"""At the end of a key: add to the list there instead of putting the value in its place."""


def laid_over(values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a recipe's values with these settings in them; numbers in a key count the items of a list."""
    changed = deepcopy(dict(values))
    for key, value in settings.items():
        _lay(changed, key, deepcopy(value))
    return changed


def _lay(values: dict[str, Any], key: str, value: Any) -> None:
    *parts, last = key.removesuffix(ADDS).split(".")
    if not all((*parts, last)):
        raise HandlensError(f"{key!r} is no place in a recipe. Write it as train.epochs.")
    inner: Any = values
    for part in parts:
        inner = _inside(inner, part, key)
    if isinstance(inner, list):
        inner[_number(inner, last, key)] = _added(inner[_number(inner, last, key)], value, key)
    else:
        inner[last] = _added(inner.get(last), value, key)


def _inside(values: Any, part: str, key: str) -> Any:
    """What stands below one part of a key; made where there is nothing yet."""
    if isinstance(values, list):
        found = values[_number(values, part, key)]
    else:
        if values.get(part) is None:
            values[part] = {}
        found = values[part]
    if not isinstance(found, dict | list):
        # A recipe may say freeze: all where another says freeze: {stages: 3}.
        found = {}
        if isinstance(values, list):
            values[_number(values, part, key)] = found
        else:
            values[part] = found
    return found


def _number(values: list[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(values):
        raise HandlensError(
            f"{key}: there is a list of {len(values)} there, and {part!r} is none of its items, which count "
            "from 0."
        )
    return int(part)


def _added(before: Any, value: Any, key: str) -> Any:
    """The value itself, or what is there with the value behind it where the key says so."""
    if not key.endswith(ADDS):
        return value
    if not isinstance(value, list) or not isinstance(before, list | None):
        raise HandlensError(f"{key}: the {ADDS} adds a list to a list. Write the value as a list, [...].")
    return [*(before or []), *value]
