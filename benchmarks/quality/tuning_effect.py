"""J&F with and without test-time tuning, on the same sites and temperature, at protocol `lab` or a shorter one.

    python benchmarks/quality/tuning_effect.py --root DATA --sequences camel,dog --variants decoder,fast --out e.csv

`tiny`'s own tracking site lies before every cross-attention, so that no text reaches it: tensors are tuned for the
first attention of the decoder (variants on `decoder`), head weights for three attentions side by side (variants on
`three`). Lost objects are kept throughout. Rows are appended as they are found; a row that is there is not made again.
"""

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

from sweep_sites import TUNING, read_clips, world_clips

from undertow.backbones import Site, load
from undertow.base import set_threads
from undertow.benchmarks.core.sample import get_protocol
from undertow.metrics import DatasetSummary, SequenceEvaluator
from undertow.tracking import MaskTracker, TrackSettings, resolve
from undertow.tracking.kernels import ObjectKernel, TunedKernels
from undertow.tracking.tuning import TUNING as PRESETS
from undertow.tracking.tuning import Objective, learn, starting_conditioning
from undertow.tracking.tuning.per_object import tune
from undertow.video import Video

FAST = PRESETS["fast"]
# Variant: (where, how to tune, None for not at all).
VARIANTS = {
    "encoder": ("encoder", None),
    "decoder": ("decoder", None),
    "three": ("three", None),
    "fast": ("decoder", replace(FAST, learned="tensor")),
    "fast-others": ("decoder", replace(FAST, learned="tensor", exclude_self=True)),
    "heads": ("three", replace(FAST, learned="heads")),
    "heads-others": ("three", replace(FAST, learned="heads", exclude_self=True)),
    "both-others": ("three", replace(FAST, exclude_self=True)),
    "paper": ("decoder", PRESETS["paper"]),
    "prompt": ("decoder", PRESETS["prompt"]),
    "prompt-others": ("decoder", replace(PRESETS["prompt"], exclude_self=True)),
    "amortised": ("decoder", PRESETS["amortised"]),
}
COLUMNS = ("variant", "sequence", "frames", "J&F", "loss before", "loss", "held out before", "held out", "best step",
           "steps", "tuning s")  # fmt: skip


def site(path):
    return Site(f"{path}.transformer_blocks.0.attn1", "self", 1, 128, 8)


PLACES = {
    "encoder": ((site("down_blocks.1.attentions.0"),), 0.1),
    "decoder": ((site("up_blocks.1.attentions.0"),), 0.05),
    "three": (
        tuple(site(f"{part}_blocks.1.attentions.{n}") for part, n in (("down", 0), ("up", 0), ("up", 1))),
        0.07,
    ),
}  # fmt: skip


def placed(card, where):
    """Returns the card with its tracking sites and temperature replaced."""
    sites, temperature = PLACES[where]
    return replace(card, sites={"track": sites}, temperatures={**card.temperatures, "drift": temperature})


def tuned_kernels(backbone, clip, settings, tuning, variant):
    """Returns kernels of all objects of the first frame, and what was learned."""
    sequence, frames, masks = clip
    if variant == "amortised":
        video = Video(frames[0].image[None])
        return tune(video, {0: masks[0]}, backbone, settings, tuning,
                    start=starting_conditioning(backbone, amortised=True)), None  # fmt: skip
    resolved = resolve(settings, backbone, *masks[0].shape, tuned=True)
    objective = Objective(backbone, frames[0].image, 0, masks[0], list(sequence.ids), resolved, tuning)
    start = backbone.condition()
    learned = learn(objective, start)
    kernels = {}
    for place, object_id in enumerate(sequence.ids):
        states = None if learned.states is None else learned.states[place]
        own = start if states is None else replace(start, tensor=states, provenance="learned", text=None)
        kernels[object_id] = ObjectKernel(own, learned.head_weights[place])
    return TunedKernels(kernels), learned


def measure(backbone, clip, settings, tuned):
    """Returns J&F of one clip."""
    sequence, frames, masks = clip
    tracker, evaluator = MaskTracker(backbone, settings, tuned), SequenceEvaluator(sequence.ids)
    for frame, mask in zip(frames, masks, strict=True):
        features = tracker.observe([frame])[0]
        evaluator.update(tracker.advance(frame, features, mask if frame.index == 0 else None).labels, mask)
    return 100 * DatasetSummary.of([evaluator.result()]).combined


def figures(learned):
    if learned is None:
        return ("",) * 7
    held = learned.held_out or ()
    means = [f"{float(each.mean()):.5f}" for each in (*learned.loss, *held)]
    means += [""] * (4 - len(means))
    return (*means, max(learned.best), learned.steps, f"{learned.seconds:.0f}")


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--sequences", default=TUNING)
    parser.add_argument("--worlds", type=int, default=0, help="validation worlds beside the sequences")
    parser.add_argument("--variants", default="decoder,fast,fast-others,three,heads,heads-others")
    parser.add_argument("--steps", type=int, help="at most so many steps, instead of the preset's")
    parser.add_argument("--rate", type=float, help="another learning rate of tensors")
    parser.add_argument("--frames", type=int, default=30, help="frames per sequence, every third")
    parser.add_argument("--tokens", type=int, help="tokens of the grid; the protocol's, about 1600, if not given")
    parser.add_argument("--dtype")
    parser.add_argument("--out", type=Path, default=Path("tuning.csv"))
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main():
    asked = options()
    set_threads(asked.threads)
    backbone = load("tiny", dtype=asked.dtype)
    card, protocol = backbone.card, replace(get_protocol("lab"), most_frames=asked.frames)
    settings = TrackSettings(preset="drift", tokens=asked.tokens or protocol.tokens, lost="keep")
    clips = read_clips(asked.root, asked.sequences.split(","), protocol) if asked.sequences else []
    clips += world_clips(asked.worlds)
    done = set()
    if asked.out.exists():
        done = {tuple(row[:3]) for row in csv.reader(asked.out.open())}
    with asked.out.open("a", newline="") as handle:
        rows = csv.writer(handle)
        if not done:
            rows.writerow(COLUMNS)
        for clip in clips:
            for variant in asked.variants.split(","):
                where, tuning = VARIANTS[variant]
                name = "/".join([variant, *(f"{k}={v}" for k, v in (("steps", asked.steps), ("rate", asked.rate))
                                            if tuning and v)])  # fmt: skip
                if (name, clip[0].name, str(len(clip[1]))) in done:
                    continue
                backbone.card, tuned, learned, begun = placed(card, where), None, None, time.process_time()
                if tuning is not None:
                    limits = {"steps": asked.steps, "rate": asked.rate}
                    tuning = replace(tuning, **{k: v for k, v in limits.items() if v and tuning.steps})
                    tuned, learned = tuned_kernels(backbone, clip, settings, tuning, variant)
                row = [name, clip[0].name, len(clip[1]), f"{measure(backbone, clip, settings, tuned):.2f}",
                       *figures(learned)]  # fmt: skip
                rows.writerow(row)
                handle.flush()
                print(*row, f"{time.process_time() - begun:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
