"""What temporal guidance does to clips: warp error and our tracker's cycle error at several scales, over many seeds.

    python benchmarks/quality/guidance_effect.py --model tiny-video --out effect.csv

Every seed is one caption of a validation world and one noise, sampled at every scale. Warp error is how much
consecutive frames differ along optical flow; cycle error is how far a grid of points ends from where it began when it
is tracked to the last frame and from there back, in pixels. Less is steadier, but a still clip has least: the mean
length of the flow says how much moves at all. Differences to scale 0 are paired by seed, with 95 % intervals by
resampling seeds. Rows are appended as they are found; a row that is there is not made again.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from undertow.analysis.clips import point_grid, world_prompts
from undertow.analysis.flow import flows, warp_error
from undertow.analysis.scores import candidate_sites
from undertow.backbones import Backbone, load
from undertow.backbones.sampling.guidance import SamplingSettings, sample
from undertow.base import set_threads
from undertow.metrics.statistics import paired_bootstrap
from undertow.points import PointSettings, track_points
from undertow.video import write_video

MEASURES = ("warp error", "cycle error", "motion")


def cycle_error(images: np.ndarray, tracker: Backbone, side: int = 8) -> float:
    """Returns the mean distance in pixels between points and where tracking them to the last frame and back ends."""
    start = point_grid(side, *images.shape[1:3])
    # Small clips are shown enlarged, but not as large as real ones.
    settings = PointSettings(preset="points", tokens=576)
    there = track_points(images, start, model=tracker, settings=settings).tracks[:, -1]
    there = np.clip(there, 0.01, np.array(images.shape[2:0:-1]) - 0.01)
    last = np.column_stack([np.full(len(there), len(images) - 1), there])
    back = track_points(images, last, model=tracker, settings=settings).tracks[:, 0]
    return float(np.linalg.norm(back - start, axis=1).mean())


def motion(images: np.ndarray) -> float:
    """Returns the mean length of the flow from frame to frame, in pixels."""
    return float(np.mean([np.linalg.norm(flow, axis=2).mean() for flow in flows(images)[0]]))


def summary(rows: Sequence[dict[str, str]], scales: Sequence[float]) -> str:
    """Returns a markdown table of means and of paired differences to scale 0."""
    values = {name: {(float(row["scale"]), int(row["seed"])): float(row[name]) for row in rows} for name in MEASURES}
    seeds = sorted({seed for _, seed in values["motion"]})
    lines = ["| measure | scale | mean | difference to scale 0 | 95 % interval |", "|---|---|---|---|---|"]
    for name, found in values.items():
        for scale in scales:
            own = [found[scale, seed] for seed in seeds if (scale, seed) in found and (0.0, seed) in found]
            base = [found[0.0, seed] for seed in seeds if (scale, seed) in found and (0.0, seed) in found]
            if not own:
                continue
            mean, low, high = paired_bootstrap(np.subtract(own, base))
            lines.append(f"| {name} | {scale:g} | {np.mean(own):.3f} | {mean:+.3f} | {low:+.3f} to {high:+.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-video", help="a video model: name, folder or card file")
    parser.add_argument("--tracker", default="tiny", help="whose tracks measure the cycle error")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--scales", default="0,0.4,1")
    parser.add_argument("--sites", default="", help="numbers of the layers to perturb; the card's by default")
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--size", default="96x96", help="WIDTHxHEIGHT")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--text-scale", type=float, default=3.0)
    parser.add_argument("--clips", type=Path, default=None, help="folder to write the clips into")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="CSV that rows are appended to")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    width, height = map(int, arguments.size.split("x"))
    scales = sorted({0.0, *map(float, arguments.scales.split(","))})
    rows: list[dict[str, str]] = []
    if arguments.out.exists():
        with arguments.out.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    done = {(float(row["scale"]), int(row["seed"])) for row in rows}
    backbone, tracker = load(arguments.model), load(arguments.tracker)
    known = candidate_sites(backbone)
    sites = tuple(known[int(number)].path for number in arguments.sites.split(",") if number)
    fields = ["seed", "scale", *MEASURES, "seconds", "prompt"]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, fields)
        if not rows:
            writer.writeheader()
        for seed, prompt in enumerate(world_prompts(arguments.seeds)):
            for scale in scales:
                if (scale, seed) in done:
                    continue
                began = time.perf_counter()
                settings = SamplingSettings(
                    steps=arguments.steps, text_scale=arguments.text_scale, guidance="temporal", scale=scale,
                    sites=sites, seed=seed,
                )  # fmt: skip
                made = sample(backbone, prompt, frames=arguments.frames, size=(height, width), settings=settings)
                seconds = time.perf_counter() - began
                images = backbone.decode_clip(made.latents)
                if arguments.clips is not None:
                    write_video(arguments.clips / f"{seed:03d}-{scale:g}.mp4", list(images), fps=8)
                found = (warp_error(list(images)), cycle_error(images, tracker), motion(images))
                row = {"seed": seed, "scale": scale, "seconds": f"{seconds:.1f}", "prompt": prompt}
                row |= {name: f"{value:.5g}" for name, value in zip(MEASURES, found, strict=True)}
                writer.writerow(row)
                handle.flush()
                rows.append({name: str(value) for name, value in row.items()})
    print(summary(rows, scales))


if __name__ == "__main__":
    main()
