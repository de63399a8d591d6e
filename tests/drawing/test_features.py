import numpy as np

from undertow.drawing import marked_row, pca_pictures, time_slice

RNG = np.random.default_rng(0)


def test_tokens_alike_have_like_colours_in_all_frames():
    kinds = RNG.integers(0, 3, (4, 6, 8))
    means = RNG.normal(size=(3, 20))
    tokens = means[kinds] + 0.001 * RNG.normal(size=(4, 6, 8, 20))
    pictures = np.stack(pca_pictures(tokens.reshape(4, 48, 20), (6, 8), 16)).astype(int)
    assert pictures.shape == (4, 12, 16, 3)
    cells = pictures[:, 1::2, 1::2]
    for kind in range(3):
        assert np.ptp(cells[kinds == kind][:, :2], axis=0).max() < 12
    middle = [cells[kinds == kind].mean(0) for kind in range(3)]
    assert min(np.abs(middle[a] - middle[b])[:2].max() for a, b in ((0, 1), (0, 2), (1, 2))) > 80


def test_few_channels_and_flat_tokens_do_not_fail():
    (flat,) = pca_pictures(np.ones((1, 6, 2)), (2, 3), 3)
    assert flat.shape == (2, 3, 3) and len(np.unique(flat.reshape(-1, 3), axis=0)) == 1


def test_a_slice_is_one_row_of_every_picture():
    pictures = [RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8) for _ in range(3)]
    found = time_slice(pictures, 2, thickness=2)
    np.testing.assert_array_equal(found, np.stack([pictures[i // 2][2] for i in range(6)]))
    marked = marked_row(pictures[0], 4)
    assert (marked[4] == 255).all() and (marked[3] == 0).all() and (marked[:3] == pictures[0][:3]).all()
