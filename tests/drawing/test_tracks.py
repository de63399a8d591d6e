"""Points drawn over frames: where, in which colour, and how hidden ones differ."""

import numpy as np

from undertow.drawing.tracks import draw_tracks, draw_trajectories, point_colours

GREY = np.full((120, 160, 3), 128, np.uint8)
TRACKS = np.stack([np.stack([np.array([20.5 + 10 * t, 30.5]), np.array([100.5, 90.5])]) for t in range(4)], 1)


def test_seen_points_are_filled_and_hidden_ones_open():
    colours = point_colours(TRACKS[:, 0], (120, 160))
    seen = np.array([[True] * 4, [True, True, True, False]])
    drawn = draw_tracks(GREY, TRACKS, seen, 3, colours)
    assert tuple(drawn[30, 50]) == colours[0] and GREY.min() == 128
    assert tuple(drawn[90, 100]) != colours[1]
    before = draw_tracks(GREY, TRACKS, seen, 2, colours)
    assert tuple(before[90, 100]) == colours[1]


def test_tails_lead_from_where_points_were_and_stop_where_they_were_hidden():
    colours = point_colours(TRACKS[:, 0], (120, 160))
    seen = np.ones((2, 4), bool)
    drawn = draw_tracks(GREY, TRACKS, seen, 3, colours, tail=2)
    assert (drawn[30, 35] != 128).any() and (drawn[30, 25] == 128).all()
    seen[0, 2] = False
    assert (draw_tracks(GREY, TRACKS, seen, 3, colours)[30, 42:45] == 128).all()


def test_neighbours_look_alike():
    near, far = point_colours(np.array([[10, 10], [12, 10], [150, 100.0]]), (120, 160))[1:]
    first = point_colours(np.array([[10.0, 10.0]]), (120, 160))[0]
    distance = lambda a, b: sum(abs(x - y) for x, y in zip(a, b, strict=True))  # noqa: E731
    assert distance(first, near) < 40 < distance(first, far)


def test_trajectories_are_whole_paths_on_one_frame():
    drawn = draw_trajectories(GREY, TRACKS, np.ones((2, 4), bool), point_colours(TRACKS[:, 0], (120, 160)), [0, 2])
    assert drawn.shape == GREY.shape
    row = drawn[30, 24:51].astype(int)
    assert (np.ptp(row, axis=-1) > 20).all()
    # Full at its end, dark at its beginning.
    assert row[-3].max() > row[3].max()
