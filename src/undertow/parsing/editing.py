"""names.json of a parsing run put into effect: what a model calls its clusters, and maps as people want them."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from undertow.base import Progress
from undertow.drawing import class_palette
from undertow.masks import VOID, LabelMap, read_written_map, write_label_map
from undertow.parsing.labels import EDITED, MASKS, NAMES, Figures, read_labels, write_labels
from undertow.parsing.naming import UNKNOWN, MapEditor, NameTable
from undertow.runs import Folder
from undertow.video import Clip

if TYPE_CHECKING:
    from undertow.parsing.namer import ClipNamer

# Frames that a cluster is looked at in: those in which it is largest, apart from each other.
PICTURES = 5


def read_names(run: Folder, figures: Figures) -> NameTable:
    """Returns the table in a run's names.json, with "cluster 3" and so on for classes that it does not have."""
    path, default = run.path / NAMES, NameTable.of(figures.ids)
    return NameTable.read(path).extended(default) if path.exists() else default


def apply_names(run: Folder, progress: Progress) -> None:
    """Edits a run's maps as its names.json wants, and writes labels.json anew.

    The masks that the run wrote stay as they are; edited ones go to `edited/`, which is emptied if none are needed.

    Raises:
        SettingsError: if names.json is no such table.
        MaskError: if a mask is gone or damaged.
    """
    source = read_labels(run.path)
    names = read_names(run, source)
    names.write(run.path / NAMES)
    if not names.edits:
        for file in (run.path / EDITED).glob("*.png"):
            file.unlink()
        write_labels(run.path, source, names.names, names.colours)
        return
    editor = MapEditor(names, source.ids)
    if names.splits:
        progress.start("regions", len(source.frames))
        for _, _, name in source.frames:
            editor.follow(read_written_map(run.file(MASKS, name, ".png")))
            progress.advance()
    edited = Figures()
    progress.start("edit", len(source.frames))
    for place, frame in enumerate(source.frames):
        before = read_written_map(run.file(MASKS, frame[2], ".png"))
        after = editor.edit(place, before)
        write_label_map(run.file(EDITED, frame[2], ".png"), after, class_palette())
        edited.add(frame, _carried(before, after, source, place))
        progress.advance(frame=frame[0])
    write_labels(run.path, source, names.names | editor.names(), names.colours, edited)


def _carried(before: LabelMap, after: LabelMap, source: Figures, place: int) -> dict[int, tuple[int, float]]:
    """Returns area and confidence of the classes of an edited map; pixels keep the confidence of their old class."""
    pairs, counts = np.unique(before.astype(np.int64) * (VOID + 1) + after, return_counts=True)
    areas: dict[int, int] = {}
    sure: dict[int, float] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        old, new = divmod(pair, VOID + 1)
        if new != VOID:
            confidence = source.sure[old][place] / source.areas[old][place]
            areas[new] = areas.get(new, 0) + count
            sure[new] = sure.get(new, 0.0) + count * confidence
    return {number: (area, sure[number] / area) for number, area in areas.items()}


def name_clusters(run: Folder, clip: Clip, namer: "ClipNamer", given: NameTable | None = None) -> NameTable:
    """Returns a table of what a model calls the classes of a run whose tables are there; names that people gave stay.

    A name is taken for given by people unless it is "class N", "cluster N", or "unknown N".

    Args:
        run: The run.
        clip: The video that it is of.
        namer: What looks at pictures and knows words.
        given: Names that stay, besides those of names.json.

    Raises:
        SettingsError: if labels.json is gone or damaged.
    """
    from undertow.parsing.namer import crop_of

    figures = read_labels(run.path)
    table = (given or NameTable()).extended(read_names(run, figures))
    wanted = [number for number in figures.ids if _unnamed(table.names[number], number)]
    pictures: dict[int, list[UInt8[np.ndarray, "_ _ 3"]]] = {number: [] for number in wanted}
    looked = {number: _frames(np.array(figures.areas[number])) for number in wanted}
    for place, (index, _, name) in enumerate(figures.frames):
        asked = [number for number in wanted if place in looked[number]]
        if asked:
            labels, image = read_written_map(run.file(MASKS, name, ".png")), clip.video[index]
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
