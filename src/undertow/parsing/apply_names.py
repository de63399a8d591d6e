"""Names for the clusters of a finished run, from pictures of where each is largest."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from undertow.masks import read_written_map
from undertow.parsing.folder import NAMES, read_labels
from undertow.parsing.namer import ClipNamer, crop_of
from undertow.parsing.naming import UNKNOWN, NameTable
from undertow.video import Clip, Video

# Frames that a cluster is looked at in: those in which it is largest, apart from each other.
PICTURES = 5


def name_clusters(out: Path, video: Video | Clip, namer: ClipNamer, given: NameTable | None = None) -> NameTable:
    """Returns a table of what a model calls the classes of a finished run; names that people gave stay.

    A name is taken for given by people unless it is "class N", "cluster N", or "unknown N".

    Args:
        out: Folder of the run.
        video: The video that the run is of.
        namer: What looks at pictures and knows words.
        given: Names that stay, besides those of names.json.

    Raises:
        SettingsError: if there is no finished run.
    """
    figures = read_labels(out)
    path = out / NAMES
    table = NameTable.read(path) if path.exists() else NameTable()
    table = (given or NameTable()).extended(table).extended(NameTable.of(figures.ids))
    wanted = [number for number in figures.ids if _unnamed(table.names[number], number)]
    pictures: dict[int, list[UInt8[np.ndarray, "_ _ 3"]]] = {number: [] for number in wanted}
    looked = {number: _frames(np.array(figures.areas[number])) for number in wanted}
    for place, (index, _, name) in enumerate(figures.frames):
        asked = [number for number in wanted if place in looked[number]]
        if asked:
            labels = read_written_map(out / "masks" / f"{name}.png")
            image = (video.video if isinstance(video, Clip) else video)[index]
            for number in asked:
                pictures[number].append(crop_of(image, labels == number))
    found = {number: namer.name(pictures[number]).name for number in wanted}
    return table.renamed({number: f"{UNKNOWN} {number}" if name == UNKNOWN else name for number, name in found.items()})


def _unnamed(name: str, number: int) -> bool:
    return name in {f"{word} {number}" for word in ("class", "cluster", UNKNOWN)}


def _frames(areas: np.ndarray) -> set[int]:
    """Returns the places of the frames to look at: the largest area of each of some equal parts of the video."""
    parts = np.array_split(np.arange(len(areas)), min(PICTURES, len(areas)))
    best = [int(part[areas[part].argmax()]) for part in parts]
    return {place for place in best if areas[place] > 0}
