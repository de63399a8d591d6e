"""Label maps as what other libraries hold in memory: COCO annotations and `supervision.Detections`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Bool

from undertow.base import SettingsError
from undertow.masks import VOID, LabelMap, encode_rle, object_ids


def needed(package: str, what: str) -> Any:
    """Returns a package that undertow does not bring.

    Raises:
        SettingsError: if it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise SettingsError(f"{what} needs the package {package}; pip install {package}") from error


def detections(labels: LabelMap, *, classes: bool = False) -> Any:
    """Returns `supervision.Detections` of a label map: ids of objects as `tracker_id`, of classes as `class_id`."""
    supervision = needed("supervision", "to_supervision")
    ids = _ids(labels, classes)
    masks = np.array([labels == each for each in ids], bool).reshape(len(ids), *labels.shape)
    return supervision.Detections(
        xyxy=supervision.mask_to_xyxy(masks).astype(np.float32), mask=masks,
        class_id=np.array(ids if classes else [0] * len(ids), int), tracker_id=None if classes else np.array(ids, int),
    )  # fmt: skip


def annotations(labels: LabelMap, *, classes: bool = False) -> list[dict[str, Any]]:
    """Returns a label map as COCO annotations, with ids of objects as `track_id`, of classes as `category_id`."""
    masks = ((each, labels == each) for each in _ids(labels, classes))
    key = "category_id" if classes else "track_id"
    return [annotation(mask, encode_rle(mask)) | {key: each} for each, mask in masks]


def _ids(labels: LabelMap, classes: bool) -> list[int]:
    """Returns the ids on a label map; among classes 0 is one too."""
    return [int(each) for each in np.unique(labels) if each != VOID] if classes else object_ids(labels)


def annotation(mask: Bool[np.ndarray, "h w"], rle: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what COCO says of a mask: run lengths, area, box (x, y, width, height) and that it is no crowd."""
    left, top, right, bottom = bounds(mask)
    return {
        "segmentation": dict(rle), "area": int(mask.sum()), "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }  # fmt: skip


def bounds(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Returns the box (left, top, right, bottom) around a mask with at least one pixel, the last two exclusive."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
