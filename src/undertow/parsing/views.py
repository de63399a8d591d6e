"""Pictures of a finished parsing run, drawn from its masks and its table of names; no model is needed."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import numpy as np

from undertow.base import Progress, SettingsError, SilentProgress, VideoError
from undertow.drawing import ClassView, View, class_palette
from undertow.masks import VOID, LabelMap, read_written_map, write_label_map
from undertow.parsing.folder import NAMES, Figures, ParseFolder, read_labels, shown_classes, write_labels
from undertow.parsing.naming import MapEditor
from undertow.runs.render import DEFAULT_FPS
from undertow.video import Clip, Video, VideoWriter

VIEWS: tuple[View, ...] = get_args(View)


def choose_views(words: Collection[str]) -> tuple[View, ...]:
    """Returns views by name; "none" for none.

    Raises:
        SettingsError: for a word that is no view.
    """
    stray = [word for word in words if word not in (*VIEWS, "none")]
    if stray:
        raise SettingsError(f"view '{stray[0]}' is not one of {', '.join((*VIEWS, 'none'))}")
    return tuple(view for view in VIEWS if view in words)


def apply_names(run: ParseFolder, progress: Progress) -> None:
    """Edits a run's maps as its names.json wants, and writes labels.json anew.

    The masks that the run wrote stay as they are; edited ones go to `edited/`, which is emptied if none are needed.

    Raises:
        SettingsError: if names.json is no such table.
        MaskError: if a mask is gone or damaged.
    """
    source = read_labels(run.path)
    names = run.names(source.ids)
    names.write(run.path / NAMES)
    folder = run.path / "edited"
    if not names.edits:
        for file in folder.glob("*.png"):
            file.unlink()
        write_labels(run.path, source, names.names, names.colours)
        return
    editor = MapEditor(names, source.ids)
    if names.splits:
        progress.start("regions", len(source.frames))
        for _, _, name in source.frames:
            editor.follow(read_written_map(run.mask_path(name)))
            progress.advance()
    edited = Figures()
    progress.start("edit", len(source.frames))
    for place, frame in enumerate(source.frames):
        before = read_written_map(run.mask_path(frame[2]))
        after = editor.edit(place, before)
        write_label_map(folder / f"{frame[2]}.png", after, class_palette())
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


def draw_views(
    run: ParseFolder, video: Video | Clip, views: Sequence[View], progress: Progress | None = None
) -> list[Path]:
    """Returns the files written: one H.264 video per view, all drawn in one pass over the video.

    Args:
        run: A run whose masks and tables are written; its labels.json says what is shown, how called and coloured.
        video: The video again, from the start.
        views: Which pictures.
        progress: Told of every frame.

    Raises:
        SettingsError: if labels.json is gone or damaged.
        VideoError: if no frame of the video has a mask in the run.
    """
    progress = progress or SilentProgress()
    table = shown_classes(run.path)
    edited = run.path / "edited"
    folder = edited if any(edited.glob("*.png")) else run.path / "masks"
    ids, names = tuple(entry.id for entry in table.entries), table.names
    drawers = [ClassView(ids, names, table.colours, view) for view in views]
    paths = [run.path / f"{view}.mp4" for view in views]
    drawn = 0
    progress.start("draw", video.frame_count)
    with ExitStack() as stack:
        writers = []
        for drawer, path in zip(drawers, paths, strict=True):
            height, width = drawer.size(video.height, video.width)
            writer = VideoWriter(path, fps=video.fps or DEFAULT_FPS, width=width, height=height)
            writers.append(stack.enter_context(writer))
        for frame in video if views else ():
            path = folder / f"{frame.name}.png"
            if not path.exists():
                continue
            labels = read_written_map(path)
            for drawer, writer in zip(drawers, writers, strict=True):
                writer.write(drawer.draw(frame.image, labels), frame.time)
            progress.advance(frame=frame.index)
            drawn += 1
        if views and not drawn:
            raise VideoError(f"no frame of the video has a mask in '{run.path}'; give the video that the run is of")
    return paths
