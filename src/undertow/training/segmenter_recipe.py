"""The whole recipe of `tiny-sam`, from nothing to weights, in slices that each end in a resumable checkpoint.

    pictures (and composites of photographs) -> segmenter -> export

As with `tiny`, every draw depends on the seed and the step alone, so it does not matter how the work was cut.
"""

import json
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import SamModel

from undertow.base import Progress, SilentProgress, resolve_device, write_json, write_text
from undertow.refinement import SamSegmenter
from undertow.training.learner import Learner, keep_recipe, past, run_steps
from undertow.training.pictures import (
    SegmentPhotoSettings,
    SegmentPictureSettings,
    make_composite_shards,
    make_segment_shards,
    open_segment_shard,
)
from undertow.training.segmenter_network import SegmenterShape, build_segmenter
from undertow.training.segmenter_steps import SegmenterSettings, train_segmenter
from undertow.training.segmenter_validation import SegmenterValidation, validate_segmenter
from undertow.world.photographs import credits, list_photographs

VALIDATE_EVERY = 500


@dataclass(frozen=True)
class TinySamRecipe:
    """Everything that decides the weights of `tiny-sam`, besides the photographs, and what it is scored on."""

    pictures: SegmentPictureSettings = field(default_factory=SegmentPictureSettings)
    photos: SegmentPhotoSettings = field(default_factory=SegmentPhotoSettings)
    shape: SegmenterShape = field(default_factory=SegmenterShape)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    validation: SegmenterValidation = field(default_factory=SegmenterValidation)
    seed: int = 0


# How weights that can segment already are trained further.
FURTHER = TinySamRecipe(
    segmenter=SegmenterSettings(steps=1350, small_steps=1100, small_crops=6, rate=6e-4, balanced_steps=0)
)


def train_tiny_sam(
    work: Path,
    out: Path,
    recipe: TinySamRecipe | None = None,
    *,
    photos: Path | None = None,
    start: Path | None = None,
    minutes: float | None = None,
    processes: int = 2,
    device: str | None = None,
    progress: Progress | None = None,
) -> bool:
    """Runs one slice of the recipe and, when all steps are done, exports the model.

    Losses go to `work/segmenter.jsonl`, validation scores to `work/validation.jsonl`. For what it is given see
    `train_tiny`; `work` holds pictures, checkpoint and logs, and `out` gets config.json, model.safetensors and
    training.json.

    Returns:
        Whether the model is finished and exported.

    Raises:
        SettingsError: if `work` holds a run of another recipe, or `photos` nothing that may be used.
    """
    recipe, progress = recipe or (FURTHER if start else TinySamRecipe()), progress or SilentProgress()
    photographs = list_photographs(photos) if photos else []
    work.mkdir(parents=True, exist_ok=True)
    data = {"recipe": asdict(recipe), "photographs": len(photographs), "further": start is not None}
    keep_recipe(work / "recipe.json", data)
    torch_device = resolve_device(device)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    pictures, total = work / "pictures", recipe.segmenter.steps

    progress.start("pictures", recipe.pictures.shards)
    for _ in make_segment_shards(pictures, recipe.pictures, processes):
        progress.advance()
        if past(deadline):
            return False
    shards = [open_segment_shard(pictures, number) for number in range(recipe.pictures.shards)]
    chances = None
    if photographs:
        composites, share = work / "composites", recipe.photos.share
        progress.start("composites", recipe.photos.shards)
        for _ in make_composite_shards(composites, recipe.photos, photographs, processes):
            progress.advance()
            if past(deadline):
                return False
        shards += [open_segment_shard(composites, number) for number in range(recipe.photos.shards)]
        counts = (recipe.pictures.shards, recipe.photos.shards)
        chances = np.repeat([(1 - share) / counts[0], share / counts[1]], counts)

    model = build_segmenter(recipe.seed, recipe.shape, start).to(torch_device)
    learner = Learner({"sam": model}, rate=recipe.segmenter.rate, undecayed=("pos_embed", "_embed"), horizon=300)

    def validate() -> dict[str, float]:
        """Writes down and returns the validation scores of the averaged weights."""
        with learner.averaged():
            # A segmenter freezes its network, so it gets one of its own.
            scores = validate_segmenter(SamSegmenter(deepcopy(model)), recipe.validation, photographs)
        with (work / "validation.jsonl").open("a") as lines:
            lines.write(json.dumps({"step": learner.step, **scores}) + "\n")
        return scores

    def after_step() -> None:
        if learner.step % VALIDATE_EVERY == 0 and learner.step < total:
            validate()

    steps = train_segmenter(model, learner, shards, recipe.segmenter, chances)
    if not run_steps(steps, learner, work / "segmenter", total, deadline, progress, after_step):
        return False
    scores = validate()
    with learner.averaged():
        export_segmenter(out, model, {**data, "step": learner.step, "validation": scores})
    if photographs:
        write_text(out / "PHOTOGRAPHS.md", credits(photographs))
    return True


def export_segmenter(out: Path, model: SamModel, facts: Mapping[str, Any]) -> None:
    """Writes a segmenter as transformers reads it, in float16, with `facts` in `training.json` beside it."""
    deepcopy(model).cpu().half().save_pretrained(out, safe_serialization=True)
    write_json(out / "training.json", dict(facts))
