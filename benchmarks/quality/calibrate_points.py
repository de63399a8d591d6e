"""Fits `VisibilityModel` (when a followed point counts as seen) to validation worlds, and prints its three numbers.

    python benchmarks/quality/calibrate_points.py --worlds 0,3,5,8,11 --stride 6 [--model tiny] [--base recent=0.3]

A logistic regression of "the point can be seen" on the logarithm of the forward mass and on log(1 + gap), by Newton's
method; no benchmark world or real video is looked at.
"""

import argparse

import numpy as np
import torch
from sweep_points import make_world, numbers, read_options

from undertow.backbones import load
from undertow.points import PointSettings, PointTracker, VisibilityModel
from undertow.video import Video


class Recorder(VisibilityModel):
    """Keeps the evidence it is asked about."""

    def confidence(self, evidence):
        """Returns what the usual model says."""
        EVIDENCE.append(torch.stack([evidence.mass[:, 0], evidence.gap[:, 0]], -1))
        return super().confidence(evidence)


EVIDENCE: list[torch.Tensor] = []


def fit(inputs, seen, steps=30):
    """Returns the weights of a logistic regression (the first one is the bias)."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (seen - chance) - 1e-3 * weights
        hessian = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + 1e-3 * np.eye(len(weights))
        weights = weights + np.linalg.solve(hessian, gradient)
    return weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--worlds", type=numbers, default=[0, 3, 5, 8, 11])
    parser.add_argument("--stride", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--base", default="")
    args = parser.parse_args()
    backbone, truth = load(args.model), []
    for number in args.worlds:
        pictures, queries, _, visible = make_world(number, args.stride)
        tracker = PointTracker(backbone, PointSettings(**{"tokens": args.tokens, **read_options(args.base)}))
        tracker.visibility = Recorder()
        tracker.observe(Video(pictures))
        tracker.follow(queries)
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
