"""The whole recipe of `tiny-video`, from the parts of `tiny` to weights, in slices that end in a resumable checkpoint.

    clips, drawn and encoded -> transformer and text encoder -> export

As with `tiny`, every draw depends on the seed and the step alone, so it does not matter how the work was cut.
"""

import json
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from undertow.base import Progress, SilentProgress, resolve_device
from undertow.training.denoiser import VideoDenoiserSettings, train_video_denoiser
from undertow.training.latents import ClipStore
from undertow.training.learner import Learner, keep_recipe, past, run_steps, watch
from undertow.training.video_architecture import (
    VideoShape,
    build_transformer,
    build_video_scheduler,
    export_video,
    load_tiny_parts,
)
from undertow.training.video_clips import ClipSettings, make_clip_shards
from undertow.training.video_validation import VideoValidation, control_scores, validate_video, validation_clips


@dataclass(frozen=True)
class TinyVideoRecipe:
    """Everything that decides the weights of `tiny-video`, and the worlds on which it is scored."""

    clips: ClipSettings = field(default_factory=ClipSettings)
    shape: VideoShape = field(default_factory=VideoShape)
    denoiser: VideoDenoiserSettings = field(default_factory=VideoDenoiserSettings)
    validation: VideoValidation = field(default_factory=VideoValidation)
    validate_every: int = 500
    seed: int = 0


def train_tiny_video(
    work: Path,
    out: Path,
    recipe: TinyVideoRecipe | None = None,
    *,
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
        SettingsError: if `work` holds a run of another recipe.
    """
    recipe, progress = recipe or TinyVideoRecipe(), progress or SilentProgress()
    work.mkdir(parents=True, exist_ok=True)
    keep_recipe(work / "recipe.json", asdict(recipe))
    torch_device = resolve_device(device)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    parts = load_tiny_parts()
    vae, text_encoder = parts.vae.to(torch_device), parts.text_encoder.to(torch_device)

    progress.start("clips", recipe.clips.shards)
    for made in make_clip_shards(work / "clips", recipe.clips, vae):
        progress.advance()
        if made and past(deadline):
            return False

    store = ClipStore(work / "clips", parts.tokenizer, vae.config.scaling_factor)
    transformer = build_transformer(recipe.seed, recipe.shape).to(torch_device)
    learner = Learner(
        {"transformer": transformer, "text_encoder": text_encoder},
        rate=recipe.denoiser.rate,
        # Queries and keys keep the matcher's sharpness only if nothing pulls them to zero.
        undecayed=("attn1.to_q", "attn1.to_k"),
    )
    held_out = validation_clips(recipe.validation)
    controls = control_scores(vae, held_out)

    def validate() -> list[float]:
        with torch.no_grad():
            null = text_encoder(store.null[None].to(torch_device)).last_hidden_state
        scores = validate_video(transformer, vae, null, held_out, recipe.validation)
        with (work / "validation.jsonl").open("a") as lines:
            lines.write(json.dumps({"step": learner.step, "blocks": scores, **controls}) + "\n")
        return scores

    def write(folder: Path) -> None:
        with learner.averaged():
            facts = {"recipe": asdict(recipe), "step": learner.step, "validation": validate(), "controls": controls}
            export_video(folder, transformer, parts, facts)

    after_step = watch(learner, snapshots, recipe.validate_every, write, validate, work)
    alphas_cumprod = build_video_scheduler().alphas_cumprod
    steps = train_video_denoiser(transformer, text_encoder, alphas_cumprod, learner, store, recipe.denoiser)
    total = recipe.denoiser.steps
    if not run_steps(steps, learner, work / "transformer", total, deadline, progress, after_step):
        return False
    write(out)
    return True
