"""Masks as polygons and back, by our rule and by pycocotools'."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from undertow.masks.polygons import mask_of, polygons_of

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(deadline=None)
@given(masks)
def test_nothing_is_lost(mask):
    rings = polygons_of(mask)
    assert np.array_equal(mask_of(rings, mask.shape), mask)
    if rings:
        flat = [[float(each) for point in ring for each in point] for ring in rings]
        assert np.array_equal(coco.decode(coco.merge(coco.frPyObjects(flat, *mask.shape))).astype(bool), mask)


def test_pieces_are_apart_and_holes_are_slits():
    mask = np.zeros((7, 9), bool)
    mask[1:6, 1:6] = True
    mask[3, 3] = False
    mask[6, 6] = True
    rings = polygons_of(mask)
    assert rings[1] == [(6, 6), (7, 6), (7, 7), (6, 7)]
    # Four corners, four of the hole, and the two ends of the slit once more.
    assert len(rings) == 2 and len(rings[0]) == 10


def test_a_pixel_is_inside_if_its_centre_is():
    square = [[(0.6, 0.4), (2.5, 0.4), (2.5, 1.6), (0.6, 1.6)]]
    assert mask_of(square, (3, 4)).nonzero()[0].tolist() == [0, 1] and mask_of(square, (3, 4))[:, 1].sum() == 2
    assert not mask_of([[(0, 0), (3, 0)], []], (3, 4)).any()
    assert mask_of([[(-5, -5), (50, -5), (50, 50), (-5, 50)]], (3, 4)).all()
