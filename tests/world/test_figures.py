"""Outlines of what composites show."""

import numpy as np

from undertow.world.figures import Figure, Limb, Part, random_figure
from undertow.world.shapes import random_shape


def test_limbs_are_as_thick_as_they_say():
    limb = Limb(((-0.5, 0.0), (0.5, 0.0)), (0.1, 0.3))
    u, v = np.array([-0.5, 0.0, 0.5, 0.0, 0.9], np.float32), np.array([0, 0, 0, 0.5, 0], np.float32)
    np.testing.assert_allclose(limb.distance(u, v), [0.1, 0.2, 0.3, -0.3, -0.1], atol=1e-5)


def test_holes_are_not_inside():
    disc = random_shape(np.random.default_rng(0), "disc")
    figure = Figure((Part(disc),), (Part(disc, size=0.3),))
    middle, ring, far = figure.distance(np.array([0.0, 0.5, 1.5]), np.zeros(3))
    assert middle < 0 < ring and far < 0


def test_figures_are_about_as_large_as_they_should_be():
    v, u = np.mgrid[-2:2:80j, -2:2:80j]
    for seed in range(20):
        inside = random_figure(np.random.default_rng(seed)).distance(u, v) >= 0
        assert 0.03 < inside.mean() < 0.5 and inside[np.hypot(u, v) > 1.9].mean() < 0.02
