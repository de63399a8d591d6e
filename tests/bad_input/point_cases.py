"""Points to be followed, when they are of no use, and files of them."""

import numpy as np

from .kitchen import Case, Kitchen
from .output_cases import finished

SMALL = ("--preset", "pixels", "--size", "tokens=192", "--no-overlay", "--threads", "2")


def points(kitchen: Kitchen, *given: object) -> list[object]:
    return ["points", kitchen.clip, "--out", kitchen.out, *SMALL, *given]


def saved(kitchen: Kitchen, name: str = "queries.npz", **arrays: np.ndarray) -> str:
    path = kitchen.folder / name
    np.savez(path, **arrays)
    return str(path)


def other_run(kitchen: Kitchen) -> list[object]:
    finished(kitchen)
    return points(kitchen, "--grid", 2)


CASES = [
    Case("no point at all", lambda k: points(k), "no point was given"),
    Case("a point of words to follow", lambda k: points(k, "--point", "a,b"), "--point is 'a,b'"),
    Case("a point that is NaN", lambda k: points(k, "--point", "nan,3"), "--point is 'nan,3'"),
    Case("a point to follow outside the frame", lambda k: points(k, "--point", "64.5,3"), "outside the frame of 64x48"),
    Case("a point on frame 9 of 3", lambda k: points(k, "--point", "3,3@9"), "9"),
    Case("a point before --start", lambda k: points(k, "--point", "3,3@0", "--start", 1), "frame 0"),
    Case("a grid of none", lambda k: points(k, "--grid", 0), "a grid of 0 points"),
    Case("a grid of 99999 points across",
         lambda k: points(k, "--grid", 99999), "9999800001 points on 3 frames", code=4),
    Case("a grid that is no number", lambda k: points(k, "--grid", "many"), "--grid is 'many'"),
    Case("a mask without an object to put points on",
         lambda k: points(k, "--mask", k.labelled("empty.png", np.zeros((48, 64), np.uint16))), "has no object"),
    Case("a file of points that is not there", lambda k: points(k, "--queries", "nowhere.csv"), "is not a file"),
    Case("a file of points of another kind",
         lambda k: points(k, "--queries", k.at("points.dat", "1,2")), "neither a .csv nor a .npz"),
    Case("a table of points without a column y",
         lambda k: points(k, "--queries", k.at("points.csv", "frame,x\n0,1\n")), "has no column 'y'"),
    Case("a table of points with a word in it",
         lambda k: points(k, "--queries", k.at("points.csv", "x,y\n1,2\n3,four\n")), "row 2"),
    Case("a table without points", lambda k: points(k, "--queries", k.at("points.csv", "x,y\n")), "are none"),
    Case("a table of points with NaN",
         lambda k: points(k, "--queries", k.at("points.csv", "x,y\n1,2\nnan,3\n")), "is not a number"),
    Case("a .npz file that is none",
         lambda k: points(k, "--queries", k.at("points.npz", "PK")), "is not a readable file of points"),
    Case("a .npz file without points",
         lambda k: points(k, "--queries", saved(k, other=np.zeros(3))), "has no array 'queries' or 'points'"),
    Case("points in four columns",
         lambda k: points(k, "--queries", saved(k, points=np.zeros((3, 4)))), "of shape (3, 4)"),
    Case("a preset of masks for points",
         lambda k: [*points(k, "--grid", 2), "--preset", "drift"], "which follow points"),
    Case("points into a run of masks", other_run, "holds a run of track"),
]  # fmt: skip
