"""Label maps as PNG files: DAVIS, YouTube-VOS, MOTS, one per object, and classes with a legend."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from undertow.base import SettingsError, atomic_path, write_json, write_text
from undertow.export.exporter import Exporter, Plan, Shot
from undertow.export.run import OF_OBJECTS
from undertow.masks import VOID, read_written_map, write_label_map

# MOTS writes class * 1000 + object in 16 bits.
PER_CLASS = 1000


class _Maps(Exporter):
    """A PNG of a whole label map per frame."""

    folder = ""

    def path(self, shot: Shot) -> Path:
        """Returns the file of a frame."""
        return self.plan.file(".png", shot, folder=self.folder)

    def done(self, shot: Shot) -> bool:
        """Returns whether the file is there."""
        return self.path(shot).exists()

    def frame(self, shot: Shot) -> None:
        """Writes a frame."""
        write_label_map(self.path(shot), shot.labels)

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the files."""
        for shot in self.plan.shots():
            labels = read_written_map(self.path(shot))
            yield {int(n): labels == n for n in np.unique(labels) if n not in (0, VOID)}


class Davis(_Maps):
    """Annotations/CLIP/00000.png, in DAVIS's palette; above 254 objects in 16 bits."""

    folder, template = "Annotations", "{clip}/{name}"


class YouTubeVos(Davis):
    """Like DAVIS, with the objects and their frames in meta.json."""

    def close(self) -> None:
        """Writes meta.json from the files, so that an export that was interrupted has all frames too."""
        seen: dict[int, list[str]] = {}
        for shot, masks in zip(self.plan.shots(), self.back(), strict=True):
            for number in masks:
                seen.setdefault(number, []).append(shot.frame.name)
        objects = {str(n): {"category": self.plan.names[n], "frames": seen[n]} for n in sorted(seen)}
        write_json(self.plan.out / "meta.json", {"videos": {self.plan.run.clip: {"objects": objects}}})


class Mots(_Maps):
    """instances/000000.png with labels.txt: zipped, CVAT takes it as "MOTS PNG" and keeps the ids."""

    folder, template = "train/instances", "{frame:06d}"
    note = "for CVAT, add --zip and import the zip as MOTS PNG into a task whose images have these names"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        classes = list(dict.fromkeys(plan.names.values())) if plan.settings.labels else ["object"]
        self._classes = {number: classes.index(name) if name in classes else 0 for number, name in plan.names.items()}
        if (largest := max(plan.names, default=0)) >= PER_CLASS or len(classes) > 64:
            raise SettingsError(
                f"MOTS PNG holds 999 objects of 64 classes, and the run has object {largest}; choose davis or coco"
            )
        self._names = "".join(f"{name}\n" for name in classes)

    def open(self) -> None:
        """Writes the names of the classes."""
        write_text(self.plan.out / "train" / "instances" / "labels.txt", self._names)

    def frame(self, shot: Shot) -> None:
        """Writes a frame."""
        values = np.zeros(shot.labels.shape, np.uint16)
        for number, mask in shot.masks.items():
            values[mask] = (self._classes[number] + 1) * PER_CLASS + number
        with atomic_path(self.path(shot)) as temporary:
            Image.fromarray(values).save(temporary, format="PNG")

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the files."""
        for shot in self.plan.shots():
            with Image.open(self.path(shot)) as image:
                labels = np.asarray(image).astype(np.uint16) % PER_CLASS
            yield {int(n): labels == n for n in np.unique(labels) if n}


class Objects(Exporter):
    """A black and white PNG for each object and frame, black where the object is not."""

    template, fields = "{label}/{name}", ("object", "frame")

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        _ = plan.per_object

    def done(self, shot: Shot) -> bool:
        """Returns whether all files of a frame are there."""
        return all(self.plan.file(".png", shot, number).exists() for number in self.plan.names)

    def frame(self, shot: Shot) -> None:
        """Writes the objects of a frame."""
        for number in self.plan.names:
            mask = shot.labels == number
            with atomic_path(self.plan.file(".png", shot, number)) as temporary:
                Image.fromarray(mask).save(temporary, format="PNG")

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the files."""
        for shot in self.plan.shots():
            found = {}
            for number in self.plan.names:
                with Image.open(self.plan.file(".png", shot, number)) as image:
                    found[number] = np.asarray(image).astype(bool)
            yield {number: mask for number, mask in found.items() if mask.any()}


class Classes(_Maps):
    """Grey PNGs of class ids, 8 bits up to 254 and 16 beyond, white being void, with the names in legend.json."""

    tasks, folder, template = (*OF_OBJECTS, "parse"), "ids", "{name}"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._wide = max(plan.names, default=0) > 254

    def frame(self, shot: Shot) -> None:
        """Writes a frame."""
        labels = shot.labels
        values = labels if self._wide else np.where(labels == VOID, 255, labels).astype(np.uint8)
        with atomic_path(self.path(shot)) as temporary:
            Image.fromarray(values).save(temporary, format="PNG")

    def close(self) -> None:
        """Writes the legend."""
        void = VOID if self._wide else 255
        rows = [{"id": number, "name": name} for number, name in self.plan.names.items()]
        write_json(self.plan.out / "legend.json", {"classes": rows, "void": void})

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the files."""
        legend = json.loads((self.plan.out / "legend.json").read_text(encoding="utf-8"))
        for shot in self.plan.shots():
            with Image.open(self.path(shot)) as image:
                labels = np.asarray(image)
            yield {row["id"]: labels == row["id"] for row in legend["classes"] if (labels == row["id"]).any()}
