"""The files of a parsing run beside its maps, put into effect: labels.json, names.json, edited maps and pictures.

labels.json has every class with name, colour, area and confidence in each frame. names.json says what classes are
called, for people to edit; a model may call clusters something, and maps are edited as people want them. Pictures are
drawn from the maps and the table of names; no diffusion model is needed.
"""

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from undertow.base import Progress, SettingsError, inside, write_json
from undertow.drawing import ClassView, class_colour, class_palette
from undertow.masks import VOID, LabelMap, read_written_map, write_label_map
from undertow.masks.colours import hex_of
from undertow.parsing.naming import UNKNOWN, ClassEntry, MapEditor, NameTable
from undertow.runs import Folder
from undertow.runs.record import decimal_seconds
from undertow.video import Clip, Frame

if TYPE_CHECKING:
    from undertow.parsing.namer import ClipNamer


NAMES, LABELS = "names.json", "labels.json"
MASKS, EDITED = "masks", "edited"


class Figures:
    """How large, and how sure, each class is in each frame.

    Attributes:
        frames: Number, time and name of each frame.
        areas: Pixels by class, in order of the frames.
        sure: Area times confidence, likewise.
    """

    def __init__(self) -> None:
        """Starts without frames."""
        self.frames: list[tuple[int, Fraction, str]] = []
        self.areas: dict[int, list[int]] = {}
        self.sure: dict[int, list[float]] = {}

    @property
    def ids(self) -> list[int]:
        """Classes that have a pixel in some frame, ascending."""
        return sorted(self.areas)

    def add(self, frame: tuple[int, Fraction, str], figures: Mapping[int, tuple[int, float]]) -> None:
        """Takes the next frame: area and confidence by class."""
        done = len(self.frames)
        self.frames.append(frame)
        for number, (area, confidence) in figures.items():
            if number not in self.areas:
                self.areas[number], self.sure[number] = [0] * done, [0.0] * done
            self.areas[number].append(area)
            self.sure[number].append(area * confidence)
        for number in self.areas:
            if len(self.areas[number]) == done:
                self.areas[number].append(0)
                self.sure[number].append(0.0)


def read_figures(lines: Iterable[Mapping[str, Any]]) -> Figures:
    """Returns the figures in the lines of a journal."""
    figures = Figures()
    for line in lines:
        found = {int(number): (int(area), float(sure)) for number, (area, sure) in line["classes"].items()}
        figures.add((int(line["frame"]), Fraction(line["time"]), str(line["name"])), found)
    return figures


def read_labels(path: Path) -> Figures:
    """Returns the figures in the labels.json of a run, which are of its masks, not of edited ones.

    Raises:
        SettingsError: if there is none, it is damaged, or it names a frame by what leads out of the folder.
    """
    file = path / LABELS
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        figures = Figures()
        figures.frames = [(int(row["frame"]), Fraction(row["time"]), str(row["name"])) for row in value["frames"]]
        for _, _, name in figures.frames:
            inside(path, name, source=file)
        for row in value["source"]:
            areas, confidence = [int(area) for area in row["areas"]], [float(sure) for sure in row["confidences"]]
            if not len(areas) == len(confidence) == len(figures.frames):
                raise ValueError
            figures.areas[int(row["id"])] = areas
            figures.sure[int(row["id"])] = [area * sure for area, sure in zip(areas, confidence, strict=True)]
    except FileNotFoundError as error:
        raise SettingsError(
            f"'{path}' holds no finished parsing run: {LABELS} is missing; parse the video first"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise SettingsError(f"'{file}' is damaged; run the command again with --overwrite") from error
    return figures


def shown_classes(path: Path) -> NameTable:
    """Returns names and colours of the classes that labels.json says are shown.

    Raises:
        SettingsError: if there is no labels.json, or it is damaged.
    """
    try:
        rows = json.loads((path / LABELS).read_text(encoding="utf-8"))["classes"]
        return NameTable(tuple(ClassEntry(int(row["id"]), str(row["name"]), str(row["colour"])) for row in rows))
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise SettingsError(f"'{path / LABELS}' is damaged; run the command again with --overwrite") from error


def write_labels(
    path: Path,
    source: Figures,
    names: Mapping[int, str],
    colours: Mapping[int, tuple[int, int, int]],
    edited: Figures | None = None,
) -> None:
    """Writes labels.json: frames, the classes as they are shown, and under "source" those of the masks.

    Args:
        path: Folder of the run.
        source: Figures of the masks that the run wrote.
        names: What classes are called.
        colours: What they are drawn in, if not in the default colour.
        edited: Figures of the edited maps, if there are any.
    """

    def rows(figures: Figures) -> list[dict[str, Any]]:
        return [
            {
                "id": number,
                "name": names.get(number, str(number)),
                "colour": hex_of(colours.get(number, class_colour(number))),
                "pixels": sum(figures.areas[number]),
                "confidence": round(sum(figures.sure[number]) / max(1, sum(figures.areas[number])), 6),
                "areas": figures.areas[number],
                "confidences": [
                    round(sure / area, 6) if area else 0.0
                    for sure, area in zip(figures.sure[number], figures.areas[number], strict=True)
                ],
            }
            for number in figures.ids
        ]

    frames = [
        {"frame": index, "time": str(time), "seconds": decimal_seconds(time), "name": name}
        for index, time, name in source.frames
    ]
    write_json(path / LABELS, {"frames": frames, "classes": rows(edited or source), "source": rows(source)})


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
