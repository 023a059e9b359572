"""What was found out at a cost, kept in the user's cache directory for later runs.

One SQLite file, so that several processes may use it at once and one that is killed leaves it whole. It is a
convenience: where it cannot be read or written everything is found out anew, and what cannot be read as what is looked
for counts as not there.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import platformdirs
from pydantic import ConfigDict, TypeAdapter, ValidationError

MAX_BYTES = 256 << 20  # of values; the least recently written go first
_SCHEMA = "CREATE TABLE IF NOT EXISTS found (key TEXT PRIMARY KEY, value BLOB NOT NULL, written REAL NOT NULL)"
_FORGET = """
    DELETE FROM found WHERE key IN (
        SELECT key FROM (SELECT key, SUM(LENGTH(value)) OVER (ORDER BY written DESC) AS total FROM found)
        WHERE total > ?
    )"""
_CONFIG = ConfigDict(ser_json_inf_nan="constants")
T = TypeVar("T")
_PATIENCE_S = 5.0  # that another process may take to write


class Store:
    """Values by key, both of the caller's making; the key says everything that decides the value."""

    def __init__(self, path: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._path = path or platformdirs.user_cache_path("onnxcomp", appauthor=False) / "found.sqlite"
        self._max_bytes = max_bytes

    def get(self, key: str) -> bytes | None:
        """What was kept under `key`, or None."""
        try:
            with self._open() as database:
                row = database.execute("SELECT value FROM found WHERE key = ?", (key,)).fetchone()
        except (OSError, sqlite3.Error):
            return None
        return bytes(row[0]) if row else None

    def put(self, key: str, value: bytes) -> None:
        """Keep `value`, in place of what was there."""
        try:
            with self._open() as database, database:
                database.execute("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", (key, value, time.time()))
                database.execute(_FORGET, (self._max_bytes,))
        except (OSError, sqlite3.Error):
            return

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=_PATIENCE_S)) as database:
            database.execute(_SCHEMA)
            yield database


class Shelf(Generic[T]):
    """The part of a store, None for one that forgets, that holds values of one type under keys with a common start."""

    def __init__(self, store: Store | None, start: str, kind: type[T]) -> None:
        self._store = store
        self._start = start
        self._adapter: TypeAdapter[list[T]] = TypeAdapter(list[kind], config=_CONFIG)  # type: ignore[valid-type]

    def get(self, key: str) -> T | None:
        """What was kept under `key`, or None."""
        found = self._store.get(self._name(key)) if self._store else None
        try:
            return None if found is None else self._adapter.validate_json(found)[0]
        except (ValidationError, IndexError):  # of another version
            return None

    def put(self, key: str, value: T) -> None:
        """Keep `value`."""
        if self._store:
            self._store.put(self._name(key), self._adapter.dump_json([value]))

    def _name(self, key: str) -> str:
        return hashlib.sha256(f"{self._start}\n{key}".encode()).hexdigest()
