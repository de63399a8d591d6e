"""What has become of the clips of a batch: a line for every attempt that ended, in the hidden folder `.batch`.

Each part of a batch (`--shard`) writes a log of its own, so that machines that know nothing of each other never write
to one file; all of them are read.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from undertow.base import exclusive, inside

FOLDER, LOG = ".batch", "log.jsonl"


class Log:
    """The log of one part of a batch, to be added to."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, **facts: Any) -> None:
        """Writes a line: `out` and `digest` of a clip, and how it ended."""
        self._file.write(json.dumps(facts) + "\n")
        self._file.flush()


@contextmanager
def open_log(out: Path, shard: tuple[int, int]) -> Iterator[Log]:
    """Yields the log of a part, which this process alone may add to.

    Raises:
        SettingsError: if another process works on the same part.
    """
    folder = inside(out, f"{FOLDER}/{shard[0]}-of-{shard[1]}", links=False)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder), inside(folder, LOG, links=False).open("a", encoding="utf-8") as file:
        if file.tell():
            # The last line of a process that was killed need not be whole.
            file.write("\n")
        yield Log(file)


def read_logs(out: Path) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Returns the last word on each clip, by its folder and digest; one that was done stays done."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for path in sorted((out / FOLDER).glob(f"*/{LOG}")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                    key, done = (str(line["out"]), str(line["digest"])), line["error"] is None
                except (ValueError, TypeError, KeyError, RecursionError):
                    continue
                if done or found.get(key, {"error": ""})["error"] is not None:
                    found[key] = line
    return found
