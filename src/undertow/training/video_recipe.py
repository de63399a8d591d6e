"""The whole recipe of `tiny-video`, from the parts of `tiny` to weights, in slices that end in a resumable checkpoint.

    clips (and clips of photographs), drawn and encoded -> transformer and text encoder -> export

As with `tiny`, every draw depends on the seed and the step alone, so it does not matter how the work was cut.
"""

import json
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from undertow.base import Progress, SilentProgress, resolve_device, write_text
from undertow.training.denoiser import Stage, VideoDenoiserSettings, train_video_denoiser
from undertow.training.latents import ClipStore
from undertow.training.learner import Learner, keep_recipe, past, run_steps, watch
from undertow.training.video_architecture import (
    VideoShape,
    build_transformer,
    build_video_scheduler,
    export_video,
    load_tiny_parts,
    read_video,
)
from undertow.training.video_clips import ClipSettings, PhotoClipSettings, make_clip_shards, make_photo_clip_shards
from undertow.training.video_validation import (
    VideoValidation,
    control_scores,
    photograph_clips,
    validate_video,
    validation_clips,
)
from undertow.world.photographs import credits, list_photographs


@dataclass(frozen=True)
class TinyVideoRecipe:
    """Everything that decides the weights of `tiny-video`, besides the photographs, and what it is scored on."""

    clips: ClipSettings = field(default_factory=ClipSettings)
    photos: PhotoClipSettings = field(default_factory=PhotoClipSettings)
    shape: VideoShape = field(default_factory=VideoShape)
    denoiser: VideoDenoiserSettings = field(default_factory=VideoDenoiserSettings)
    validation: VideoValidation = field(default_factory=VideoValidation)
    validate_every: int = 500
    seed: int = 0


# How weights that match already are trained further.
FURTHER = TinyVideoRecipe(
    clips=ClipSettings(shards=12),
    denoiser=VideoDenoiserSettings(
        stages=(Stage(4, 16, 16, 10, 500), Stage(4, 24, 24, 5, 320), Stage(8, 24, 32, 2, 80)), rate=6e-4, seed=1
    ),
    validate_every=450,
)


def train_tiny_video(
    work: Path,
    out: Path,
    recipe: TinyVideoRecipe | None = None,
    *,
    photos: Path | None = None,
    start: Path | None = None,
    minutes: float | None = None,
    snapshots: Collection[int] = (),
    device: str | None = None,
    progress: Progress | None = None,
) -> bool:
    """Runs one slice of the recipe and, when all stages are done, exports the model.

    Losses go to `work/transformer.jsonl`, validation scores of every block to `work/validation.jsonl`. For what it is
    given see `train_tiny`; `work` holds clips, checkpoint and logs.

    Returns:
        Whether the model is finished and exported.

    Raises:
        SettingsError: if `work` holds a run of another recipe, `photos` nothing that may be used, or `start` no model.
    """
    recipe, progress = recipe or (FURTHER if start else TinyVideoRecipe()), progress or SilentProgress()
    photographs = list_photographs(photos) if photos else []
    work.mkdir(parents=True, exist_ok=True)
    data = {"recipe": asdict(recipe), "photographs": len(photographs), "further": start is not None}
    keep_recipe(work / "recipe.json", data)
    torch_device = resolve_device(device)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    parts = load_tiny_parts()
    if start:
        transformer, text_encoder = read_video(start, recipe.shape.lookers)
        parts = replace(parts, text_encoder=text_encoder)
    else:
        transformer = build_transformer(recipe.seed, recipe.shape)
    transformer = transformer.to(torch_device)
    vae, text_encoder = parts.vae.to(torch_device), parts.text_encoder.to(torch_device)

    progress.start("clips", recipe.clips.shards)
    for made in make_clip_shards(work / "clips", recipe.clips, vae):
        progress.advance()
        if made and past(deadline):
            return False

    share = recipe.photos.share if photographs else 0.0
    folders = {work / "clips": 1 - share}
    if photographs:
        folders[work / "views"] = share
        progress.start("views", recipe.photos.shards)
        for made in make_photo_clip_shards(work / "views", recipe.photos, photographs, vae):
            progress.advance()
            if made and past(deadline):
                return False

    store = ClipStore(folders, parts.tokenizer, vae.config.scaling_factor)
    learner = Learner(
        {"transformer": transformer, "text_encoder": text_encoder},
        rate=recipe.denoiser.rate,
        # Queries and keys keep the matcher's sharpness only if nothing pulls them to zero.
        undecayed=("attn1.to_q", "attn1.to_k"),
    )
    held_out = {"worlds": validation_clips(recipe.validation)}
    if photographs:
        held_out["photographs"] = photograph_clips(photographs, recipe.validation)
    controls = {kind: control_scores(vae, clips) for kind, clips in held_out.items()}

    def validate() -> dict[str, Any]:
        with torch.no_grad():
            null = text_encoder(store.null[None].to(torch_device)).last_hidden_state
        blocks = {kind: validate_video(transformer, vae, null, c, recipe.validation) for kind, c in held_out.items()}
        score = float(np.mean([scores[recipe.validation.block] for scores in blocks.values()]))
        scores = {"score": score, "validation": blocks, "controls": controls}
        with (work / "validation.jsonl").open("a") as lines:
            lines.write(json.dumps({"step": learner.step, **scores}) + "\n")
        return scores

    def write(folder: Path) -> None:
        with learner.averaged():
            export_video(folder, transformer, parts, {**data, "step": learner.step, **validate()})
        if photographs:
            write_text(folder / "PHOTOGRAPHS.md", credits(photographs))

    if start and not (work / "validation.jsonl").exists():
        validate()

    after_step = watch(learner, snapshots, recipe.validate_every, write, validate, work)
    alphas_cumprod = build_video_scheduler().alphas_cumprod
    steps = train_video_denoiser(transformer, text_encoder, alphas_cumprod, learner, store, recipe.denoiser)
    total = recipe.denoiser.steps
    if not run_steps(steps, learner, work / "transformer", total, deadline, progress, after_step):
        return False
    write(out)
    return True
