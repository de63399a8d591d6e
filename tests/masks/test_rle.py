import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from undertow.base import MaskError
from undertow.masks import VOID, decode_rle, encode_rle, label_map_rles, object_ids

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=40)
MASKS = arrays(bool, SHAPES) | st.builds(lambda value, shape: np.full(shape, value), st.booleans(), SHAPES)


@settings(deadline=None, max_examples=200)
@given(MASKS)
def test_encoding_equals_pycocotools(mask):
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = encode_rle(mask)
    assert ours["counts"] == theirs["counts"].decode()
    assert ours["size"] == theirs["size"]


# pycocotools 2.0.11 has not caught up with numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(deadline=None, max_examples=200)
@given(MASKS)
def test_decoding_undoes_encoding_of_both(mask):
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert np.array_equal(decode_rle(theirs), mask)
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)
    assert np.array_equal(coco.decode(encode_rle(mask)).astype(bool), mask)


def test_long_runs_take_several_groups():
    mask = np.zeros((1000, 1500), bool)
    mask[3, 1400], mask[999, 1499] = True, True
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_rle(mask)["counts"] == theirs["counts"].decode()
    assert np.array_equal(decode_rle(theirs), mask)


@settings(deadline=None)
@given(arrays(np.uint16, SHAPES, elements=st.sampled_from([0, 1, 2, 300, VOID])))
def test_one_scan_gives_every_objects_runs(labels):
    ids = [*object_ids(labels), 9]
    rles = label_map_rles(labels, ids)
    assert list(rles) == ids
    for object_id in ids:
        assert rles[object_id] == encode_rle(labels == object_id)


def test_plain_counts_are_read():
    assert np.array_equal(decode_rle({"size": [2, 2], "counts": [1, 2, 1]}), [[False, True], [True, False]])


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2], "counts": "4"}, "size"),
        ({"size": [2, -2], "counts": "4"}, "size"),
        ({"counts": "4"}, "size"),
        ({"size": [2, 2]}, "counts"),
        ({"size": [2, 2], "counts": [1, 2.0, 1]}, "counts"),
        ({"size": [2, 2], "counts": [-1, 5]}, "counts"),
        ({"size": [2, 2], "counts": [1, 2]}, "add up to the 4 pixels"),
        ({"size": [2, 2], "counts": "5"}, "add up to the 4 pixels"),
        ({"size": [2, 2], "counts": "3O2"}, "add up to the 4 pixels"),
        ({"size": [2, 2], "counts": ""}, "not a COCO string"),
        ({"size": [2, 2], "counts": "4!"}, "not a COCO string"),
        ({"size": [2, 2], "counts": "4é"}, "not a COCO string"),
        ({"size": [2, 2], "counts": "d"}, "cut off"),
        ({"size": [2, 2], "counts": "o" * 13 + "0"}, "30 bits"),
        ({"size": [1 << 20, 1 << 20], "counts": [1 << 40]}, "at most 67108864 pixels"),
        ({"size": [10**5000, 1], "counts": [10**5000]}, "more digits than can be shown"),
        ({"size": "x" * 99, "counts": "4"}, r"x\.\.\.; give"),
    ],
)
def test_bad_run_lengths_are_refused(rle, message):
    with pytest.raises(MaskError, match=message):
        decode_rle(rle)


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_string_decodes_or_is_refused(counts):
    try:
        mask = decode_rle({"size": [5, 7], "counts": counts})
    except MaskError:
        return
    assert mask.shape == (5, 7)
