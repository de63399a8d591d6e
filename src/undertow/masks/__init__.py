"""Label maps: files in and out, palette, run lengths, and the way to soft labels on a token grid and back."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand
from undertow.masks.colours import Colour, ColourTable, object_colour, palette
from undertow.masks.files import (
    colour_table,
    given_label_map,
    read_class_map,
    read_label_map,
    read_object_masks,
    read_written_map,
    write_label_map,
)
from undertow.masks.labels import VOID, LabelMap, check_label_map, object_ids, resize_nearest
from undertow.masks.mattes import SoftLabelMap, read_mattes
from undertow.masks.rle import Rle, decode_rle, encode_rle, label_map_rles

if TYPE_CHECKING:
    # Soft labels are tensors; files and label maps are read and written without torch.
    from undertow.masks.soft import UpsampledLabels, soft_one_hot, too_small, upsample_argmax

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "VOID",
    "Colour",
    "ColourTable",
    "LabelMap",
    "Rle",
    "SoftLabelMap",
    "UpsampledLabels",
    "check_label_map",
    "colour_table",
    "decode_rle",
    "encode_rle",
    "given_label_map",
    "label_map_rles",
    "object_colour",
    "object_ids",
    "palette",
    "read_class_map",
    "read_label_map",
    "read_mattes",
    "read_object_masks",
    "read_written_map",
    "resize_nearest",
    "soft_one_hot",
    "too_small",
    "upsample_argmax",
    "write_label_map",
]
