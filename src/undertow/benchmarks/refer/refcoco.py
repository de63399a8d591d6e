"""RefCOCO, RefCOCO+ and RefCOCOg: expressions of objects in COCO's images of 2014.

The expressions are published as pickles; they are read by a reader that can run nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from undertow.base import SettingsError, inside, whole
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import read_json
from undertow.benchmarks.core.pickles import read_pickle
from undertow.benchmarks.refer.sample import PolygonTruth, ReferSample, RunTruth, Truth

# Where COCO's images may be, below the folder given.
IMAGES = ("images/mscoco/images/train2014", "images/train2014", "train2014")
# COCO's ids have up to 12 digits, the sides of its images are of 640 pixels at most.
MOST_ID, MOST_SIDE, MOST_SENTENCES = 10**15, 1 << 14, 1_000_000


@dataclass(frozen=True)
class _Rows:
    """The annotations of one dataset.

    Attributes:
        expressions: By expression id: split, text, and the ids of object and image.
        masks: By object id, its polygons or run lengths.
        images: By image id, its file name and (height, width).
    """

    expressions: Mapping[str, tuple[str, str, int, int]]
    masks: Mapping[int, Any]
    images: Mapping[int, tuple[str, tuple[int, int]]]


def _rows(root: Path, name: str, author: str) -> _Rows:
    refs, instances = root / name / f"refs({author}).p", root / name / "instances.json"
    for path in (refs, instances):
        if not path.is_file():
            raise SettingsError(f"'{root}' has no {name} as split by {author}: '{path}' is missing; check --root")
    return _read(refs, instances, refs.stat().st_mtime_ns, instances.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read(refs: Path, instances: Path, *changed: int) -> _Rows:
    """Returns the annotations of two files; kept, because every expression asks for them."""
    content = read_json(instances)

    def number(value: object, what: str, path: Path = instances, most: int = MOST_ID) -> int:
        return whole(value, what, most=most, source=path)

    try:
        masks = {number(each["id"], "id"): each["segmentation"] for each in content["annotations"]}
        images = {
            number(each["id"], "id"): (
                str(each["file_name"]),
                (number(each["height"], "height", most=MOST_SIDE), number(each["width"], "width", most=MOST_SIDE)),
            )
            for each in content["images"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"'{instances}' has no annotations and images of COCO's format ({error})") from error
    expressions: dict[str, tuple[str, str, int, int]] = {}
    rows = read_pickle(refs)
    try:
        # One list may stand in many places of a pickle.
        if sum(len(row["sentences"]) for row in rows) > MOST_SENTENCES:
            raise SettingsError(f"'{refs}' has more than {MOST_SENTENCES} expressions; fetch it again")
        for row in rows:
            for sentence in row["sentences"]:
                text = str(sentence["raw"] if "raw" in sentence else sentence["sent"]).lower()
                ids = number(row["ann_id"], "ann_id", refs), number(row["image_id"], "image_id", refs)
                expressions[str(number(sentence["sent_id"], "sent_id", refs))] = (str(row["split"]), text, *ids)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"'{refs}' is no list of objects with sentences ({error}); fetch it again") from error
    if not expressions:
        raise SettingsError(f"'{refs}' has no expressions; fetch it again")
    return _Rows(expressions, masks, images)


def _truth(segmentation: Any, size: tuple[int, int], source: str) -> Truth:
    """Returns a mask given as polygons, or as run lengths of a crowd.

    Raises:
        SettingsError: if it is neither.
    """
    if isinstance(segmentation, dict):
        return RunTruth((segmentation,), source)
    try:
        polygons = tuple(tuple(float(value) for value in polygon) for polygon in segmentation)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{source} is neither polygons nor run lengths; fetch instances.json again") from error
    if not polygons:
        raise SettingsError(f"{source} has no polygon; fetch instances.json again")
    return PolygonTruth(polygons, source)


def _dataset(
    name: str, title: str, authors: Mapping[str, str], splits: Sequence[str], counts: tuple[tuple[str, int], ...]
) -> Dataset:
    """Returns one of the three datasets.

    Args:
        name: Its name and folder.
        title: Its name in print.
        authors: Who made each split, by the prefix that its name has here.
        splits: Names of the splits.
        counts: How many expressions they have.
    """

    def locate(root: Path, split: str) -> tuple[_Rows, str]:
        if split not in splits:
            raise SettingsError(f"{name} has no split '{split}'; its splits are {', '.join(splits)}")
        prefix = next((each for each in authors if each and split.startswith(each)), "")
        return _rows(root, name, authors[prefix]), split.removeprefix(prefix)

    def names(root: Path, split: str) -> Sequence[str]:
        rows, own = locate(root, split)
        found = [number for number, place in rows.expressions.items() if place[0] == own]
        if not found:
            raise SettingsError(f"'{root / name}' has no expressions of split '{own}'; fetch it again")
        return sorted(found, key=int)

    def open_one(root: Path, split: str, number: str) -> ReferSample:
        rows, _ = locate(root, split)
        _, text, object_id, image_id = rows.expressions[number]
        if object_id not in rows.masks or image_id not in rows.images:
            missing = f"object {object_id}" if object_id not in rows.masks else f"image {image_id}"
            raise SettingsError(f"'{root / name / 'instances.json'}' has no {missing} of expression {number}")
        file, size = rows.images[image_id]
        path = next((root / each for each in IMAGES if (root / each).is_dir()), root / IMAGES[0])
        image = inside(path, file, source=root / name / "instances.json")
        if not image.is_file():
            raise SettingsError(f"the image of expression {number} is missing: '{image}'; fetch COCO's train2014")
        source = f"the mask of object {object_id} in '{root / name / 'instances.json'}'"
        return ReferSample(
            dataset=name,
            name=number,
            video=image,
            frames=(image.stem,),
            size=size,
            texts=(text,),
            truth={image.stem: _truth(rows.masks[object_id], size, source)},
            image=True,
        )

    files = ", ".join(f"{name}/refs({author}).p" for author in dict.fromkeys(authors.values()))
    return Dataset(
        name=name,
        task="refer",
        title=title,
        source="https://github.com/lichengunc/refer for expressions, https://cocodataset.org (train2014) for images; "
        "annotations CC BY 4.0, images under the terms of Flickr",
        tree=f"{files}\n{name}/instances.json\n{IMAGES[0]}/COCO_train2014_<number>.jpg",
        names=names,
        open=open_one,
        rules=("images",),
        splits=tuple(splits),
        counts=counts,
    )


DATASETS = (
    _dataset(
        "refcoco",
        "RefCOCO, split by UNC (Yu et al., ECCV 2016)",
        {"": "unc"},
        ("val", "testA", "testB", "train"),
        (("val", 10834), ("testA", 5657), ("testB", 5095)),
    ),
    _dataset(
        "refcoco+",
        "RefCOCO+, without words of place, split by UNC (Yu et al., ECCV 2016)",
        {"": "unc"},
        ("val", "testA", "testB", "train"),
        (("val", 10758), ("testA", 5726), ("testB", 4889)),
    ),
    _dataset(
        "refcocog",
        "RefCOCOg, split by UMD, or by Google as google-val (Mao et al., CVPR 2016)",
        {"": "umd", "google-": "google"},
        ("val", "test", "train", "google-val", "google-train"),
        (("val", 4896), ("test", 9602)),
    ),
)
