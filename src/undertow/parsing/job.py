"""One video being parsed: class maps as they come, tables and names at the end, pictures.

masks/        one PNG of classes per frame at native size: palette up to id 254, 16 bits beyond
soft/         probabilities of every pixel, if asked for: <frame>.npz with `probabilities` (m, h, w) and `ids`
names.json    what classes are called, for people to edit (see `undertow.parsing.naming`)
labels.json   every class with name, colour, area and confidence in each frame
edited/       the class maps as names.json wants them, if it merges or splits
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from undertow.backbones import Backbone
from undertow.base import Progress, atomic_path
from undertow.drawing import class_palette
from undertow.masks import VOID, LabelMap, write_label_map
from undertow.parsing import Parser, ParseResult, ParseSettings
from undertow.parsing.anchors import classes_of
from undertow.parsing.labels import (
    MASKS,
    NAMES,
    ClassPictures,
    apply_names,
    name_clusters,
    read_figures,
    read_names,
    write_labels,
)
from undertow.parsing.naming import NameTable, read_vocabulary
from undertow.runs import Folder
from undertow.video import Clip, Frame

SOFT = "soft"


class ParseJob:
    """One video being parsed."""

    def __init__(
        self, settings: ParseSettings, backbone: Backbone, clip: Clip, anchors: Mapping[int, LabelMap]
    ) -> None:
        """Begins before the first frame.

        Raises:
            SettingsError: if the table of names or the vocabulary cannot be used.
        """
        self.parser = Parser(backbone, anchors, settings)
        self.batch = settings.batch
        self.facts: Mapping[str, Any] = {}
        self._clip, self._settings = clip, settings
        self._given = NameTable() if settings.names is None else NameTable.read(settings.names)
        self._words = [] if settings.vocabulary is None else read_vocabulary(settings.vocabulary)
        self._pictures = ClassPictures()

    def run(self, frames: Iterable[Frame], progress: Progress) -> Iterator[ParseResult]:
        """Yields each frame's class map."""
        return self.parser.run(self._clip, frames)

    def state(self) -> Mapping[str, Tensor]:
        """Returns the parser's state."""
        return self.parser.state() if self.parser.next else {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from a parser's state."""
        self.parser.restore(tensors)

    def write(self, run: Folder, result: ParseResult) -> Mapping[str, Any]:
        """Writes the maps of a frame, and returns area and confidence of its classes."""
        path = run.file(MASKS, result.name, ".png")
        write_label_map(path, result.labels, class_palette())
        files = [f"{MASKS}/{path.name}"]
        if result.probabilities is not None:
            soft = run.file(SOFT, result.name, ".npz")
            write_soft(soft, result)
            files.append(f"{SOFT}/{soft.name}")
        classes = {n: [area, float(result.confidence[n])] for n, area in result.areas.items() if n != VOID}
        return {"files": files, "classes": classes}

    def draw(self, run: Folder, frame: Frame, view: str) -> UInt8[np.ndarray, "h w 3"] | None:
        """Returns a frame with its classes: "overlay", "contours" or "sidebyside"."""
        return self._pictures.draw(run, frame, view)

    def finish(self, run: Folder, progress: Progress) -> None:
        """Writes labels.json and names.json, names clusters if asked to, and edits maps as names.json wants them."""
        figures = read_figures(run.lines())
        if not (run.path / NAMES).exists():
            # What an anchor names is a class; what is found without one stays a cluster until it has a name.
            named = NameTable.of(classes_of(self.parser.anchors), "class")
            self._given.extended(named).write(run.path / NAMES)
        names = read_names(run, figures)
        names.write(run.path / NAMES)
        write_labels(run.path, figures, names.names, names.colours)
        if self._settings.namer is not None:
            from undertow.parsing.namer import ClipNamer

            namer = ClipNamer.load(self._settings.namer, self._words, device=str(self.parser.backbone.device))
            name_clusters(run, self._clip, namer, self._given).write(run.path / NAMES)
        apply_names(run, progress)


def write_soft(path: Path, result: ParseResult) -> None:
    """Writes the probabilities of a frame's pixels as float16, with the id of each map."""
    assert result.probabilities is not None
    maps = result.probabilities.cpu().numpy().astype(np.float16)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, probabilities=maps, ids=np.array(result.ids, np.uint16))
