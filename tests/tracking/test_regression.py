"""Random features that stand for a Gaussian kernel, and what is near objects."""

import torch

from undertow.tracking.regression import RIDGE, SOME, balanced, cosines, near_objects, normal_equations, ridge


def test_products_of_features_fall_with_distance_as_a_gaussian():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    features = cosines(points, 2.0, 20000)
    assert features.shape == (40, 20001) and (features[:, -1] == 1).all()
    found = features[:, :-1] @ features[:, :-1].T
    torch.testing.assert_close(found, torch.exp(-0.5 * (torch.cdist(points, points) / 2) ** 2), atol=0.04, rtol=0)


def test_near_is_a_square_of_two_thirds_of_the_radius_around_what_objects_have():
    grid = (9, 12)
    labels = torch.zeros(3, 108)
    labels[0] = 1
    at = 4 * 12 + 6
    # Two objects together have enough of the token.
    labels[:, at] = torch.tensor([1 - 1.2 * SOME, 0.6 * SOME, 0.6 * SOME])
    near = near_objects(labels, grid, 3).tolist()
    assert near == [row * 12 + column for row in range(2, 7) for column in range(4, 9)]
    labels[:, at] = torch.tensor([1 - 0.8 * SOME, 0.4 * SOME, 0.4 * SOME])
    assert not len(near_objects(labels, grid, 3))
    labels[1] = 1
    assert len(near_objects(labels, grid, None)) == 108


def test_objects_and_what_is_around_them_weigh_the_same():
    labels = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    assert balanced(labels).tolist() == [0.25, 0.25, 0.25, 0.25, 1.0]


def test_ridge_solves_what_weighted_least_squares_would():
    random = torch.Generator().manual_seed(0)
    features, labels = torch.rand(9, 3, generator=random), torch.rand(2, 9, generator=random)
    weights = torch.rand(9, generator=random)
    gram, target = normal_equations(features, labels, weights)
    # A penalty is as good as more examples: a row for each feature, of which the label is zero.
    penalty = (RIDGE * gram.diagonal().mean()).sqrt() * torch.eye(3)
    rows = torch.cat([features * weights.sqrt()[:, None], penalty])
    right = torch.cat([labels.T * weights.sqrt()[:, None], torch.zeros(3, 2)])
    torch.testing.assert_close(ridge(gram, target), torch.linalg.lstsq(rows, right).solution)
