"""One progress protocol, three ways to show it: bars on a terminal, JSON lines for programs, or nothing."""

import json
import sys
from typing import Any, Protocol, Self, TextIO


class Progress(Protocol):
    """What long work reports to: open it with `with`, call `start` per stage, `advance` per unit done."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    def start(self, stage: str, total: int | None) -> None:
        """Begins a stage of `total` units (`None` if unknown); an unfinished earlier stage ends."""

    def advance(self, units: int = 1, **facts: Any) -> None:
        """Reports `units` more done, with facts about the last one."""


class SilentProgress:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def start(self, stage: str, total: int | None) -> None:
        """Ignores the stage."""

    def advance(self, units: int = 1, **facts: Any) -> None:
        """Ignores the units."""


class BarProgress(SilentProgress):
    """Shows a rich bar per stage on standard error."""

    def __init__(self) -> None:
        # Imported here, since most processes show no bars.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichBars

        self._bars = RichBars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}"),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, stage: str, total: int | None) -> None:
        """Adds a bar below the others."""
        self._task = self._bars.add_task(stage, total=total, facts="")

    def advance(self, units: int = 1, **facts: Any) -> None:
        """Moves the newest bar."""
        shown = "  ".join(f"{name} {value}" for name, value in facts.items())
        self._bars.update(self._task, advance=units, facts=shown)


class JsonProgress(SilentProgress):
    """Writes one JSON object per event and line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._stage = ""
        self._done = 0

    def start(self, stage: str, total: int | None) -> None:
        """Writes a `start` event."""
        self._stage, self._done = stage, 0
        self._write({"event": "start", "stage": stage, "total": total})

    def advance(self, units: int = 1, **facts: Any) -> None:
        """Writes an `advance` event with the units done so far."""
        self._done += units
        self._write({"event": "advance", "stage": self._stage, "done": self._done, **facts})

    def _write(self, event: dict[str, Any]) -> None:
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()
