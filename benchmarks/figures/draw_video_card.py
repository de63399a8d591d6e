"""Draws the pictures of the model card of `tiny-video` (generated clips, what a block compares, losses), or its table.

    python benchmarks/figures/draw_video_card.py --log work/transformer.jsonl --block 3 --out docs/images
    python benchmarks/figures/draw_video_card.py --table 1,150,400

Everything shown is procedural or generated, so the pictures may be shared.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from PIL import Image
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from undertow.drawing import contact_sheet
from undertow.training.video_architecture import rotary
from undertow.training.video_clips import encode_frames
from undertow.training.video_validation import (
    Compared,
    VideoValidation,
    compared,
    control_scores,
    delta_average,
    match,
    validate_video,
    validation_clips,
)

STEPS, FRAMES, GUIDANCE = 25, 5, 3.0


class Model:
    """The parts of the model in float32, and how they are used together."""

    def __init__(self, folder):
        self.transformer = CogVideoXTransformer3DModel.from_pretrained(
            folder / "transformer", torch_dtype=torch.float32, low_cpu_mem_usage=False
        ).eval()
        self.vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, low_cpu_mem_usage=False)
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scheduler = CogVideoXDDIMScheduler.from_pretrained(folder / "scheduler")

    def embed(self, *captions):
        """Returns text states."""
        ids = self.tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
        return self.text_encoder(ids).last_hidden_state

    def encode(self, frames):
        """Returns scaled latents of each frame."""
        return torch.from_numpy(encode_frames(self.vae, frames)).float() * self.vae.config.scaling_factor

    def decode(self, latents):
        """Returns pictures of scaled latents."""
        pictures = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()

    def generate(self, caption, seed, first=None, side=32):
        """Returns a clip from noise by DDIM with classifier-free guidance; `first` is a latent to go on from."""
        self.scheduler.set_timesteps(STEPS)
        text = self.embed("", caption)
        times, cells = (torch.arange(count, dtype=torch.float32) for count in (FRAMES, side // 2))
        waves = rotary(times, cells, cells, self.transformer.config.attention_head_dim)
        latents = torch.randn(1, FRAMES, 4, side, side, generator=torch.Generator().manual_seed(seed))
        for step in self.scheduler.timesteps:
            if first is not None:
                latents[:, 0] = first
            with torch.autocast("cpu", torch.bfloat16):
                both = self.transformer(latents.repeat(2, 1, 1, 1, 1), text, step.repeat(2), image_rotary_emb=waves)
            free, told = both.sample.float().chunk(2)
            latents = self.scheduler.step(free + GUIDANCE * (told - free), step, latents).prev_sample
        if first is not None:
            latents[:, 0] = first
        return self.decode(latents[0])


def principal_colours(tokens):
    """Returns (t, h, w, 3) in 0..255: the three leading principal components of all frames together, stretched."""
    flat = tokens.flatten(0, 2).double()
    flat = flat - flat.mean(0)
    _, _, axes = torch.linalg.svd(flat, full_matrices=False)
    colours = flat @ axes[:3].T
    low, high = colours.quantile(0.02, dim=0), colours.quantile(0.98, dim=0)
    return ((colours - low) / (high - low)).clamp(0, 1).mul(255).byte().view(*tokens.shape[:3], 3).numpy()


def clips_sheet(model):
    """Returns generated clips, one per row: from captions alone, and going on from the first frame of a world."""
    asked = ["", "a large striped red disc is in the middle.", "a small natural grey blob moves to the right."]
    frames, titles = [], []
    for number, caption in enumerate(asked):
        frames += list(model.generate(caption, seed=number))
        titles += [caption or "(no caption)", *("" for _ in range(FRAMES - 1))]
    settings = VideoValidation(families=("plain", "camera"), frames=FRAMES, size=(128, 128), points=1)
    for clip in validation_clips(settings):
        latents = model.encode(clip.frames)
        frames += [*clip.frames, *model.generate("", seed=7, first=latents[0])]
        titles += [f"world, family {clip.name}", *("" for _ in range(FRAMES - 1))]
        titles += ["first frame given, the others generated", *("" for _ in range(FRAMES - 1))]
    return contact_sheet(frames, FRAMES, titles, width=200)


def compared_sheet(model, block):
    """Returns frames of a held-out world and what a block compares of them, in three colours."""
    validation = VideoValidation(families=("plain",), frames=5, points=1)
    clip = validation_clips(replace(validation, spacing=5.0))[0]
    seen = compared(model.transformer, model.encode(clip.frames), model.embed(""), validation.timestep, rotated=False)
    colours = principal_colours(seen[block].queries)
    shown = [np.asarray(Image.fromarray(each).resize((192, 192), Image.Resampling.NEAREST)) for each in colours]
    titles = [f"frame {5 * number}" for number in range(5)] + [f"block {block}", "", "", "", ""]
    return contact_sheet([*clip.frames, *shown], 5, titles, width=200)


def patch_score(model, clips, side, stride):
    """Returns delta_avg of matching raw patches of side x side latents, `stride` latents apart, by their cosine."""
    scores = []
    for clip in clips:
        latents = model.encode(clip.frames)
        columns = functional.unfold(latents, side, padding=(side - stride + 1) // 2, stride=stride)
        cells = [size // stride for size in latents.shape[2:]]
        features = functional.normalize(columns, dim=1).unflatten(2, cells).permute(0, 2, 3, 1)
        found = match(Compared(features, features), clip.tracks[:, 0], clip.frames.shape[1:3], 20.0)
        scores.append(delta_average(found, clip))
    return float(np.mean(scores))


def layer_table(model, timesteps):
    """Prints delta_avg of every block at some timesteps, with and without the rotation, on small held-out worlds."""
    validation = VideoValidation(frames=6, size=(160, 160))
    clips = validation_clips(validation)
    print(f"still {100 * control_scores(model.vae, clips)['still']:.1f}")
    for side, stride in ((2, 2), (4, 2), (6, 2), (3, 1), (5, 1)):
        print(
            f"patches of {side} x {side} latents, {stride} apart: {100 * patch_score(model, clips, side, stride):.1f}"
        )
    for timestep in timesteps:
        told = replace(validation, timestep=timestep)
        for rotated in (True, False):
            scores = validate_video(model.transformer, model.vae, model.embed(""), clips, told, rotated=rotated)
            words = "rotated" if rotated else "unrotated"
            print(f"| {timestep} | {words} | {' | '.join(f'{100 * score:.1f}' for score in scores)} |", flush=True)


def loss_curve(rows, path):
    """Draws the loss of every tenth step and its running mean."""
    from matplotlib import pyplot

    lines = {row["step"]: row["loss"] for row in rows}
    steps, losses = np.array(sorted(lines)), np.array([lines[step] for step in sorted(lines)])
    smooth = np.convolve(np.pad(losses, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    figure, axes = pyplot.subplots(figsize=(6, 3))
    axes.plot(steps, losses, color="0.8", linewidth=0.8)
    axes.plot(steps, smooth, color="tab:blue")
    axes.set(xlabel="step", ylabel="weighted v-prediction loss", ylim=(0.1, 0.7))
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("src/undertow/backbones/embedded/tiny-video"))
    parser.add_argument("--log", type=Path)
    parser.add_argument("--block", type=int, default=3)
    parser.add_argument("--table", help="timesteps, separated by commas; nothing is drawn")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    asked = parser.parse_args()
    if asked.table:
        layer_table(Model(asked.model), [int(timestep) for timestep in asked.table.split(",")])
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.log:
        loss_curve([json.loads(line) for line in asked.log.read_text().splitlines()], asked.out / "tiny-video-loss.png")
    model = Model(asked.model)
    Image.fromarray(compared_sheet(model, asked.block)).save(asked.out / "tiny-video-pca.png", optimize=True)
    Image.fromarray(clips_sheet(model)).save(asked.out / "tiny-video-samples.png", optimize=True)


if __name__ == "__main__":
    main()
