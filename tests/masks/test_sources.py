"""Masks as other programs save them: `convert`, quantisers, paint programs, torch and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from undertow.base import MaskError
from undertow.masks import VOID, colour_table, given_label_map, object_ids, palette, read_label_map, read_object_masks

SQUARE = np.zeros((48, 64), bool)
SQUARE[10:30, 20:44] = True


def saved(folder, image: Image.Image, name: str = "mask.png"):
    image.save(folder / name)
    return folder / name


def indexed(values: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette([channel for colour in colours for channel in colour])
    return image


GREY = Image.fromarray(SQUARE.astype(np.uint8) * 255)
BINARY = {
    "white first": indexed(~SQUARE, (255, 255, 255), (0, 0, 0)),
    "black first": indexed(SQUARE, (0, 0, 0), (255, 255, 255)),
    "nearly white and black": indexed(~SQUARE, (254, 254, 254), (2, 2, 2)),
    "grey ramp": GREY.convert("P"),
    "adaptive": GREY.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=2),
    "quantised": GREY.convert("RGB").quantize(2),
    "web palette": GREY.convert("RGB").convert("P", palette=Image.Palette.WEB),
    "RGB": GREY.convert("RGB"),
    "opaque RGBA": GREY.convert("RGBA"),
    "opaque LA": GREY.convert("LA"),
    "one bit": GREY.convert("1"),
    "grey": GREY,
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("inside", [SQUARE, ~SQUARE], ids=["small", "large"])
def test_a_white_object_is_the_object_or_the_mask_is_refused(tmp_path, name, inside):
    image = BINARY[name]
    if inside is not SQUARE:
        image = image.convert("L").point(lambda value: 255 - value).convert(image.mode) if image.mode != "P" else image
        inside = inside if image.mode != "P" else SQUARE
    try:
        labels = read_label_map(saved(tmp_path, image))
    except MaskError:
        assert name in ("nearly white and black", "web palette")
        return
    np.testing.assert_array_equal(labels > 0, inside)
    assert len(object_ids(labels)) == 1


def test_greys_saved_as_rgb_are_ids(tmp_path):
    values = np.zeros((48, 64), np.uint8)
    values[4:20, 4:20], values[24:40, 30:50] = 3, 5
    path = saved(tmp_path, Image.fromarray(np.repeat(values[..., None], 3, 2)))
    for colours in (False, True, colour_table(path)):
        assert object_ids(read_label_map(path, mask_colors=colours)) == [3, 5]
    assert colour_table(path) == {}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("side", [3, 4, 6])
def test_many_small_objects_have_no_soft_edges(tmp_path, kind, side):
    values = np.zeros((120, 160), kind)
    places = [(y, x) for y in range(1, 110, side + 1) for x in range(1, 150, side + 1)][
        : 300 if kind is np.uint16 else 200
    ]
    for number, (y, x) in enumerate(np.random.default_rng(0).permutation(places), 1):
        values[y : y + side, x : x + side] = number
    labels = read_label_map(saved(tmp_path, Image.fromarray(values)))
    np.testing.assert_array_equal(labels, values)


SOFT = GREY.filter(ImageFilter.GaussianBlur(1.5))
ALPHA = Image.merge("RGBA", [Image.new("L", GREY.size, 200)] * 3 + [SOFT])


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (SOFT, "soft.png"),
        (SOFT.convert("RGB"), "soft-rgb.png"),
        (SOFT.convert("LA"), "soft-la.png"),
        (ALPHA, "soft-alpha.png"),
        (GREY, "hard.jpg"),
        (SOFT, "soft.jpg"),
        (GREY.convert("RGB"), "hard.webp"),
        (Image.fromarray(np.asarray(SOFT).astype(np.uint16) * 257), "soft16.png"),
        (GREY, "hard.png"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_threshold_reads_masks_with_soft_edges(tmp_path, image, name):
    path = saved(tmp_path, image, name)
    labels = read_label_map(path, threshold=128)
    assert object_ids(labels) == [1]
    assert np.count_nonzero((labels == 1) != SQUARE) <= 8
    np.testing.assert_array_equal(read_object_masks([path], threshold=128) > 0, labels > 0)
    if not name.startswith("hard.png"):
        with pytest.raises(MaskError, match="--mask-threshold 128"):
            read_label_map(path)


def test_a_threshold_still_checks_the_file(tmp_path):
    with pytest.raises(MaskError, match="does not exist"):
        read_label_map(tmp_path / "no.png", threshold=9)
    with pytest.raises(MaskError, match="is 64x48 but the video is 10x10"):
        read_label_map(saved(tmp_path, GREY), size=(10, 10), threshold=9)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(MaskError, match="is not an image"):
        read_label_map(tmp_path / "text.png", threshold=9)


def test_masks_given_in_python():
    ids = np.where(SQUARE, 2, 0)
    for mask in (
        ids,
        torch.from_numpy(ids),
        torch.from_numpy(ids).to(torch.uint8),
        Image.fromarray(ids.astype(np.uint8)),
    ):
        assert object_ids(given_label_map(mask, size=(48, 64), source="the mask")) == [2]
    for mask in (torch.from_numpy(SQUARE), SQUARE, GREY, BINARY["white first"], GREY.convert("1")):
        np.testing.assert_array_equal(given_label_map(mask, size=(48, 64), source="the mask"), SQUARE)
    void = Image.fromarray(np.where(SQUARE, 255, 1).astype(np.uint8))
    assert VOID in given_label_map(void, size=None, source="the mask")
    for mask, message in (
        ([[1]], "is a list; give"),
        (torch.zeros(48, 64), "float32"),
        (GREY.resize((9, 9)), "is 9x9"),
    ):
        with pytest.raises(MaskError, match=message):
            given_label_map(mask, size=(48, 64), source="the mask")


def test_an_indexed_mask_is_read_by_its_indices_as_long_as_its_colours_do_not_say_otherwise(tmp_path):
    ids = np.where(np.roll(SQUARE, 24, 1) & ~SQUARE, 2, SQUARE)
    for colours in (
        [(0, 0, 0), (9, 200, 30), (128, 128, 128)],
        [(1, 1, 1), (2, 2, 9), (3, 3, 3)],
        [(0, 0, 0)] * 3,
        palette()[:256],
    ):
        np.testing.assert_array_equal(read_label_map(saved(tmp_path, indexed(ids, *map(tuple, colours)))), ids)
    # Object 7 of DAVIS is grey.
    np.testing.assert_array_equal(
        read_label_map(saved(tmp_path, indexed(SQUARE * 7, *map(tuple, palette())))), SQUARE * 7
    )
    # Greys and DAVIS's colours packed by a program that kept only those in use.
    for colours, found in (([(0,) * 3, (3,) * 3, (5,) * 3], [3, 5]), (palette()[[0, 3, 255]], [3])):
        labels = read_label_map(saved(tmp_path, indexed(ids, *map(tuple, colours))))
        assert object_ids(labels) == found
        np.testing.assert_array_equal(labels == 3, ids == 1)


def test_what_is_transparent_is_background(tmp_path):
    painted = Image.fromarray(np.where(SQUARE, 2, 9).astype(np.uint8))
    for mode in ("LA", "RGBA"):
        image = painted.convert(mode)
        image.putalpha(GREY)
        np.testing.assert_array_equal(read_label_map(saved(tmp_path, image)), SQUARE * 2)


def test_soft_edges_are_told_from_thin_objects(tmp_path):
    values = np.where(SQUARE, 5, 0).astype(np.uint8)
    values[10:30, 44:47] = 3
    assert object_ids(read_label_map(saved(tmp_path, Image.fromarray(values)))) == [3, 5]
    blurred = Image.fromarray(np.where(SQUARE, 5, 0).astype(np.uint8)).resize((128, 96)).resize((64, 48))
    with pytest.raises(MaskError, match="soft edges"):
        read_label_map(saved(tmp_path, blurred.filter(ImageFilter.BoxBlur(1))))
