"""Mask files and run lengths after random damage: a label map or a `MaskError`, whatever the bytes."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from undertow.base import MaskError
from undertow.masks import (
    VOID,
    colour_table,
    decode_rle,
    encode_rle,
    read_label_map,
    read_object_masks,
    read_written_map,
    write_label_map,
)

# Of every byte that says how an image is stored, damage matters most in the first hundred.
CHANGES = st.lists(st.tuples(st.integers(0, 100) | st.integers(0, 2000), st.binary(max_size=4)), min_size=1, max_size=4)
MAGIC = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def interlaced(pixels: np.ndarray) -> bytes:
    """A grey PNG stored in seven passes, which Pillow reads but does not write."""
    starts_and_steps = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    passes = [pixels[top::down, left::across] for left, top, across, down in starts_and_steps]
    lines = b"".join(b"\x00" + row.tobytes() for each in passes if each.size for row in each)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 0, 0, 0, 1)
    return MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def saved(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def files() -> dict[str, bytes]:
    ids = np.zeros((12, 16), np.uint8)
    ids[2:7, 3:9], ids[6:11, 8:15] = 1, 2
    palette = Image.fromarray(ids)
    palette.putpalette([value for index in range(9) for value in (index * 20, 255 - index, 7)])
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", bits=4)
    return {
        "grey": saved(ids),
        "palette of 4 bits": buffer.getvalue(),
        "16 bits": saved(ids.astype(np.uint16) * 300),
        "interlaced": interlaced(ids),
        "animated": saved(ids, save_all=True, append_images=[Image.fromarray(ids[::-1].copy())]),
        "colours": saved(np.stack([ids * 9, ids, ids], -1)),
        "BMP": saved(ids, "BMP"),
        "TIFF": saved(ids, "TIFF"),
    }


def with_checksums(data: bytes) -> bytes:
    """A PNG with right checksums, so that damage gets past them."""
    parts, place = [data[:8]], 8
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        parts.append(chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return b"".join(parts)


def test_an_interlaced_mask_is_read(tmp_path):
    ids = np.array([[0, 1, 1], [2, 2, 0]], np.uint8).repeat(5, 0).repeat(5, 1)
    (tmp_path / "interlaced.png").write_bytes(interlaced(ids))
    assert np.array_equal(read_label_map(tmp_path / "interlaced.png"), ids)


@settings(deadline=None, max_examples=12, derandomize=True)
@given(changes=CHANGES, cut=st.none() | st.integers(0, 400), repaired=st.booleans())
@pytest.mark.parametrize("kind", list(files()))
def test_damaged_files_are_maps_or_mask_errors(tmp_path_factory, kind, changes, cut, repaired):
    data = bytearray(files()[kind][:cut])
    for place, value in changes:
        start = place % (len(data) + 1)
        data[start : start + len(value)] = value
    path = tmp_path_factory.mktemp("damage") / "mask.png"
    path.write_bytes(with_checksums(bytes(data)) if repaired else bytes(data))
    readers = [
        read_label_map,
        lambda path: read_label_map(path, size=(12, 16)),
        lambda path: read_label_map(path, mask_colors=True),
        read_written_map,
        lambda path: read_object_masks([path]),
    ]
    for read in readers:
        try:
            labels = read(path)
        except MaskError as error:
            assert "mask.png" in str(error)
            continue
        assert labels.dtype == np.uint16 and labels.ndim == 2
        write_label_map(path.with_name("copy.png"), labels)
        assert np.array_equal(read_written_map(path.with_name("copy.png")), labels)
    try:
        assert all(0 <= each <= VOID for each in colour_table(path).values())
    except MaskError as error:
        assert "mask.png" in str(error)


# pycocotools 2.0.11 has not caught up with numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    mask=st.integers(1, 9).flatmap(
        lambda height: st.lists(st.lists(st.booleans(), min_size=height, max_size=height), min_size=1, max_size=9)
    ),
    changes=st.lists(st.tuples(st.integers(0, 40), st.integers(40, 120), st.integers(0, 2)), max_size=3),
)
def test_damaged_run_lengths_are_what_pycocotools_says_or_mask_errors(mask, changes):
    rle = encode_rle(np.array(mask))
    counts = bytearray(rle["counts"].encode())
    for place, value, removed in changes:
        counts[place % (len(counts) + 1) : place % (len(counts) + 1) + removed] = bytes([value])
    damaged = {"size": rle["size"], "counts": bytes(counts)}
    try:
        ours = decode_rle(damaged)
    except MaskError:
        assert changes
        return
    # Only what is accepted here may be shown to pycocotools, which writes beyond its array for what does not fit.
    assert np.array_equal(ours, coco.decode(damaged).astype(bool))


NUMBERS = st.integers() | st.integers(-5, 70) | st.booleans() | st.floats() | st.none() | st.text(max_size=3)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    size=NUMBERS | st.lists(NUMBERS, max_size=3),
    counts=NUMBERS | st.lists(NUMBERS, max_size=6) | st.binary(max_size=30) | st.text(max_size=30),
)
@example(size=[10**5, 10**5], counts=[10**10])
@example(size=[10**6000, 1], counts=[0])
@example(size=[2, 2], counts=[10**6000])
@example(size=[1 << 13, 1 << 13], counts="o" * 100_000 + "0")
def test_any_row_decodes_or_is_refused(size, counts):
    try:
        mask = decode_rle({"size": size, "counts": counts})
    except MaskError:
        return
    assert mask.shape == tuple(size)
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)
