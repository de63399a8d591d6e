"""Label Studio: a task per frame whose brush labels are run lengths of its own.

A mask is RGBA, row by row, every channel 0 or 255, packed in bits: the number of values (32 bits), bits per value less
one (5), and four sizes of counts less one (4 each). Then, until all values are there: whether one value is repeated
(1), which size its count has (2), the count less one, and that value, or that many values.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool

from undertow.base import MaskError, atomic_path, write_text
from undertow.export.exporter import Exporter, Shot
from undertow.masks.labels import MOST_PIXELS

# Bits of a count, by which of the four it is.
_SIZES = (3, 4, 8, 16)
CHANNELS = 4


class LabelStudio(Exporter):
    """tasks.json, to be imported with its annotations; labeling.xml is the labelling interface for it."""

    template = "{clip}/{name}"
    note = "put the frames where Label Studio finds them under the names in tasks.json, and use labeling.xml"

    def open(self) -> None:
        """Begins to write."""
        super().open()
        temporary = self.stack.enter_context(atomic_path(self.plan.out / "tasks.json"))
        self._file = self.stack.enter_context(temporary.open("w", encoding="utf-8"))
        self._separator = "["

    def frame(self, shot: Shot) -> None:
        """Writes the task of a frame."""
        height, width = self.plan.size
        results = [
            {
                "id": f"object-{number}", "type": "brushlabels", "from_name": "tag", "to_name": "image",
                "original_width": width, "original_height": height, "image_rotation": 0,
                "meta": {"text": [str(number)]},
                "value": {"format": "rle", "rle": pack(mask), "brushlabels": [self.plan.names[number]]},
            }
            for number, mask in shot.masks.items()
        ]  # fmt: skip
        data = {"image": f"{self.plan.name(shot)}.jpg", "frame": shot.number, "time": str(shot.frame.time)}
        self._file.write(f"{self._separator}\n{json.dumps({'data': data, 'annotations': [{'result': results}]})}")
        self._separator = ","

    def close(self) -> None:
        """Finishes the file."""
        self._file.write("\n]\n")
        super().close()
        labels = "".join(f"<Label value={quoteattr(name)}/>" for name in dict.fromkeys(self.plan.names.values()))
        view = (
            f'<View><Image name="image" value="$image"/><BrushLabels name="tag" toName="image">{labels}</BrushLabels>'
        )
        write_text(self.plan.out / "labeling.xml", f"{view}</View>\n")

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the masks in the file."""
        for task in json.loads((self.plan.out / "tasks.json").read_text(encoding="utf-8")):
            results = task["annotations"][0]["result"]
            yield {int(each["meta"]["text"][0]): unpack(each["value"]["rle"], self.plan.size) for each in results}


def pack(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """Returns the run lengths of a mask, as bytes."""
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    bits = [f"{CHANNELS * flat.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)]
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        value, left = (255 if flat[start] else 0), CHANNELS * (end - start)
        while left:
            count = min(left, 1 << 16)
            which = next(place for place, size in enumerate(_SIZES) if count <= 1 << size)
            bits.append(f"1{which:02b}{count - 1:0{_SIZES[which]}b}{value:08b}")
            left -= count
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def unpack(data: Sequence[Any], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Returns the mask of run lengths: where alpha is 128 or more.

    Raises:
        MaskError: if they are none, or of another size.
    """
    height, width = size
    total = CHANNELS * height * width
    try:
        raw = bytes(data)
    except (TypeError, ValueError):
        raise MaskError("the run lengths of a brush label are not bytes; export it again") from None
    text = f"{int.from_bytes(raw, 'big'):0{8 * len(raw)}b}" if raw else ""
    place = 0

    def read(count: int) -> int:
        nonlocal place
        if place + count > len(text):
            raise MaskError("the run lengths of a brush label are cut off; export it again")
        place += count
        return int(text[place - count : place], 2)

    if height * width > MOST_PIXELS or read(32) != total:
        raise MaskError(f"a brush label is not {width}x{height} pixels; give one of the video's size")
    bits = read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, np.uint32), 0
    while done < total:
        repeated = read(1)
        count = read(sizes[read(2)]) + 1
        if done + count > total:
            raise MaskError("the run lengths of a brush label are longer than its mask; export it again")
        values[done : done + count] = read(bits) if repeated else [read(bits) for _ in range(count)]
        done += count
    mask: Bool[np.ndarray, "h w"] = values.reshape(height, width, CHANNELS)[..., 3] >= 128
    return mask
