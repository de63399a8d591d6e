"""Fits when a followed point counts as seen to validation worlds: `VisibilityModel` of matches, and `Odds` of flow.

    python benchmarks/quality/calibrate_points.py --worlds 0,3,5,8,11 --stride 6 [--model tiny] [--base recent=0.3]
    python benchmarks/quality/calibrate_points.py --flow --worlds 0,4,5,8,9,11 --stride 3

Logistic regressions on the logarithm of the forward mass, on log(1 + gap) and, of flow, on the logarithm of the drift,
by Newton's method; no benchmark world or real video is looked at. Without `--flow` one of "the point can be seen". With
it, flow carries one hypothesis of each point, and beside it all matches are judged: "the point is seen within a token",
of places that flow led to and of matches, and "the point can be seen", of the former.
"""

import argparse

import numpy as np
import torch
from sweep_points import make_world, numbers, read_options

from undertow.backbones import load
from undertow.points import PointSettings, PointTracker, VisibilityModel, carrying, tracker
from undertow.video import Video


class Recorder(VisibilityModel):
    """Keeps the evidence it is asked about."""

    def confidence(self, evidence):
        """Returns what the usual model says."""
        EVIDENCE.append(torch.stack([evidence.mass[:, 0], evidence.gap[:, 0]], -1))
        return super().confidence(evidence)


EVIDENCE: list[torch.Tensor] = []


def record(before, places, misses, evidence, inside, model):
    """Advances hypotheses, and keeps the places judged, with mass, gap, drift and whether they are in the picture."""
    drift = misses.clone()
    drift[:, : before.drift.shape[1]] += before.drift
    EVIDENCE.append(torch.stack([*places.unbind(-1), evidence.mass, evidence.gap, drift, inside.float()], -1))
    return carrying.advance(before, places, misses, evidence, inside, model)


def fit(inputs, seen, steps=30):
    """Returns the weights of a logistic regression (the first one is the bias)."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (seen - chance) - 1e-3 * weights
        hessian = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + 1e-3 * np.eye(len(weights))
        weights = weights + np.linalg.solve(hessian, gradient)
    return weights


def fit_flow(args):
    """Prints the three models of `Odds`."""
    backbone, rows = load(args.model), []
    carrying.KEPT = 1
    setattr(tracker, "advance", record)  # noqa: B010
    for number in args.worlds:
        pictures, queries, tracks, visible = make_world(number, args.stride)
        follower = PointTracker(backbone, PointSettings(preset="flow", tokens=args.tokens))
        EVIDENCE.clear()
        follower.observe(Video(pictures))
        follower.follow(queries)
        (height, width), (down, across) = pictures.shape[1:3], follower.resolved.grid
        cells = tracks * [across / width, down / height] - 0.5
        for time, judged in enumerate(EVIDENCE, start=1):
            values = judged.double().numpy()
            far = np.linalg.norm(values[..., :2] - cells[:, time, None], axis=-1)
            seen = np.broadcast_to(visible[:, time, None], far.shape)
            matched = np.broadcast_to(np.arange(far.shape[1]) > 0, far.shape)
            rows.append(np.dstack([values[..., 2:], far, seen, matched]).reshape(-1, 7))
    mass, gap, drift, inside, far, seen, matched = np.concatenate(rows).T
    signals = np.log(np.maximum(mass, 1e-6)), np.log1p(gap), np.log(drift + carrying.FINE)
    inputs, here = np.column_stack([np.ones(len(mass)), *signals]), ((seen > 0) & (far < 1)).astype(float)
    for name, chosen, wanted in (("carried", 0, here), ("matched", 1, here), ("seen", 0, seen)):
        which = (matched == chosen) & (inside > 0)
        weights = fit(inputs[which], wanted[which])
        print(f"{name}: {np.round(weights, 2).tolist()}, {wanted[which].mean():.1%} of {which.sum()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--worlds", type=numbers, default=[0, 3, 5, 8, 11])
    parser.add_argument("--stride", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--base", default="")
    parser.add_argument("--flow", action="store_true")
    args = parser.parse_args()
    if args.flow:
        fit_flow(args)
        return
    backbone, truth = load(args.model), []
    for number in args.worlds:
        pictures, queries, _, visible = make_world(number, args.stride)
        options = {"preset": "points", "tokens": args.tokens, **read_options(args.base)}
        follower = PointTracker(backbone, PointSettings(**options))
        follower.visibility = Recorder()
        follower.observe(Video(pictures))
        follower.follow(queries)
        truth.append(visible[:, 1:].T.reshape(-1))
    mass, gap = torch.cat(EVIDENCE).T.double().numpy()
    seen = np.concatenate(truth).astype(float)
    inputs = np.column_stack([np.ones(len(seen)), np.log(np.maximum(mass, 1e-6)), np.log1p(gap)])
    weights = fit(inputs, seen)
    right = ((inputs @ weights > 0) == seen).mean()
    print(f"bias={weights[0]:.2f} mass={weights[1]:.2f} gap={weights[2]:.2f}: right in {right:.1%} of {len(seen)}, "
          f"of which {seen.mean():.1%} are seen")  # fmt: skip


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
