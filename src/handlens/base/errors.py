"""The one exception that a user is meant to read."""

from collections.abc import Iterable


class HandlensError(Exception):
    """Something the user can mend: the message says what is wrong, where, and how to mend it.

    The library raises it; only the command line prints it and turns it into an exit code.
    """


class ToldAlready(HandlensError):
    """What another process of the same training tells, so that this one only ends."""


class Problems(HandlensError):
    """Several things that are wrong at once, told together so that one round of mending is enough."""

    def __init__(self, heading: str, problems: Iterable[str]) -> None:
        self.heading = heading
        self.problems = tuple(problems)
        super().__init__("\n".join([heading, *(f"  - {problem}" for problem in self.problems)]))
