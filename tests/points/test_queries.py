"""Points as arrays, grids, on masks, and in files."""

import numpy as np
import pytest

from undertow.base import CueError
from undertow.points import check_points, grid_points, mask_points, read_points


def test_a_grid_is_at_the_centres_of_equal_cells():
    found = grid_points(2, (40, 80), 3)
    assert found.tolist() == [[3, 20, 10], [3, 60, 10], [3, 20, 30], [3, 60, 30]]
    with pytest.raises(CueError, match="a grid of 0"):
        grid_points(0, (40, 80))


def test_points_on_a_mask_lie_on_its_objects_and_miss_none():
    labels = np.zeros((60, 80), np.uint16)
    labels[10:40, 10:50], labels[50, 70:73] = 1, 9
    found = mask_points(labels, frame=2)
    columns, rows = np.floor(found[:, 1:]).astype(int).T
    assert set(labels[rows, columns].tolist()) == {1, 9} and (found[:, 0] == 2).all() and 80 < len(found) < 125
    assert len(mask_points(labels, spacing=10)) == 13


def test_points_without_a_frame_are_of_the_first():
    assert check_points([[1, 2]], (10, 10), 5, 3).tolist() == [[3, 1, 2]]
    # The right and lower edges belong to the frame.
    assert check_points([[0, 10, 10]], (10, 10), 5).tolist() == [[0, 10, 10]]


def test_files_of_points(tmp_path):
    table = tmp_path / "points.csv"
    table.write_text("name,X,y,frame\na,1.5,2,0\nb,3,4.25,7\n")
    assert read_points(table).tolist() == [[0, 1.5, 2], [7, 3, 4.25]]
    table.write_text("x,y\n1,2\n")
    assert read_points(table).tolist() == [[1, 2]]
    arrays = tmp_path / "points.npz"
    np.savez(arrays, queries=np.array([[0, 1.5, 2]]), tracks=np.zeros((1, 3, 2)))
    assert read_points(arrays).tolist() == [[0, 1.5, 2]]
    # Tracks of a clip: frames of its queries count among those it looked at.
    np.savez(arrays, queries=np.array([[2, 1.5, 2]]), frames=np.array([10, 12, 14]))
    assert read_points(arrays).tolist() == [[14, 1.5, 2]]
    np.savez(arrays, queries=np.array([[3, 1.5, 2]]), frames=np.array([10, 12, 14]))
    with pytest.raises(CueError, match="not among its 'frames'"):
        read_points(arrays)
    np.savez(arrays, points=np.array([["a", "b"]]))
    with pytest.raises(CueError, match="of shape"):
        read_points(arrays)
