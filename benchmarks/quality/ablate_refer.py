"""The ablation of REM in small: what is compared with what, at which noise, which weights are trained, and on what.

    python benchmarks/quality/ablate_refer.py --photos PHOTOS --work work --pictures-model pictures-out

Every variant starts from `tiny-words` and takes the same steps on the same calm pictures, or, in the second stage, from
a model that was fine-tuned on pictures alone, on clips that it is shown as sheets. Each runs in a process of its own
and leaves `WORK/NAME.npz`, so that the command resumes. Held-out scenes are the same for all. Scores of a small model
stay below half, differently for each variant, so the threshold is chosen on every second scene and used on the others.

Pixels are compared through the frozen decoder, and a fresh decoder reads what the last block leaves; both against the
masks that their latents decode to. Noise of a timestep is added in training and when asked, with other seeds.
"""

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from undertow.backbones import Noising, load
from undertow.grounding.generator import MaskGenerator
from undertow.metrics import region_similarity
from undertow.metrics.statistics import paired_bootstrap
from undertow.training.learner import Learner
from undertow.training.rem.data import Latents, Texts
from undertow.training.rem.datasets import read_sources
from undertow.training.rem.settings import RemSettings
from undertow.training.rem.steps import Batch, Examples, Order, train_steps
from undertow.training.rem.weights import Answering, choose_weights, halve_frozen, repeat_positions

THRESHOLDS = np.arange(0.1, 0.71, 0.05)
SIZE = (72, 128)
# Rows of tokens of a picture.
ROWS = SIZE[0] // 8


@dataclass(frozen=True)
class Variant:
    """What is different from the recipe."""

    answer: str = "latents"
    timestep: int = 0
    clips: bool = False
    # Share of the steps that is taken.
    part: float = 1.0
    options: dict = field(default_factory=dict)


VARIANTS = {
    "recipe": Variant(),
    "pixels": Variant("pixels"),
    "fresh-decoder": Variant("fresh"),
    "t-200": Variant(timestep=200),
    "before-clips": Variant(clips=True, part=0),
    "clips-alone": Variant(clips=True, part=0.5, options={"images": 0.0}),
    "clips-and-images": Variant(clips=True, part=0.5, options={"images": 0.5}),
    "attention": Variant(options={"train": "attention"}),
    "lora-16": Variant(options={"train": "lora", "rank": 16, "rate": 5e-3}),
    "t-50": Variant(timestep=50),
    "lora-64": Variant(options={"train": "lora", "rank": 64, "rate": 5e-3}),
    "lora-4": Variant(options={"train": "lora", "rank": 4, "rate": 5e-3}),
    "lora-16-slow": Variant(options={"train": "lora", "rank": 16}),
}


class FreshDecoder(nn.Module):
    """Two convolutions from the states of the last block to pixels, in place of the model's own way out."""

    def __init__(self, denoiser):
        super().__init__()
        width, cell = denoiser.proj_out.in_features, SIZE[0] // ROWS
        self.layers = nn.Sequential(
            nn.Conv2d(width, 128, 3, padding=1), nn.SiLU(), nn.Conv2d(128, cell**2, 3, padding=1), nn.PixelShuffle(cell)
        )
        self.states = None
        denoiser.norm_out.register_forward_hook(lambda _, inputs, output: setattr(self, "states", output))
        denoiser.proj_out.requires_grad_(False)

    def forward(self):
        """Returns one number a pixel of what the denoiser has just seen."""
        return self.layers(self.states.unflatten(1, (ROWS, -1)).movedim(-1, 1))


class Answer(nn.Module):
    """From latents of pictures and states of texts to what is compared, and to scores."""

    def __init__(self, variant, backbone, about, settings):
        super().__init__()
        self.kind, self.about = variant.answer, about
        self.inner = Answering(backbone, about, bfloat16=settings.bfloat16)
        self.decode = backbone.autoencoder.decode_clip
        backbone.autoencoder.module.requires_grad_(False)
        self.head = FreshDecoder(backbone.denoiser) if self.kind == "fresh" else None

    def pixels(self, latents):
        """Returns one number a pixel of latents (b, f, c, h, w), as (b, f, h, w)."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.decode(latents.flatten(0, 1)).float().mean(1).unflatten(0, latents.shape[:2])

    def forward(self, video, states):
        """Returns what is compared with the target."""
        latents = self.inner(video, states)
        if self.head is not None:
            with torch.autocast("cpu", torch.bfloat16):
                return self.head().float()
        return self.pixels(latents) if self.kind == "pixels" else latents

    @torch.no_grad()
    def scores(self, video, states):
        """Returns how far pixels are from outside (0) to inside (1), for texts (n) about one clip: (n, f, h, w)."""
        answered = self(video[None].expand(len(states), *[-1] * video.ndim), states)
        answered = self.pixels(answered) if self.kind == "latents" else answered
        return self.about.scores_of(answered.reshape(-1, 1, *SIZE)).reshape(len(states), -1, *SIZE).numpy()


@dataclass(frozen=True)
class Shown(Examples):
    """Examples as a variant sees them."""

    variant: Variant
    answer: Answer

    def batch(self, step, rank=0, processes=1):
        """Returns the examples of a step, see `Examples.batch`."""
        found = super().batch(step, rank, processes)
        with torch.no_grad():
            target = found.target if self.variant.answer == "latents" else self.answer.pixels(found.target).sign()
        return Batch(noised(self.backbone, self.variant, found.video, step), target, found.states)


def noised(backbone, variant, video, seed):
    """Returns latents (b, f, c, h, w) with the noise of the variant's timestep."""
    if not variant.timestep:
        return video
    noising = Noising("noise", variant.timestep, (variant.timestep,), seed=seed)
    flat = video.flatten(0, 1)
    return backbone.noise(flat, noising, range(len(flat))).reshape(video.shape)


def run(variant, model, asked):
    """Trains a variant and returns what is kept of it."""
    torch.manual_seed(0)
    options = {"images": 1.0, "image_batch": 16, "batch": 3, "frames": 5, "spacing": 10, "rate": 1.5e-3, "warmup": 20}
    common = {"size": SIZE[::-1], "mask_range": "-1..1", "pad_tokens": 20, "decay": 0.01, "sheet": variant.clips}
    steps = round(asked.steps * variant.part)
    settings = RemSettings(**common, **(options | {"steps": max(1, steps), "average": 50} | variant.options))
    backbone = load(model, device="cpu", dtype="float32")
    about = replace(settings.about("tiny-words"), timestep=variant.timestep)
    choose_weights(backbone.denoiser, settings)
    backbone.fine_tuning = about
    if settings.sheet:
        repeat_positions(backbone.denoiser, SIZE, settings.frames, backbone.multiple)
    halve_frozen(backbone.denoiser)
    read = MaskGenerator(backbone, SIZE).read
    answer = Answer(variant, backbone, about, settings)
    names = ("calm", "calm-clips") if variant.clips else ("calm",)
    sources = read_sources([f"{name}:4000:{asked.photos}" for name in names], settings)
    latents, texts = Latents(asked.work / "latents", backbone, about, bfloat16=True), Texts(asked.work / "texts", read)
    examples = Shown(Order(settings, sources), sources, latents, texts, backbone, about, variant, answer)
    modules = {"denoiser": backbone.denoiser} | ({"head": answer.head} if answer.head else {})
    learner = Learner(modules, rate=settings.rate, horizon=settings.average, decay=settings.decay, betas=(0.9, 0.999))
    before, begun, losses = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), []
    with sdpa_kernel(SDPBackend.MATH):
        for facts in islice(train_steps(answer, learner, examples, settings), steps):
            losses.append(next(value for name, value in facts.items() if "loss" in name))
            if len(losses) % 50 == 0:
                print(len(losses), f"{np.mean(losses[-50:]):.4f} {time.process_time() - begun:.0f} s", flush=True)
    seconds = (time.process_time() - begun) / max(1, len(losses))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    trained = sum(each.numel() for each in learner.parameters.values())
    found = {"seconds": seconds, "peak": peak / 1e3, "trained": trained, "losses": losses}
    with learner.averaged() if losses else torch.no_grad():
        for name in names:
            [source] = read_sources([f"{name}:{asked.validate}:{asked.photos}"], settings, training=False)
            found[name] = validate(source, variant, answer, backbone, latents, read)
    return found


def validate(source, variant, answer, backbone, latents, read):
    """Returns rows: scene, whether a still answers it, whether what it names scores above the rest, J by threshold.

    The rest is what the other expressions of the scene name; NaN if that is nothing, or nothing is named.
    """
    rows = []
    for number in range(len(source)):
        item = source.item(number, 0)
        pixels = torch.tensor(item.images).movedim(-1, 1).float() / 127.5 - 1
        with torch.no_grad():
            video = noised(backbone, variant, backbone.autoencoder.encode_clip(pixels)[None], 10**6 + number)[0]
        scores = answer.scores(video, torch.stack([read(text) for text in item.texts]))
        for score, truth, still in zip(scores, item.masks, item.still, strict=True):
            overlaps = [np.mean([*map(region_similarity, score > level, truth)]) for level in THRESHOLDS]
            rest = item.masks.any(0) & ~truth
            above = float(score[truth].mean() > score[rest].mean()) if truth.any() and rest.any() else np.nan
            rows.append((number, still, above, *overlaps))
    return np.array(rows, float)


def judged(rows):
    """Returns J of every expression, at the threshold that is best on the other half of the scenes."""
    half, values = rows[:, 0] % 2 == 1, rows[:, 3:]
    best = [int(values[half == side].mean(0).argmax()) for side in (False, True)]
    return np.where(half, values[:, best[0]], values[:, best[1]])


def interval(rows, values):
    """Returns the mean over expressions with the ends of its interval over scenes, in percent."""
    known = ~np.isnan(values)
    scenes = [values[known & (rows[:, 0] == scene)].mean() for scene in np.unique(rows[known, 0])]
    mean, low, high = paired_bootstrap(np.array(scenes))
    return f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def table(work):
    """Prints what is known of each variant, and how it differs from the one that it varies."""
    print("| | J pictures | less the base's | named above | J clips | J motion | M trained | peak MB | s a step |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, variant in VARIANTS.items():
        if not (work / f"{name}.npz").exists():
            continue
        found = np.load(work / f"{name}.npz")
        base = work / f"{'clips-and-images' if variant.clips else 'recipe'}.npz"
        rows = found["calm"]
        cells = [interval(rows, judged(rows)), ""]
        if base.exists() and base.stem != name:
            cells[1] = interval(rows, judged(rows) - judged(np.load(base)["calm"]))
        cells.append(interval(rows, rows[:, 2]))
        if variant.clips:
            clips = found["calm-clips"]
            own, moving = judged(clips), clips[:, 1] == 0
            cells += [interval(clips, own), interval(clips[moving], own[moving])]
        else:
            cells += ["", ""]
        cells += [f"{found['trained'] / 1e6:.2f}", f"{float(found['peak']):.0f}", f"{float(found['seconds']):.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="what half of the scenes are in front of")
    parser.add_argument("--work", type=Path, required=True, help="latents, texts and results")
    parser.add_argument("--pictures-model", help="fine-tuned on pictures alone; starts the second stage")
    parser.add_argument("--steps", type=int, default=200, help="of the first stage; half as many of the second")
    parser.add_argument("--validate", type=int, default=40, help="held-out scenes of each kind")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.one:
        variant = VARIANTS[asked.one]
        found = run(variant, asked.pictures_model if variant.clips else "tiny-words", asked)
        np.savez(asked.work / f"{asked.one}.npz", **found)
        return
    asked.work.mkdir(parents=True, exist_ok=True)
    for name in asked.variants.split(","):
        missing = not (asked.work / f"{name}.npz").exists()
        if missing and (asked.pictures_model or not VARIANTS[name].clips):
            print(name, flush=True)
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", name], check=True)
    table(asked.work)


if __name__ == "__main__":
    main()
