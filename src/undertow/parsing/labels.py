"""labels.json of a parsing run: every class with name, colour, area and confidence in each frame."""

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from undertow.base import SettingsError, inside, write_json
from undertow.drawing import class_colour
from undertow.parsing.naming import ClassEntry, NameTable
from undertow.runs.record import decimal_seconds

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
                "colour": "#{:02x}{:02x}{:02x}".format(*colours.get(number, class_colour(number))),
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
