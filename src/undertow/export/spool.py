"""Rows that come by frame and go out by object: kept in a file, with only their places in memory."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any


class Spool:
    """Rows under keys, in a temporary file that is gone with the stack it is opened on.

        >>> with ExitStack() as stack:
        ...     spool = Spool(stack)
        ...     spool.add("dog", [0, 1])
        ...     spool.add("cat", [2])
        ...     spool.add("dog", [3])
        ...     spool.keys, list(spool.rows("dog"))
        (['dog', 'cat'], [[0, 1], [3]])

    Attributes:
        count: Number of rows.
    """

    def __init__(self, stack: ExitStack) -> None:
        """Opens the file."""
        self._file = stack.enter_context(tempfile.TemporaryFile("w+b"))  # noqa: SIM115
        self._places: dict[str, list[int]] = {}
        self.count = 0

    @property
    def keys(self) -> list[str]:
        """The keys, in the order in which they first came."""
        return list(self._places)

    def add(self, key: str, row: Any) -> None:
        """Keeps a row, which JSON has to know."""
        self._file.seek(0, 2)
        self._places.setdefault(key, []).append(self._file.tell())
        self._file.write(json.dumps(row).encode() + b"\n")
        self.count += 1

    def rows(self, key: str) -> Iterator[Any]:
        """Yields the rows of a key, in the order in which they came."""
        for place in self._places.get(key, ()):
            self._file.seek(place)
            yield json.loads(self._file.readline())
