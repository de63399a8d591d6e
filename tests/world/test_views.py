import numpy as np
import pytest

from undertow.world.views import PIECE, coverage, develop, homography, make_ground, piece_map, project, quadrilateral


def test_a_homography_takes_corners_to_their_targets():
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    targets = np.array([[3, 2], [9, 1], [8, 8], [2, 5]], float)
    np.testing.assert_allclose(project(homography(corners, targets), corners), targets, atol=1e-9)


def test_a_quadrilateral_without_changes_sees_the_window():
    random = np.random.default_rng(0)
    ground = make_ground(random, random.integers(0, 255, (120, 160, 3), dtype=np.uint8), (0.5, 0.5), 30)
    # Half of 120 pixels on 30, of a texture with a margin of 60 all around: every second pixel is left.
    assert ground.texture.size == (140, 120)
    seen = project(ground.through(quadrilateral(np.zeros((4, 2)), 0.0, 0.0, np.zeros(2))), np.array([[0, 0], [30, 30]]))
    np.testing.assert_allclose(seen[1] - seen[0], (30, 30), atol=1e-9)
    np.testing.assert_allclose(seen.mean(axis=0) * 2, ground.centre, atol=1e-9)
    assert (ground.centre >= 60 + 30).all() and (ground.centre <= (60 + 130, 60 + 90)).all()


def test_a_piece_is_where_its_map_says():
    matrix = piece_map(np.array([20.0, 10.0]), 2.0, np.pi / 2)
    found = project(matrix, np.array([[20.0, 10.0], [21.0, 10.0]]))
    np.testing.assert_allclose(found, [[PIECE / 2, PIECE / 2], [PIECE / 2, PIECE / 2 + 2]], atol=1e-9)


def test_coverage_is_full_inside_and_half_on_the_outline():
    drawn = np.asarray(coverage(np.array([[1.0, 0.0, -1.0]])))
    assert drawn.tolist() == [[255, 127, 0]]


def test_gamma_and_brightness_are_logarithms():
    grey = np.full((2, 2, 3), 51, np.uint8)
    random = np.random.default_rng(0)
    assert np.array_equal(develop(random, grey, np.zeros(5), 0.0), grey)
    doubled = develop(random, grey, np.array([0, np.log(2), 0, 0, np.log(2)]), 0.0)
    assert doubled[0, 0].tolist() == [102, 102, 204]
    squared = develop(random, grey, np.array([np.log(2), 0, 0, 0, 0]), 0.0)
    assert squared[0, 0, 0] == pytest.approx(255 * 0.2**2, abs=0.5)
