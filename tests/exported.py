"""Runs of `track` with everything that has broken an export: holes, pieces, one pixel, many ids, objects that leave."""

from fractions import Fraction

import numpy as np

from undertow.masks import object_ids, write_label_map
from undertow.runs import Folder, Record
from undertow.tracking import ObjectScore, TrackResult
from undertow.tracking.job import write_frame, write_tables
from undertow.tracking.task import TASK

SIZE = (37, 53)


def hard_maps() -> list[np.ndarray]:
    """Five maps: a ring, two pieces, pixels alone and at corners, a border, an object that leaves and comes back."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    maps = []
    for index in range(5):
        labels = np.zeros(SIZE, np.uint16)
        away = np.hypot(rows - 14, columns - 14 - 2 * index)
        labels[away < 11] = 1
        labels[away < 5] = 0
        labels[away < 2] = 1
        labels[25:30, 3:9] = labels[25:31, 12:15] = 2
        if index not in (1, 2):
            labels[33, 40 + index] = 3
            labels[34, 41 + index] = 3  # touches the other by a corner
        labels[:, -2:] = labels[-1] = 4
        labels[20:24, 40] = 4
        labels[2:12, 38:50] = 5
        labels[4:6, 40:48] = labels[8:10, 40:48] = labels[4:10, 43] = 0
        labels[5, 45] = 6
        labels[8, 41:43] = 7
        maps.append(labels)
    maps[3] = np.where(maps[3] == 5, 0, maps[3]).astype(np.uint16)
    return maps


def write_run(
    path, maps, names=None, source="café ☕ clip", rate=Fraction(30000, 1001), soft=None, times=None, **record
):
    """Writes a finished run of `track` of label maps."""
    facts = {"video": "v", "settings": {}, "cues": (), "source": source} | record
    ids = sorted({each for labels in maps for each in object_ids(labels)})
    files = (*TASK.files, "frames.json")
    with Folder.open(path, Record(task="track", model="m", files=files, **facts)) as run:
        for index, labels in enumerate(maps):
            scores = {n: ObjectScore(int((labels == n).sum()), 0.5, 0.5) for n in ids}
            name = names[index] if names else f"{index:05d}"
            result = TrackResult(index, times[index] if times else index / rate, name, labels, scores, soft)
            line = write_frame(run, result)
            run.note(result, line)
        write_tables(run, run.lines())
        run.complete()
    return path


def write_parse(path, maps, names, **changes):
    """Writes a finished run of `parse` of class maps."""
    from undertow.parsing.labels import Figures, write_labels

    facts = {"video": "v", "settings": {}, "cues": (), "source": "street"} | changes
    figures = Figures()
    with Folder.open(
        path, Record(task="parse", model="m", files=("masks/*.png", "labels.json", "frames.json"), **facts)
    ) as run:
        for index, labels in enumerate(maps):
            result = TrackResult(index, Fraction(index, 25), f"{index:05d}", labels, {})
            file = run.file("masks", result.name, ".png")
            write_label_map(file, labels)
            run.note(result, {"files": [f"masks/{file.name}"]})
            areas = {int(n): (int((labels == n).sum()), 0.5) for n in np.unique(labels) if n != 65535}
            figures.add((index, result.time, result.name), areas)
        write_labels(path, figures, names, {})
        run.complete()
    return path
