"""Composites of photographs: masks that are exact, and objects that are hard to see."""

from dataclasses import replace

import numpy as np

from undertow.world.composites import CompositeSettings, make_composite

RED, BLUE = (np.full((40, 50, 3), colour, np.uint8) for colour in ((200, 40, 40), (40, 40, 200)))
PLAIN = CompositeSettings(
    height=48, width=64, radius=(0.2, 0.3), several=0, ground=0, matched=0, shadows=0, defocused=0
)


def test_objects_are_where_the_masks_say():
    for seed in range(6):
        made = make_composite(np.random.default_rng(seed), RED, [BLUE], PLAIN)
        assert made.image.shape == (48, 64, 3) and made.objects.shape == made.parts.shape == (48, 64)
        assert np.array_equal(made.objects > 0, made.parts > 0)
        blue = made.image[..., 2].astype(int) > made.image[..., 0]
        # Edges are soft, and a camera blurs them.
        assert (blue == (made.objects > 0)).mean() > 0.9


def test_a_composite_is_a_function_of_the_generator():
    one, two, other = (make_composite(np.random.default_rng(s), RED, [BLUE, RED], PLAIN) for s in (0, 0, 1))
    assert np.array_equal(one.image, two.image) and np.array_equal(one.objects, two.objects)
    assert not np.array_equal(one.image, other.image)


def test_colours_of_the_ground_hide_an_object():
    settings = replace(PLAIN, objects=(1, 1), matched=1.0)
    seeds = range(8)

    def contrast(settings):
        found = []
        for seed in seeds:
            made = make_composite(np.random.default_rng(seed), RED, [BLUE], settings)
            inside = made.objects > 0
            found.append(np.abs(made.image[inside].mean(0) - made.image[~inside].mean(0)).mean())
        return np.mean(found)

    assert contrast(settings) < 0.6 * contrast(replace(settings, matched=0.0))


def test_several_photographs_are_parts():
    made = make_composite(np.random.default_rng(0), RED, [BLUE, RED], replace(PLAIN, objects=(3, 3), several=1.0))
    assert len(np.unique(made.parts)) > 2
