"""Looking a name up in a visible dict, with a helpful error when it is not there."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from handlens.base.errors import HandlensError

Value = TypeVar("Value")


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names a person most likely meant, best first; empty when nothing is near."""
    by_folded = {known.casefold(): known for known in names}
    matches = get_close_matches(name.casefold(), list(by_folded), n=count, cutoff=0.6)
    return [by_folded[match] for match in matches]


def suggestion(name: str, names: Iterable[str]) -> str:
    """' Did you mean ...?' or the empty string, to be put behind a sentence."""
    matches = nearest(name, names)
    return f" Did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""


def look_up(choices: Mapping[str, Value], name: str, what: str) -> Value:
    """The entry of `choices` called `name`; `what` says in the error what is being chosen."""
    if name in choices:
        return choices[name]
    known = ", ".join(sorted(choices))
    raise HandlensError(f"There is no {what} called {name!r}.{suggestion(name, choices)} There are: {known}.")
