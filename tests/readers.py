"""What other tools read of an export; these are installed by hand only."""

import numpy as np


def datumaro_masks(path, to, size):
    """Yields the masks that Datumaro finds on each frame, by object id."""
    from datumaro import Dataset
    from datumaro.components.annotation import AnnotationType
    from pycocotools import mask as coco

    form = {"cvat": "cvat", "mots": "mots", "coco": "coco"}[to]
    for item in sorted(Dataset.import_from(str(path), form), key=lambda each: each.attributes.get("frame", each.id)):
        found = {}
        for each in item.annotations:
            if each.attributes.get("outside") or each.type == AnnotationType.bbox:
                continue
            if each.type == AnnotationType.polygon:
                flat = coco.merge(coco.frPyObjects([each.points], *size))
                mask = coco.decode(flat).astype(bool)
                number = each.group
            else:
                mask, number = np.asarray(each.image).astype(bool), each.attributes.get("track_id", each.group)
            found[number] = found.get(number, False) | mask
        yield found
