"""What earlier runs found, in one SQLite file; a run goes on without it where it cannot be used."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from handlens.base.progress import say


class Remembered:
    """Tables that may be lost at any time, because all in them can be computed again.

    SQLite keeps the file whole through kill -9 and concurrent runs. Its ordinary journal is used, not the
    write-ahead log, which does not work on the network folders that many home folders are.
    """

    def __init__(self, path: Path, *tables: str) -> None:
        """`tables` are the statements that make them where they are not there yet."""
        self._path = path
        self._tables = tables
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        with self._forgiving():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=10)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            for table in self._tables:
                self._connection.execute(table)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a query finds; nothing where the file cannot be used."""
        with self._forgiving():
            if self._connection is not None:
                return self._connection.execute(query, values).fetchall()
        return []

    def write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Remember some rows, all or none."""
        with self._forgiving():
            if self._connection is not None and rows:
                with self._connection:
                    self._connection.executemany(statement, rows)

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Give the memory up for this run when anything is wrong; a damaged one starts anew next time."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                with suppress(OSError):
                    self._path.unlink()
            say(f"What was found is not remembered for the next run: {error}.")
