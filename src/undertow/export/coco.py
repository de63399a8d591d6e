"""COCO and YouTube-VIS JSON: run lengths that pycocotools reads, written a row at a time."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from undertow.base import atomic_path
from undertow.export.converting import annotation, bounds
from undertow.export.exporter import Exporter, Plan, Shot
from undertow.export.spool import Spool
from undertow.masks import decode_rle, encode_rle

CATEGORY = "object"


class _Json(Exporter):
    """A JSON file that appears when it is whole."""

    file_name = ""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        classes = dict.fromkeys(plan.names.values()) if plan.settings.labels else [CATEGORY]
        self.categories = [{"id": place, "name": name} for place, name in enumerate(classes, start=1)]
        known = {each["name"]: each["id"] for each in self.categories}
        self.category = {number: known.get(name, 1) for number, name in plan.names.items()}

    @property
    def path(self) -> Path:
        """The file."""
        return self.plan.out / self.file_name

    def image_name(self, shot: Shot) -> str:
        """Returns what the picture of a frame is called."""
        return f"{self.plan.name(shot)}.jpg"

    def open_file(self) -> TextIO:
        """Returns the file under a temporary name, until the export is closed."""
        temporary = self.stack.enter_context(atomic_path(self.path))
        return self.stack.enter_context(temporary.open("w", encoding="utf-8"))


class Coco(_Json):
    """annotations/instances_default.json: an image per frame, an annotation per object seen, with `track_id`."""

    template, file_name = "{clip}/{name}", "annotations/instances_default.json"

    def open(self) -> None:
        """Begins to write."""
        super().open()
        self._images, self._rows = Spool(self.stack), Spool(self.stack)

    def frame(self, shot: Shot) -> None:
        """Takes the objects of a frame."""
        height, width = self.plan.size
        image = {
            "id": shot.place + 1, "file_name": self.image_name(shot), "height": height, "width": width,
            "frame": shot.number, "time": str(shot.frame.time),
        }  # fmt: skip
        self._images.add("", image)
        for number, mask in shot.masks.items():
            row = {"id": self._rows.count + 1, "image_id": image["id"], "category_id": self.category[number]}
            # At both places that readers look for ids: CVAT and Datumaro at the second.
            row |= {"track_id": number, "attributes": {"track_id": number}}
            self._rows.add("", row | annotation(mask, encode_rle(mask)))

    def close(self) -> None:
        """Writes the file."""
        file = self.open_file()
        file.write('{"info": {"description": ' + json.dumps(self.plan.run.clip) + "},\n")
        file.write('"categories": ' + json.dumps(self.categories, ensure_ascii=False) + ",\n")
        _write_list(file, "images", self._images.rows(""), ",\n")
        _write_list(file, "annotations", self._rows.rows(""), "}\n")
        super().close()

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the file."""
        value = json.loads(self.path.read_text(encoding="utf-8"))
        found: dict[int, dict[int, Any]] = {row["id"]: {} for row in value["images"]}
        for row in value["annotations"]:
            found[row["image_id"]][row["track_id"]] = row["segmentation"]
        for rles in found.values():
            yield {number: decode_rle(rle) for number, rle in rles.items()}


class Ytvis(_Json):
    """instances.json: a video, and an annotation per object with a run length, box and area, or null, per frame."""

    template, file_name = "{clip}/{name}", "instances.json"

    def open(self) -> None:
        """Begins to write."""
        super().open()
        self._rows = Spool(self.stack)

    def frame(self, shot: Shot) -> None:
        """Takes the objects of a frame."""
        for number, mask in shot.masks.items():
            left, top, right, bottom = bounds(mask)
            box = [left, top, right - left, bottom - top]
            self._rows.add(str(number), [shot.place, encode_rle(mask), box, int(mask.sum())])

    def close(self) -> None:
        """Writes the file, one object at a time."""
        height, width = self.plan.size
        names = [self.image_name(shot) for shot in self.plan.shots()]
        video = {"id": 1, "name": self.plan.run.clip, "height": height, "width": width, "length": len(names)}
        file = self.open_file()
        file.write('{"info": {}, "categories": ' + json.dumps(self.categories, ensure_ascii=False) + ",\n")
        file.write('"videos": ' + json.dumps([video | {"file_names": names}], ensure_ascii=True) + ",\n")
        _write_list(file, "annotations", self._annotations(len(names)), "}\n")
        super().close()

    def _annotations(self, length: int) -> Iterator[dict[str, Any]]:
        height, width = self.plan.size
        for place, number in enumerate(sorted(map(int, self._rows.keys)), start=1):
            columns: list[list[Any]] = [[None] * length for _ in range(3)]
            for at, *values in self._rows.rows(str(number)):
                for column, value in zip(columns, values, strict=True):
                    column[at] = value
            segmentations, boxes, areas = columns
            yield {
                "id": place, "video_id": 1, "category_id": self.category[number], "track_id": number, "iscrowd": 0,
                "height": height, "width": width, "length": 1, "segmentations": segmentations, "bboxes": boxes,
                "areas": areas,
            }  # fmt: skip

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the file."""
        rows = json.loads(self.path.read_text(encoding="utf-8"))["annotations"]
        for place in range(len(self.plan.frames)):
            found = {row["track_id"]: row["segmentations"][place] for row in rows}
            yield {number: decode_rle(rle) for number, rle in found.items() if rle is not None}


def _write_list(file: TextIO, name: str, rows: Iterable[Any], end: str) -> None:
    file.write(f'"{name}": [')
    for place, row in enumerate(rows):
        file.write((",\n" if place else "\n") + json.dumps(row))
    file.write(f"]{end}")
