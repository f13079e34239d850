"""Things that belong together, told two by two, and the sets that come of it."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing", bound=Hashable)


class Joined(Generic[Thing]):
    """Sets that grow together; what is never named is in none of them."""

    def __init__(self) -> None:
        self._parent: dict[Thing, Thing] = {}

    def join(self, one: Thing, other: Thing) -> bool:
        """Make the sets of two things one; whether they were two before."""
        top, further = self._top(one), self._top(other)
        self._parent[further] = top
        return top != further

    def sets(self) -> list[list[Thing]]:
        """What is joined: the sets, and the things in each, as they were first named."""
        members: dict[Thing, list[Thing]] = {}
        for thing in self._parent:
            members.setdefault(self._top(thing), []).append(thing)
        return list(members.values())

    def _top(self, thing: Thing) -> Thing:
        """The one that stands for the set of a thing (Tarjan and van Leeuwen 1984, path halving)."""
        parent = self._parent
        parent.setdefault(thing, thing)
        while parent[thing] != thing:
            # Halving the way keeps later look-ups short.
            parent[thing] = parent[parent[thing]]
            thing = parent[thing]
        return thing
