"""Mattes as masks: whatever program wrote them, soft edges come down to the grid as they are."""

import numpy as np
import pytest
from PIL import Image

from undertow.base import MaskError
from undertow.masks import SoftLabelMap, check_label_map, read_label_map, read_mattes, soft_one_hot
from undertow.runs.cues import described

ALPHA = np.round(np.clip(12 - np.hypot(*(np.mgrid[:48, :64] - np.array([22, 30])[:, None, None])) * 0.8, 0, 1) * 255)
ALPHA = ALPHA.astype(np.uint8)


def as_rgba(alpha):
    return Image.fromarray(np.dstack([np.full((*alpha.shape, 3), 200, np.uint8), alpha]))


WAYS = {
    "grey.png": Image.fromarray,
    "rgba.png": as_rgba,
    "rgb.png": lambda alpha: Image.fromarray(np.dstack([alpha] * 3)),
    "wide.png": lambda alpha: Image.fromarray(alpha.astype(np.uint16) * 257),
    "grey.jpg": Image.fromarray,
    "float.tif": lambda alpha: Image.fromarray(alpha.astype(np.float32) / 255),
}


@pytest.mark.parametrize("name", [*WAYS, "half.exr"])
def test_soft_edges_come_down_to_the_grid(tmp_path, name):
    path = tmp_path / name
    if name == "half.exr":
        exr = pytest.importorskip("OpenEXR")
        header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
        with exr.File(header, {"A": (ALPHA / 255).astype(np.float16)}) as file:
            file.write(str(path))
    else:
        WAYS[name](ALPHA).save(path)
    with pytest.raises(MaskError, match="--soft"):
        read_label_map(path)
    labels = check_label_map(read_mattes([path], (48, 64)), size=(48, 64), source="it")
    assert np.array_equal(labels, ALPHA >= 128) or name == "grey.jpg"
    found = soft_one_hot(labels, [1], (12, 16))
    cells = ALPHA.reshape(12, 4, 16, 4).mean((1, 3)) / 255
    np.testing.assert_allclose(found[1], cells, atol=0.02 if name == "grey.jpg" else 0.001)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)
    # A threshold moves the cells of the edge.
    assert np.abs(soft_one_hot((ALPHA >= 128).astype(np.uint16), [1], (12, 16))[1].numpy() - cells).max() > 0.02


def test_several_mattes_are_objects(tmp_path):
    other = np.roll(ALPHA, 20, axis=1)
    for name, alpha in (("dog-7.png", ALPHA), ("cat-3.png", other)):
        Image.fromarray(alpha).save(tmp_path / name)
    labels = read_mattes([tmp_path / "dog-7.png", tmp_path / "cat-3.png"])
    total = sum(each.astype(int) for each in labels.cover.values())
    assert labels.cover.keys() == {7, 3} and total.max() <= 255
    # Where both cover a pixel each has its share, elsewhere what its file says.
    alone = ALPHA.astype(int) + other <= 255
    assert not alone.all() and np.array_equal(labels.cover[7][alone], ALPHA[alone])
    exr = pytest.importorskip("OpenEXR")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    layers = {f"object_{n}.A": (alpha / 255).astype(np.float16) for n, alpha in ((7, ALPHA), (3, other))}
    with exr.File(header, layers) as file:
        file.write(str(tmp_path / "all.exr"))
    assert np.array_equal(read_mattes([tmp_path / "all.exr"]), labels)


def test_only_the_map_itself_has_soft_edges():
    soft = SoftLabelMap({1: ALPHA})
    plain = np.array(soft)
    assert type(plain) is np.ndarray and not (soft > 0).cover and not soft[1:].cover and not soft.copy().cover
    assert described(0, soft) != described(0, plain) and described(0, plain) == described(0, soft.copy())


def test_mattes_of_no_use_are_refused(tmp_path):
    Image.fromarray(ALPHA).save(tmp_path / "a.png")
    Image.fromarray(ALPHA[:40]).save(tmp_path / "b.png")
    Image.fromarray(ALPHA * 0).save(tmp_path / "c.png")
    with pytest.raises(MaskError, match="another size"):
        read_mattes([tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(MaskError, match="is 64x40 but the video is 64x48"):
        read_mattes([tmp_path / "b.png"], (48, 64))
    with pytest.raises(MaskError, match="all black"):
        read_mattes([tmp_path / "c.png"])
