"""Pictures of a parsing run, drawn from its maps and its table of names; no model is needed."""

import numpy as np
from jaxtyping import UInt8

from undertow.drawing import ClassView
from undertow.masks import read_written_map
from undertow.parsing.labels import EDITED, MASKS, shown_classes
from undertow.runs import Folder
from undertow.video import Frame


class ClassPictures:
    """Draws the frames of one run, with the classes, names and colours that its labels.json says are shown."""

    def __init__(self) -> None:
        """Reads the table when the first frame is drawn."""
        self._views: dict[str, ClassView] = {}
        self._folder = MASKS

    def draw(self, run: Folder, frame: Frame, view: str) -> UInt8[np.ndarray, "h w 3"] | None:
        """Returns a frame as "overlay", "contours" or "sidebyside"; `None` if the run has no map of it.

        Raises:
            SettingsError: if labels.json is gone or damaged.
        """
        if view not in self._views:
            table = shown_classes(run.path)
            ids = tuple(entry.id for entry in table.entries)
            self._views[view] = ClassView(ids, table.names, table.colours, view)  # type: ignore[arg-type]
            self._folder = EDITED if any((run.path / EDITED).glob("*.png")) else MASKS
        path = run.file(self._folder, frame.name, ".png")
        return self._views[view].draw(frame.image, read_written_map(path)) if path.exists() else None
