"""Polygons for annotators: CVAT tracks, YOLO-seg and LabelMe. All of them keep masks to the pixel."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from undertow.base import atomic_path, write_json, write_text
from undertow.export.exporter import Exporter, Plan, Shot
from undertow.export.spool import Spool
from undertow.masks.polygons import Ring, mask_of, polygons_of


class Cvat(Exporter):
    """annotations.xml, "CVAT for video 1.1": a polygon track for each piece of an object.

    Masks cannot be tracks there, and what lies between key frames is interpolated; so every frame is a key frame, and
    where a piece ends its track is put outside: also behind the last frame, if the video is known to go on there, since
    CVAT would carry it on. The pieces of an object have its id for their group.
    """

    def open(self) -> None:
        """Begins to write."""
        super().open()
        self._pieces = Spool(self.stack)

    def frame(self, shot: Shot) -> None:
        """Takes the pieces of a frame."""
        for number, mask in shot.masks.items():
            for piece, ring in enumerate(polygons_of(mask)):
                self._pieces.add(f"{number} {piece}", [shot.place, shot.number, ring])

    def close(self) -> None:
        """Writes the file, one track at a time."""
        temporary = self.stack.enter_context(atomic_path(self.plan.out / "annotations.xml"))
        file = self.stack.enter_context(temporary.open("w", encoding="utf-8"))
        height, width = self.plan.size
        labels = "".join(
            f"<label><name>{escape(name)}</name><attributes></attributes></label>"
            for name in dict.fromkeys(self.plan.names.values())
        )
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task>'
            f"<name>{escape(self.plan.run.clip)}</name><size>{self._length}</size><mode>interpolation</mode>"
            f"<labels>{labels}</labels>"
            f"<original_size><width>{width}</width><height>{height}</height></original_size></task></meta>\n"
        )
        tracks = sorted(self._pieces.keys, key=lambda key: [int(part) for part in key.split()])
        for place, key in enumerate(tracks):
            number = int(key.split()[0])
            label = quoteattr(self.plan.names[number])
            file.write(f'<track id="{place}" label={label} group_id="{number}" source="auto">\n')
            for line in self._shapes(key):
                file.write(line)
            file.write("</track>\n")
        file.write("</annotations>\n")
        super().close()

    @property
    def _length(self) -> int:
        """The number of frames up to the last one exported, and one more if there is one."""
        return self.plan.frames[-1].number + self.plan.settings.frame_offset + 1 + self.plan.goes_on

    def _shapes(self, key: str) -> Iterator[str]:
        """Yields the polygons of a track; where it is not seen, one that says so."""
        before: tuple[int, Ring] | None = None
        for place, number, ring in self._pieces.rows(key):
            if before is not None and place > before[0] + 1:
                yield self._shape(before[0] + 1, before[1], outside=1)
            yield self._shape(place, ring, number=number)
            before = place, ring
        if before is None:
            return
        if before[0] + 1 < len(self.plan.frames):
            yield self._shape(before[0] + 1, before[1], outside=1)
        elif self.plan.goes_on:
            yield self._shape(before[0], before[1], number=self._length - 1, outside=1)

    def _shape(self, place: int, ring: Ring, *, number: int | None = None, outside: int = 0) -> str:
        at = self.plan.frames[place].number + self.plan.settings.frame_offset if number is None else number
        points = ";".join(f"{x}.00,{y}.00" for x, y in ring)
        return (
            f'<polygon frame="{at}" outside="{outside}" occluded="0" keyframe="1" points="{points}" z_order="0">'
            "</polygon>\n"
        )

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the file."""
        from undertow.export.taking import cvat_tracks

        found: dict[int, dict[int, list[Any]]] = {}
        for shape in cvat_tracks(self.plan.out / "annotations.xml"):
            found.setdefault(shape.frame, {}).setdefault(shape.group, []).append(shape.points)
        for shot in self.plan.shots():
            rings = found.get(shot.number, {})
            yield {number: mask_of(each, self.plan.size) for number, each in rings.items()}


class Yolo(Exporter):
    """labels/00000.txt and data.yaml: a line for each piece, a class for each object unless --labels says otherwise."""

    note = "YOLO-seg has no ids: each object is a class of its own, or give --labels 1=dog,2=dog to make classes"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.classes = list(dict.fromkeys(plan.names.values()))
        self.class_of = {number: self.classes.index(name) for number, name in plan.names.items()}

    def open(self) -> None:
        """Writes data.yaml."""
        names = "".join(f"  {place}: {json.dumps(name)}\n" for place, name in enumerate(self.classes))
        write_text(self.plan.out / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")

    def done(self, shot: Shot) -> bool:
        """Returns whether the file of a frame is there."""
        return self.plan.file(".txt", shot, folder="labels").exists()

    def frame(self, shot: Shot) -> None:
        """Writes a frame."""
        height, width = self.plan.size
        lines = []
        for number, mask in shot.masks.items():
            for ring in polygons_of(mask):
                points = " ".join(f"{x / width:.8g} {y / height:.8g}" for x, y in ring)
                lines.append(f"{self.class_of[number]} {points}\n")
        write_text(self.plan.file(".txt", shot, folder="labels"), "".join(lines))

    def expected(self, shot: Shot) -> Mapping[int, np.ndarray]:
        """Returns the mask of each class, counted from 1."""
        found: dict[int, np.ndarray] = {}
        for number, mask in shot.masks.items():
            place = self.class_of[number] + 1
            found[place] = found.get(place, False) | mask
        return found

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the mask of each class, counted from 1."""
        height, width = self.plan.size
        for shot in self.plan.shots():
            rings: dict[int, list[np.ndarray]] = {}
            for line in self.plan.file(".txt", shot, folder="labels").read_text(encoding="utf-8").splitlines():
                place, *values = line.split()
                points = np.array(values, float).reshape(-1, 2) * (width, height)
                rings.setdefault(int(place) + 1, []).append(points)
            yield {place: mask_of(each, self.plan.size) for place, each in rings.items()}


class LabelMe(Exporter):
    """A JSON file per frame with polygons, whose `group_id` is the object's id."""

    def done(self, shot: Shot) -> bool:
        """Returns whether the file of a frame is there."""
        return self.plan.file(".json", shot).exists()

    def frame(self, shot: Shot) -> None:
        """Writes a frame."""
        height, width = self.plan.size
        shapes: list[dict[str, Any]] = [
            {
                "label": self.plan.names[number], "points": [list(map(float, point)) for point in ring],
                "group_id": number, "description": "", "shape_type": "polygon", "flags": {}, "mask": None,
            }
            for number, mask in shot.masks.items()
            for ring in polygons_of(mask)
        ]  # fmt: skip
        value: dict[str, Any] = {
            "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{self.plan.name(shot)}.jpg",
            "imageData": None, "imageHeight": height, "imageWidth": width,
        }  # fmt: skip
        write_json(self.plan.file(".json", shot), value)

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the files."""
        for shot in self.plan.shots():
            rings: dict[int, list[Any]] = {}
            for shape in json.loads(self.plan.file(".json", shot).read_text(encoding="utf-8"))["shapes"]:
                rings.setdefault(shape["group_id"], []).append(shape["points"])
            yield {number: mask_of(each, self.plan.size) for number, each in rings.items()}
