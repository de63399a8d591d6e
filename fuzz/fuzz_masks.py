"""Broken mask files and run lengths: a label map or a MaskError comes out, in bounded time and memory.

    python fuzz/fuzz_masks.py --seconds 60

The first byte of an input says what the rest is: a file as it is, a PNG whose checksums are to be put right (else few
changes get past them), or run lengths.
"""

import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from loop import instrumented, main
from PIL import Image

from undertow.base import MaskError

with instrumented("undertow.masks", "PIL.Image", "PIL.ImageFile", "PIL.PngImagePlugin", "PIL.BmpImagePlugin"):
    from undertow.masks import (
        VOID,
        colour_table,
        decode_rle,
        encode_rle,
        label_map_rles,
        object_ids,
        read_label_map,
        read_object_masks,
        read_written_map,
        write_label_map,
    )

FOLDER = Path(tempfile.mkdtemp(prefix="undertow-fuzz-"))
AS_IT_IS, CHECKSUMS, STRING, ROW = b"\x00", b"\x01", b"\x02", b"\x03"
MAGIC = b"\x89PNG\r\n\x1a\n"
# First column, first row, and steps across and down of the seven passes of an interlaced PNG.
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def target(data: bytes) -> None:
    """Reads one input in every way there is."""
    kind, body = data[:1], data[1:]
    if kind == STRING:
        run_lengths({"size": [int(value) for value in body[:2]], "counts": body[2:]})
    elif kind == ROW:
        row = quiet(json.loads, body)
        if isinstance(row, dict):
            run_lengths(row)
    else:
        mask_file(with_checksums(body) if kind == CHECKSUMS else body)


def run_lengths(row: dict[str, object]) -> None:
    """What decodes must encode to the same mask again."""
    try:
        mask = decode_rle(row)
    except MaskError:
        return
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


def mask_file(data: bytes) -> None:
    """What is read must be a label map, and must be written and read again unchanged."""
    path, copy = FOLDER / "mask", FOLDER / "copy.png"
    path.write_bytes(data)
    readers: list[Callable[[], object]] = [
        lambda: read_label_map(path),
        lambda: read_label_map(path, size=(12, 16)),
        lambda: read_label_map(path, mask_colors=True),
        lambda: read_label_map(path, known_ids={1, 2}),
        lambda: read_written_map(path),
        lambda: read_object_masks([path]),
        lambda: colour_table(path),
    ]
    for read in readers:
        try:
            labels = read()
        except MaskError:
            continue
        if isinstance(labels, np.ndarray):
            assert labels.dtype == np.uint16 and labels.ndim == 2
            assert all(0 < each < VOID for each in label_map_rles(labels, object_ids(labels)))
            if labels.size < 1 << 16:
                write_label_map(copy, labels)
                assert np.array_equal(read_written_map(copy), labels)


def quiet(read: Callable[[bytes], object], data: bytes) -> object:
    """Returns what is read, or `None`."""
    try:
        return read(data)
    except (ValueError, RecursionError):
        return None


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_checksums(data: bytes) -> bytes:
    """Returns a PNG with all lengths cut to what is there and all checksums right."""
    if not data.startswith(MAGIC):
        return data
    parts, place = [MAGIC], len(MAGIC)
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        parts.append(chunk(kind, body))
        place += 12 + length
    return b"".join(parts)


def interlaced(pixels: np.ndarray) -> bytes:
    """Returns an 8-bit grey PNG that is stored in seven passes, which Pillow reads but does not write."""
    passes = [pixels[top::down, left::across] for left, top, across, down in ADAM7]
    lines = b"".join(b"\x00" + row.tobytes() for each in passes if each.size for row in each)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 0, 0, 0, 1)
    return MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def saved(pixels: np.ndarray, mode: str | None = None, form: str = "PNG", **options: object) -> bytes:
    """Returns an image file."""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, form, **options)
    return buffer.getvalue()


def seeds() -> list[bytes]:
    """Returns good inputs: every kind of mask file, and run lengths."""
    ids = np.zeros((12, 16), np.uint16)
    ids[2:7, 3:9], ids[6:11, 8:15], ids[0, 0] = 1, 2, VOID
    small = np.where(ids == VOID, 255, ids).astype(np.uint8)
    palette, wide = FOLDER / "palette.png", FOLDER / "wide.png"
    write_label_map(palette, ids)
    write_label_map(wide, np.where(ids == 2, 1000, ids).astype(np.uint16))
    frames = [Image.fromarray(small), Image.fromarray(small[::-1].copy())]
    files = [
        palette.read_bytes(),
        wide.read_bytes(),
        interlaced(small),
        saved(small, optimize=True),
        saved((small == 1) * np.uint8(255), "1"),
        saved(np.stack([small * 9, small, small], -1)),
        saved(np.stack([small * 9, small, small, small * 0 + 255], -1)),
        saved(small, "LA"),
        saved(small, save_all=True, append_images=frames[1:]),
        saved(small, form="BMP"),
        saved(small, form="TIFF"),
        saved(ids, form="TIFF", compression="tiff_adobe_deflate"),
        saved(small, form="GIF"),
        saved(small, form="JPEG"),
    ]
    rle = encode_rle(ids == 1)
    rows = [rle, {"size": [2, 2], "counts": [1, 2, 1]}, {"size": [1 << 12, 1 << 12], "counts": [1 << 24]}]
    return [
        *(AS_IT_IS + data for data in files),
        *(CHECKSUMS + data for data in files if data.startswith(MAGIC)),
        STRING + bytes(rle["size"]) + rle["counts"].encode(),
        *(ROW + json.dumps(row).encode() for row in rows),
    ]


if __name__ == "__main__":
    main(target, seeds())
