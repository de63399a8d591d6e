"""Sweeps options of point tracking on validation worlds, at about 1600 tokens.

    python benchmarks/quality/sweep_points.py --worlds 0,3,5,8,11 --stride 6 --try "" --try smoothing=0.0 ...

Worlds have seeds that neither training nor any table uses. Every `--try` names options of `PointSettings`, beside
those of `--base`; `blocks=2+3` reads these blocks of a video transformer together, `heads=0+2` these heads, `rotary=0`
what is compared before rotation. Features are computed once for each way of observing. Columns: delta_avg over visible
points after frame 0 in a raster of 256 x 256, the shares within 1, 2, 4, 8 and 16 pixels, delta_avg of points that were
hidden and are back, AJ and OA.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from undertow.backbones import load
from undertow.benchmarks.points.sample import back_again
from undertow.benchmarks.points.worlds import pick_points
from undertow.metrics.tapvid import count_tapvid, near_points, scale_points
from undertow.points import PointSettings, PointTracker
from undertow.video import Video
from undertow.world import FIRST_VALIDATION_SEED, make_family_scene, point_tracks

FAMILIES = (
    *("plain", "plain", "plain", "look-alikes", "occlusion", "reentry"),
    *("fast", "light", "deformation", "camera", "camouflage", "mixed"),
)
FIRST = FIRST_VALIDATION_SEED + 500_000
SIZE, FRAMES = (270, 480), 48
# What changes what is observed; other options share features.
OBSERVING = ("source", "timestep", "noising", "heads", "tokens", "cover", "anchor", "spare", "blocks", "rotary")


def make_world(number, stride=3):
    """Returns pictures (t, h, w, 3), queries (q, 3), tracks and visibility of a validation world."""
    scene = make_family_scene(FAMILIES[number], FIRST + number, *SIZE)
    times, random = [float(t) for t in range(0, FRAMES, stride)], np.random.default_rng((FIRST + number, 11))
    points = pick_points(scene, 0.0, 16, random)
    beside = np.stack(np.nonzero(scene.labels(0.0) == 0)[::-1], -1)
    beside = beside[random.integers(len(beside), size=8)] + random.random((8, 2))
    points = np.concatenate([points, beside])
    tracks, visible = point_tracks(scene, points, times)
    queries = np.column_stack([np.zeros(len(points)), points])
    return np.stack([scene.picture(t).image for t in times]), queries, tracks, visible


def numbers(text):
    """Returns the numbers between commas."""
    return [int(part) for part in text.split(",")]


def read_options(text):
    """Returns options from a text such as "recent=0.3,combination=mean"."""
    options = {}
    for part in filter(None, text.split(",")):
        name, value = part.split("=")
        if name in ("blocks", "heads"):
            options[name] = tuple(int(each) for each in value.split("+"))
            continue
        try:
            options[name] = float(value) if "." in value else int(value)
        except ValueError:
            options[name] = value
    return options


def reading(backbone, options):
    """Returns the other options, after having the model read what `blocks` and `rotary` say."""
    options = dict(options)
    blocks, backbone.rotary = options.pop("blocks", None), bool(options.pop("rotary", 1))
    if blocks is not None:
        sites = backbone.sites()
        backbone.card = replace(backbone.card, sites={"track": tuple(sites[number] for number in blocks)})
    if "spare" in options:
        options["spare"] = bool(options["spare"])
    return options


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--worlds", type=numbers, default=[0, 3, 5, 8, 11])
    parser.add_argument("--stride", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--base", default="")
    parser.add_argument("--try", dest="tries", action="append", default=[])
    args = parser.parse_args()
    backbone = load(args.model)
    card, scores = backbone.card, {}
    for number in args.worlds:
        pictures, queries, tracks, visible = make_world(number, args.stride)
        observed = {}
        for text in args.tries or [""]:
            options = {"preset": "points", "tokens": args.tokens, **read_options(args.base), **read_options(text)}
            key = tuple(options.get(name) for name in (*OBSERVING, "preset"))
            backbone.card = card
            tracker = PointTracker(backbone, PointSettings(**reading(backbone, options)))
            if key in observed:
                tracker._store = observed[key]
            began = time.process_time()
            tracker.observe(Video(pictures))
            observed[key] = tracker._store
            found = tracker.follow(queries)
            truth, answer = (scale_points(each, SIZE[::-1]) for each in (tracks, found.tracks))
            points = np.column_stack([queries[:, 0], queries[:, 2], queries[:, 1]])
            values = count_tapvid(points, ~visible, truth, ~found.visibility, answer).video()
            near, back = near_points(answer, truth), back_again(visible)
            row = [values.delta_avg, *values.within, near[back].mean() if back.any() else np.nan]
            row += [values.average_jaccard, values.occlusion_accuracy, (time.process_time() - began) / 100]
            scores.setdefault(text, []).append(row)
    print(f"{'':60s} delta    <1   <2   <4   <8  <16  back   AJ   OA  seconds")
    for text, rows in scores.items():
        print(f"{text:60s}" + " ".join(f"{100 * value:5.1f}" for value in np.nanmean(rows, axis=0)), flush=True)


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
