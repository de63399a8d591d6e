"""Prompts as pictures."""

import pytest
import torch

from undertow.refinement import LIMIT, draw_prompts

BOX = torch.tensor([[8.0, 4.0, 24.0, 28.0]])


def test_a_box_is_its_ellipse_and_nothing_outside():
    (drawn,) = draw_prompts(32, 16, boxes=BOX)
    assert drawn.shape == (16, 16) and drawn.argmax() in [16 * y + x for y in (7, 8) for x in (7, 8)]
    assert drawn[2, 4] < 0 < drawn[8, 5]
    outside = torch.ones(16, 16, dtype=torch.bool)
    outside[2:14, 4:12] = False
    assert (drawn[outside] == -LIMIT).all() and (drawn[~outside] > -LIMIT).all()


def test_points_are_spots_of_their_sign():
    points, labels = torch.tensor([[[5.0, 9.0], [27.0, 21.0]]]), torch.tensor([[1, 0]])
    (drawn,) = draw_prompts(32, 16, points=points, labels=labels)
    assert divmod(int(drawn.argmax()), 16) == (4, 2) and divmod(int(drawn.argmin()), 16) == (10, 13)
    assert drawn[0, 15].abs() < 0.1 and drawn.abs().max() <= LIMIT
    assert torch.equal(
        draw_prompts(32, 16, points=points[:, :1]), draw_prompts(32, 16, points=points[:, :1], labels=labels[:, :1])
    )


def test_a_cut_takes_the_place_of_the_ellipse():
    cuts = torch.zeros(1, 16, 16)
    cuts[:, 4:6] = 1
    (drawn,) = draw_prompts(32, 16, boxes=BOX, cuts=cuts)
    assert (drawn[4:6, 4:12] > 0).all() and (drawn[6:14, 4:12] < 0).all() and (drawn[:, :4] == -LIMIT).all()


def test_something_must_be_asked():
    with pytest.raises(ValueError, match="points or boxes"):
        draw_prompts(32, 16)
