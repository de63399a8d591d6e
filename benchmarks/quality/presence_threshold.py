"""From which presence on is an object better lost? Clips in which objects leave, against worlds in which none does.

    python benchmarks/quality/presence_threshold.py --thresholds 0,0.02,0.03,0.05,0.1,0.2,0.4

For every threshold (0 keeps all objects): mean IoU of held-out clips of `calibrate_presence.py`, where a frame on which
the object is not visible counts 1 if its mask is empty and 0 if not, and the validation score of training.
"""

import argparse

import numpy as np
from calibrate_presence import world_clip

import undertow.tracking.tracker as tracker
from undertow.backbones import load
from undertow.base import set_threads
from undertow.tracking import MaskTracker, PresenceModel, TrackSettings
from undertow.training.validation import validate


def overlap(mask, truth):
    union = (mask | truth).sum()
    return 1.0 if union == 0 else (mask & truth).sum() / union


def mean_iou(backbone, clip, settings):
    """Returns the mean IoU of all objects on all frames but the first."""
    _, frames, truth, ids = clip[:4]
    tracked, found = MaskTracker(backbone, settings), []
    for step, frame in enumerate(frames):
        mask = np.where(np.isin(truth[0], ids), truth[0], 0).astype(np.uint16) if step == 0 else None
        labels = tracked.step(getattr(frame, "image", frame), mask).labels
        if step:
            found.extend(overlap(labels == i, truth[step] == i) for i in ids)
    return float(np.mean(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thresholds", default="0,0.02,0.03,0.05,0.1,0.2,0.4")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    set_threads(asked.threads)
    backbone = load("tiny")
    clips = [world_clip(1000 + number) for number in range(asked.clips)]
    print("| lost below | " + " | ".join(clip[0] for clip in clips) + " | mean | validation |")
    print("|---:|" + "---:|" * (asked.clips + 2))
    for threshold in map(float, asked.thresholds.split(",")):
        tracker.PresenceModel = lambda below=threshold: PresenceModel(lost_below=below)  # type: ignore[attr-defined]
        settings = TrackSettings(tokens=asked.tokens, lost="empty" if threshold else "keep")
        figures = [mean_iou(backbone, clip, settings) for clip in clips]
        score = 100 * validate(backbone, settings)
        print(
            f"| {threshold:g} | " + " | ".join(f"{f:.3f}" for f in (*figures, np.mean(figures))) + f" | {score:.1f} |"
        )


if __name__ == "__main__":
    main()
