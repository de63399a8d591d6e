import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from undertow.base import MaskError
from undertow.masks import (
    VOID,
    colour_table,
    object_colour,
    object_ids,
    palette,
    read_label_map,
    read_object_masks,
    read_written_map,
    write_label_map,
)

DATA = Path(os.environ.get("UNDERTOW_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
IDS = st.sampled_from([0, 1, 2, 3, 200, 253, 254, 255, 256, 1000, VOID - 1, VOID])
SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=9)


def blocks(*values: int, side: int = 12) -> np.ndarray:
    """A row of flat squares."""
    return np.repeat(np.array(values, np.uint16), side)[None].repeat(side, 0)


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


@settings(deadline=None)
@given(arrays(np.uint16, SHAPES, elements=IDS))
def test_any_map_reads_back_as_written(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("maps") / "a.png"
    write_label_map(path, labels)
    assert np.array_equal(read_written_map(path), labels)
    with Image.open(path) as image:
        assert image.mode == ("I;16" if (np.where(labels == VOID, 0, labels) > 254).any() else "P")


def test_palette_files_are_davis_coloured_and_read_by_index(tmp_path):
    labels = blocks(0, 1, 2, 7, VOID)
    write_label_map(tmp_path / "a.png", labels)
    assert np.array_equal(read_label_map(tmp_path / "a.png", size=labels.shape), labels)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), np.where(labels == VOID, 255, labels))
        assert np.array_equal(np.asarray(image.convert("RGB")), palette()[np.asarray(image)])


def test_more_than_255_ids_need_sixteen_bits(tmp_path):
    labels = np.arange(300, dtype=np.uint16).reshape(15, 20).repeat(6, 0).repeat(6, 1)
    write_label_map(tmp_path / "a.png", labels)
    assert np.array_equal(read_label_map(tmp_path / "a.png"), labels)


def test_grey_and_one_bit_files(tmp_path):
    values = blocks(0, 255).astype(np.uint8)
    assert object_ids(read_label_map(save(tmp_path / "grey.png", values))) == [1]
    assert object_ids(read_label_map(save(tmp_path / "bits.png", values, "1"))) == [1]
    assert object_ids(read_label_map(save(tmp_path / "ids.bmp", blocks(0, 1, 4).astype(np.uint8)))) == [1, 4]
    assert object_ids(read_label_map(save(tmp_path / "alpha.png", values, "LA"))) == [1]


def test_a_size_other_than_the_videos_is_refused(tmp_path):
    path = save(tmp_path / "small.png", blocks(0, 1).astype(np.uint8))
    with pytest.raises(MaskError, match=r"small.png' is 24x12 but the video is 854x480"):
        read_label_map(path, size=(480, 854))


def test_soft_edges_name_the_values_and_the_file(tmp_path):
    image = Image.fromarray(blocks(0, 255, 0).astype(np.uint8)).resize((80, 27), Image.Resampling.BILINEAR)
    image.save(tmp_path / "soft.png")
    stray = np.unique(np.asarray(image))[1]
    with pytest.raises(MaskError, match=rf"soft.png' has soft edges: the grey values {stray},"):
        read_label_map(tmp_path / "soft.png")


def test_unknown_ids_name_the_values_and_the_file(tmp_path):
    write_label_map(tmp_path / "a.png", blocks(0, 1, 5, 6))
    assert object_ids(read_label_map(tmp_path / "a.png", known_ids={1, 5, 6})) == [1, 5, 6]
    with pytest.raises(MaskError, match=r"a.png' has unknown ids 5, 6; the objects are 1"):
        read_label_map(tmp_path / "a.png", known_ids={1})


def test_lossy_and_broken_files_are_refused(tmp_path):
    values = blocks(0, 255).astype(np.uint8)
    with pytest.raises(MaskError, match=r"a.jpg' is JPEG, which may alter ids; save the mask as PNG"):
        read_label_map(save(tmp_path / "a.jpg", values))
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(MaskError, match=r"text.png' is not an image"):
        read_label_map(tmp_path / "text.png")
    with pytest.raises(MaskError, match=r"none.png' does not exist; check the path"):
        read_label_map(tmp_path / "none.png")
    whole = save(
        tmp_path / "whole.png", np.random.default_rng(0).integers(0, 9, (99, 99)).astype(np.uint8)
    ).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MaskError, match=r"cut.png' cannot be read"):
        read_label_map(tmp_path / "cut.png")
    with pytest.raises(MaskError, match=r"float.tiff' has pixels of type F"):
        read_label_map(save(tmp_path / "float.tiff", values.astype(np.float32)))
    with pytest.raises(MaskError, match="transparent"):
        read_label_map(save(tmp_path / "clear.png", np.stack([values, values | 1], -1), "LA"))
    with pytest.raises(MaskError, match="not written by undertow"):
        read_written_map(save(tmp_path / "grey.png", values))


def test_colours_are_ids_only_on_request(tmp_path):
    labels = blocks(0, 1, 2, VOID)
    path = save(tmp_path / "rgb.png", palette()[np.where(labels == VOID, 255, labels)])
    with pytest.raises(MaskError, match=r"rgb.png' is RGB-coded; pass --mask-colors"):
        read_label_map(path)
    assert np.array_equal(read_label_map(path, mask_colors=True), labels)
    assert colour_table(path) == {(0, 0, 0): 0, object_colour(1): 1, object_colour(2): 2, (224, 224, 192): VOID}
    with pytest.raises(MaskError, match="unknown ids 2"):
        read_label_map(path, mask_colors=True, known_ids=[1])


def test_one_table_serves_several_files(tmp_path):
    red, blue, white = (250, 10, 10), (0, 0, 255), (255, 255, 255)
    colours = np.array([(0, 0, 0), red, blue, white], np.uint8)
    first = save(tmp_path / "a.png", colours[blocks(0, 1)])
    second = save(tmp_path / "b.png", colours[blocks(0, 2, 3)])
    table = colour_table(first, second)
    assert table == {(0, 0, 0): 0, blue: 1, red: 2, white: 3}
    assert np.array_equal(read_label_map(first, mask_colors=table), blocks(0, 2))
    assert np.array_equal(read_label_map(second, mask_colors=table), blocks(0, 1, 3))
    with pytest.raises(MaskError, match=r"b.png' has colours without an id: \(0, 0, 255\), \(255, 255, 255\)"):
        read_label_map(second, mask_colors=colour_table(first))


def test_soft_edges_of_colours_are_refused(tmp_path):
    colours = np.array([(0, 0, 0), (250, 10, 10), (0, 0, 255)], np.uint8)
    image = Image.fromarray(colours[blocks(0, 1, 2)]).resize((90, 30), Image.Resampling.BILINEAR)
    image.save(tmp_path / "soft.png")
    with pytest.raises(MaskError, match=r"soft.png' has soft edges: \("):
        read_label_map(tmp_path / "soft.png", mask_colors=True)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    with pytest.raises(MaskError, match=r"soft edges|too many colours"):
        colour_table(save(tmp_path / "photo.png", noise))
    with pytest.raises(MaskError, match="not RGB-coded"):
        colour_table(save(tmp_path / "grey.png", noise[..., 0]))


def test_one_file_per_object(tmp_path):
    left = save(tmp_path / "left.png", blocks(255, 0, 0).astype(np.uint8))
    right = save(tmp_path / "right.png", blocks(0, 0, 1).astype(np.uint8))
    assert np.array_equal(read_object_masks([right, left]), blocks(2, 0, 1))
    fifth = save(tmp_path / "dog-05.png", blocks(0, 1, 0).astype(np.uint8))
    second = save(tmp_path / "dog-02.png", blocks(255, 0, 0).astype(np.uint8), "1")
    assert np.array_equal(read_object_masks([fifth, second], size=(12, 36)), blocks(2, 5, 0))


def test_object_files_must_be_binary_disjoint_and_not_empty(tmp_path):
    left = save(tmp_path / "left.png", blocks(255, 255, 0).astype(np.uint8))
    right = save(tmp_path / "right.png", blocks(0, 255, 255).astype(np.uint8))
    with pytest.raises(MaskError, match=r"left.png' and '.*right.png' overlap in 144 pixels"):
        read_object_masks([left, right])
    many = save(tmp_path / "many.png", blocks(0, 1, 2).astype(np.uint8))
    with pytest.raises(MaskError, match=r"many.png' of one object holds the values 1, 2"):
        read_object_masks([many])
    with pytest.raises(MaskError, match=r"empty.png' is all black"):
        read_object_masks([save(tmp_path / "empty.png", blocks(0).astype(np.uint8))])
    with pytest.raises(MaskError, match="is 12x12 but the video is 36x12"):
        read_object_masks([left, save(tmp_path / "small.png", blocks(1).astype(np.uint8))])
    with pytest.raises(MaskError, match="no object masks"):
        read_object_masks([])
    with pytest.raises(MaskError, match="one black and white PNG"):
        read_object_masks([save(tmp_path / "rgb.png", palette()[blocks(0, 1)])])


@pytest.mark.shared_data
@pytest.mark.skipif(not DATA.is_dir(), reason="the real sequences are absent; set UNDERTOW_DATA")
def test_real_masks():
    dog = read_label_map(DATA / "davis-dog" / "masks" / "00000.png", size=(480, 854))
    assert object_ids(dog) == [1]
    caps = read_label_map(DATA / "pumavos-caps" / "masks" / "00000.png", size=(853, 480))
    assert object_ids(caps)
    with pytest.raises(MaskError, match=r"apple_mask.png' has soft edges"):
        read_label_map(DATA / "clips" / "apple_mask.png")
