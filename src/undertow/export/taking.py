"""What other tools have annotated, shape by shape: COCO, LabelMe, CVAT, YOLO-seg, Label Studio, folders per object.

Files may come from anyone: their size is bounded, XML may not define entities, and names and numbers are checked where
they are used.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.parsers import expat

import numpy as np
from jaxtyping import Bool, Float

from undertow.base import CueError, MaskError, UndertowError
from undertow.export.labelstudio import unpack
from undertow.masks import VOID, decode_rle, label_map_rles, object_ids, read_label_map
from undertow.masks.polygons import mask_of

# Of one file of annotations.
MOST_BYTES = 1 << 29
PICTURES = (".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Shape:
    """One thing that was annotated.

    Attributes:
        name: What the picture is called, without folder and suffix; empty if only its number is known.
        frame: Number of the frame, if the file has numbers; -1 otherwise.
        kind: What the points are.
        points: (x, y) of a polygon's corners, of a box's first and last corner, or of points.
        label: What it is.
        group: Id of the object that it is of; 0 if the file has none.
        packed: What is in place of points: run lengths of COCO, CVAT or Label Studio, or the file of a mask.
    """

    name: str
    frame: int
    kind: Literal["polygon", "box", "points", "mask"]
    points: Float[np.ndarray, "n 2"]
    label: str
    group: int = 0
    packed: Any = None

    def mask(self, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
        """Returns its pixels on a picture of a size.

        Raises:
            MaskError: if it is of another size, or damaged.
        """
        if isinstance(self.packed, Path):
            labels = read_label_map(self.packed, size=size)
            return (labels > 0) & (labels < VOID)
        if isinstance(self.packed, tuple):
            return _cvat_decoded(self.packed, size)
        if isinstance(self.packed, Mapping):
            mask = decode_rle(self.packed)
            if mask.shape != size:
                raise MaskError(
                    f"a mask of '{self.label}' is {mask.shape[1]}x{mask.shape[0]} but the video is {size[1]}x{size[0]}"
                )
            return mask
        if self.packed is not None:
            return unpack(self.packed, size)
        if self.kind == "box":
            (left, top), (right, bottom) = self.points
            return mask_of([[(left, top), (right, top), (right, bottom), (left, bottom)]], size)
        return mask_of([self.points], size)


def is_annotations(path: Path) -> bool:
    """Returns whether a path is one of annotations, and not a picture."""
    return path.is_dir() or path.suffix.lower() in (".json", ".xml", ".txt")


def read_shapes(path: Path, size: tuple[int, int]) -> Iterator[Shape]:
    """Yields what is annotated in a file or folder; which format it is, its content says.

    Args:
        path: The file or folder.
        size: Height and width of the video.

    Raises:
        CueError: if it is none of the formats, or damaged.
    """
    try:
        if path.is_dir():
            yield from _of_folder(path, size)
        elif path.suffix.lower() == ".xml":
            yield from cvat_tracks(path)
        elif path.suffix.lower() == ".txt":
            yield from _yolo(path, {}, size)
        else:
            yield from _of_json(path)
    except UndertowError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, OSError) else str(error.strerror)
        raise CueError(f"the annotations in '{path}' cannot be read ({reason}); export them again") from error


def cvat_tracks(path: Path) -> Iterator[Shape]:
    """Yields the shapes of a CVAT file, of tracks (version 1.1 for video) and of images; those outside are skipped.

    Shapes between the key frames that are written are interpolated by CVAT, and not here: a track has its key frames.

    Raises:
        CueError: if it is no such file, or defines entities.
    """
    found: list[Shape] = []
    state: dict[str, Any] = {"track": 0, "label": "", "group": 0, "name": "", "frame": -1}

    def start(name: Any, attributes: dict[str, str]) -> None:
        if name == "track":
            state["track"] += 1
            own = int(attributes.get("group_id") or 0) or 1000000 + state["track"]
            state.update(label=attributes["label"], group=own, name="")
        elif name == "image":
            state.update(label="", group=0, name=Path(attributes["name"]).stem, frame=int(attributes["id"]))
        elif name in ("polygon", "box", "points", "mask") and attributes.get("outside", "0") != "1":
            named = bool(state["name"])
            frame = state["frame"] if named else int(attributes["frame"])
            label = attributes["label"] if named else state["label"]
            group = int(attributes.get("group_id") or 0) if named else state["group"]
            found.append(Shape(state["name"], frame, name, _cvat_points(name, attributes), label, group,
                               _cvat_mask(attributes) if name == "mask" else None))  # fmt: skip

    def refuse(*_: Any) -> None:
        raise CueError(f"'{path}' defines entities, as no annotation needs to; export it again")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler, parser.StartDoctypeDeclHandler = start, refuse, refuse
    try:
        parser.Parse(_text(path), True)
    except expat.ExpatError as error:
        raise CueError(f"'{path}' is no XML ({error}); export it again") from error
    yield from found


def _cvat_points(kind: str, attributes: Mapping[str, str]) -> np.ndarray:
    if kind == "box":
        corners = [float(attributes[name]) for name in ("xtl", "ytl", "xbr", "ybr")]
        return _points(corners)
    if kind == "mask":
        return _points([])
    return _points([float(value) for value in re.split("[,;]", attributes["points"])])


def _cvat_mask(attributes: Mapping[str, str]) -> tuple[int, ...]:
    """Returns the box (left, top, width, height) of a CVAT mask and its run lengths in that, row by row."""
    box = [int(attributes[name]) for name in ("left", "top", "width", "height")]
    return (*box, *(int(each) for each in attributes["rle"].split(",")))


def _cvat_decoded(packed: tuple[int, ...], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    (left, top, width, height), runs = packed[:4], np.array(packed[4:])
    fits = min(left, top) >= 0 < min(width, height) and left + width <= size[1] and top + height <= size[0]
    if not fits or (runs < 0).any() or (runs > width * height).any() or runs.sum() != width * height:
        raise MaskError(f"a mask of CVAT does not fit the video of {size[1]}x{size[0]}; export it again")
    mask = np.zeros(size, bool)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    mask[top : top + height, left : left + width] = inside
    return mask


def _of_json(path: Path) -> Iterator[Shape]:
    value = json.loads(_text(path))
    if isinstance(value, dict) and {"images", "annotations"} <= value.keys():
        return _coco(value)
    if isinstance(value, dict) and "shapes" in value:
        return _labelme(path, value)
    tasks = value if isinstance(value, list) else [value]
    if tasks and all(isinstance(task, dict) and "data" in task for task in tasks):
        return _labelstudio(tasks)
    raise CueError(f"'{path}' is neither COCO, LabelMe nor Label Studio JSON; export one of these")


def _coco(value: Mapping[str, Any]) -> Iterator[Shape]:
    images = {image["id"]: image for image in value["images"]}
    names = {each["id"]: str(each["name"]) for each in value.get("categories", ())}
    for row in value["annotations"]:
        image = images[row["image_id"]]
        name, frame = Path(str(image.get("file_name", ""))).stem, int(image.get("frame", -1))
        label = names.get(row.get("category_id"), str(row.get("category_id")))
        own = row.get("track_id", row.get("attributes", {}).get("track_id", row.get("instance_id", 0)))
        of: dict[str, Any] = {"name": name, "frame": frame, "label": label, "group": int(own or 0)}
        found = row.get("segmentation")
        if isinstance(found, Mapping):
            yield Shape(kind="mask", points=_points([]), packed=found, **of)
        for ring in found if isinstance(found, list) else ():
            yield Shape(kind="polygon", points=_points(ring), **of)
        if not found and row.get("bbox"):
            left, top, width, height = map(float, row["bbox"])
            yield Shape(kind="box", points=_points([left, top, left + width, top + height]), **of)
        if row.get("keypoints"):
            points = np.array(row["keypoints"], float).reshape(-1, 3)
            yield Shape(kind="points", points=points[points[:, 2] > 0, :2], **of)


def _labelme(path: Path, value: Mapping[str, Any]) -> Iterator[Shape]:
    kinds: dict[str, Any] = {"polygon": "polygon", "rectangle": "box", "point": "points", "points": "points"}
    for shape in value["shapes"]:
        kind = kinds.get(shape.get("shape_type", "polygon"))
        if kind is None:
            raise CueError(f"'{path}' has a {shape['shape_type']}; draw polygons, rectangles or points")
        points = _points(np.array(shape["points"], float).ravel())
        if kind == "box":
            points = np.stack([points.min(0), points.max(0)])
        yield Shape(path.stem, -1, kind, points, str(shape["label"]), int(shape.get("group_id") or 0))


def _labelstudio(tasks: list[Any]) -> Iterator[Shape]:
    for task in tasks:
        data = task["data"]
        frame = int(data.get("frame", -1))
        name = Path(str(next((each for key, each in data.items() if key in ("image", "img", "url")), ""))).stem
        given = [each for each in task.get("annotations", ()) if not each.get("was_cancelled")]
        for result in (given or task.get("predictions") or [{"result": []}])[0]["result"]:
            value, kind = result["value"], result["type"].lower()
            width, height = result["original_width"], result["original_height"]
            texts = result.get("meta", {}).get("text", [])
            own = int(texts[0]) if texts and str(texts[0]).isdecimal() and len(str(texts[0])) < 6 else 0
            label = str(next(iter(value.get(kind) or ["object"])))
            of: dict[str, Any] = {"name": name, "frame": frame, "label": label, "group": own}
            share = (width / 100, height / 100)
            if kind == "brushlabels":
                yield Shape(kind="mask", points=_points([]), packed=list(value["rle"]), **of)
            elif kind == "polygonlabels":
                points = _points(np.array(value["points"], float).ravel()) * share
                yield Shape(kind="polygon", points=points, **of)
            elif kind == "rectanglelabels":
                x, y, across, down = (float(value[key]) for key in ("x", "y", "width", "height"))
                yield Shape(kind="box", points=_points([x, y, x + across, y + down]) * share, **of)
            elif kind == "keypointlabels":
                yield Shape(kind="points", points=_points([value["x"], value["y"]]) * share, **of)


def _of_folder(path: Path, size: tuple[int, int]) -> Iterator[Shape]:
    """Yields the shapes of a folder of annotations, of a folder of masks for each object, or of label maps."""
    files = sorted(each for each in path.iterdir() if each.is_file())
    jsons = [each for each in files if each.suffix == ".json" and each.name != "export.json"]
    texts = [each for each in files if each.suffix == ".txt" and each.name not in ("labels.txt", "classes.txt")]
    if (path / "labels").is_dir():
        texts = sorted((path / "labels").glob("*.txt"))
    folders = sorted(each for each in path.iterdir() if each.is_dir())
    if texts:
        names = _yolo_names(path)
        for file in texts:
            yield from _yolo(file, names, size)
    elif jsons:
        for file in jsons:
            yield from _of_json(file)
    elif folders and not any(each.suffix.lower() in PICTURES for each in files):
        endings = [re.search(r"\d{1,5}$", folder.name) for folder in folders]
        numbers = [int(match[0]) if match else 0 for match in endings]
        if len(set(numbers)) < len(folders) or not all(0 < number < VOID for number in numbers):
            numbers = list(range(1, len(folders) + 1))
        for number, folder in zip(numbers, folders, strict=True):
            for file in sorted(each for each in folder.iterdir() if each.suffix.lower() in PICTURES):
                yield Shape(file.stem, -1, "mask", _points([]), folder.name, number, file)
    elif pictures := [each for each in files if each.suffix.lower() in PICTURES]:
        for file in pictures:
            labels = read_label_map(file, size=size)
            for number, rle in label_map_rles(labels, object_ids(labels)).items():
                yield Shape(file.stem, -1, "mask", _points([]), str(number), number, rle)
    else:
        raise CueError(f"'{path}' has neither annotations nor masks; give a file, or a folder of one of the formats")


def _yolo(path: Path, names: Mapping[int, str], size: tuple[int, int]) -> Iterator[Shape]:
    height, width = size
    for line in _text(path).splitlines():
        number, *values = line.split()
        numbers = _points([float(each) for each in values]) * (width, height)
        of: dict[str, Any] = {
            "name": path.stem,
            "frame": -1,
            "label": names.get(int(number), number),
            "group": int(number) + 1,
        }
        if len(numbers) == 2:
            (x, y), (across, down) = numbers
            box = _points([x - across / 2, y - down / 2, x + across / 2, y + down / 2])
            yield Shape(kind="box", points=box, **of)
        else:
            yield Shape(kind="polygon", points=numbers, **of)


def _yolo_names(path: Path) -> dict[int, str]:
    """Returns the names in data.yaml, as a list of them or one to a line; other YAML is not read."""
    file = next((each for each in (path / "data.yaml", path.parent / "data.yaml") if each.is_file()), None)
    if file is None:
        return {}
    text = _text(file)
    found = {int(number): name.strip("\"'") for number, name in re.findall(r"^\s+(\d{1,5}):\s*(.+?)\s*$", text, re.M)}
    if not found and (listed := re.search(r"^names:\s*\[(.*)\]", text, re.M)):
        found = {place: name.strip(" \"'") for place, name in enumerate(listed[1].split(","))}
    return {number: name.encode().decode("unicode_escape") if "\\u" in name else name for number, name in found.items()}


def _points(values: Any) -> np.ndarray:
    """Returns finite numbers as (n, 2)."""
    points = np.asarray(values, np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is not a number")
    return points


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise CueError(f"'{path}' is larger than {MOST_BYTES >> 20} MiB; export fewer frames")
    return path.read_text(encoding="utf-8-sig")
