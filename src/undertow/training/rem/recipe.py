"""The whole of fine-tuning: data are checked, latents kept, steps resumed, and a folder written that `load` takes.

On Accelerate, so that the same call runs in one process or in several under `accelerate launch`; with its `--use_fsdp`
they share the weights.
"""

import json
import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from undertow.backbones import Backbone, load
from undertow.backbones.fine_tuning import write_fine_tuning
from undertow.base import Progress, SettingsError, SilentProgress
from undertow.grounding.generator import MaskGenerator
from undertow.metrics import region_similarity
from undertow.training.learner import SAVE_EVERY, Learner, keep_recipe, run_steps
from undertow.training.rem.data import Latents, Source, Texts
from undertow.training.rem.settings import RemSettings
from undertow.training.rem.steps import Examples, Order, train_steps
from undertow.training.rem.weights import (
    Answering,
    checkpoint_activations,
    choose_weights,
    halve_frozen,
    learned_weights,
    repeat_positions,
)
from undertow.training.sharding import shard, shards_wanted

log = logging.getLogger(__name__)

MOST_PROBLEMS = 20


def train_rem(
    model: str | Path,
    sources: Sequence[Source],
    work: Path,
    out: Path,
    settings: RemSettings | None = None,
    *,
    validation: Source | None = None,
    minutes: float | None = None,
    save_every: int = SAVE_EVERY,
    half: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> bool:
    """Runs one slice of fine-tuning and, when all steps are done, writes the model.

    Args:
        model: The generator, as `load` takes it; one that was fine-tuned before, in full, is trained further.
        sources: What is learned from.
        work: Folder of latents, states of texts, checkpoint and logs: `steps.jsonl` and `validation.jsonl`.
        out: Folder to write.
        settings: Of the training.
        validation: What is looked at during training, see `validate`.
        minutes: When to stop, at a checkpoint; `None` for at the end.
        save_every: Steps between two checkpoints.
        half: Whether weights are written as float16.
        device: Where to run; `None` for the best there is.
        progress: Notified of every step.

    Returns:
        Whether the model is finished and written.

    Raises:
        SettingsError: if accelerate is absent, data are bad, or `work` holds a run of other settings or data.
    """
    settings, progress = settings or RemSettings(), progress or SilentProgress()
    accelerator = _accelerator(device)
    if minutes is not None and accelerator.num_processes > 1:
        raise SettingsError("--minutes is for one process; leave it out, and stop all of them together")
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    writes = accelerator.is_main_process
    backbone = load(model, device=str(accelerator.device), dtype="float32")
    # Read where there is room for all of it in float32; a GPU need not have that.
    backbone._network.device = torch.device("cpu")
    about = settings.about(_base_of(model, backbone, settings))
    if writes:
        _begin(work, sources, settings, backbone, progress)
    accelerator.wait_for_everyone()

    choose_weights(backbone.denoiser, settings)
    backbone.fine_tuning = about
    if settings.sheet:
        repeat_positions(backbone.denoiser, about.size or (0, 0), settings.frames, backbone.multiple)
    if settings.bfloat16:
        halve_frozen(backbone.denoiser)
    if settings.checkpointing:
        checkpoint_activations(backbone.denoiser)
    rank, processes = accelerator.process_index, accelerator.num_processes
    sharded = shards_wanted(processes)
    if sharded:
        shard(backbone.denoiser, accelerator.device, processes)
        log.info("each of %d processes holds a share of the weights", processes)
    else:
        backbone.denoiser.to(accelerator.device)
    backbone._network.device = accelerator.device
    generator = MaskGenerator(backbone, (settings.size[1], settings.size[0]))
    examples = Examples(
        Order(settings, sources),
        sources,
        Latents(work / "latents", backbone, about, bfloat16=settings.bfloat16),
        Texts(work / "texts", generator.read),
        backbone,
        about,
    )
    learner = Learner(
        {"denoiser": backbone.denoiser},
        rate=settings.rate,
        horizon=max(1, settings.average),
        decay=settings.decay,
        betas=(0.9, 0.999),
    )
    answering: Any = Answering(backbone, about, bfloat16=settings.bfloat16)
    if not sharded:
        answering = accelerator.prepare(answering)

    def after_step() -> None:
        # A shared model answers only if all processes ask.
        if (writes or sharded) and validation is not None and learner.step % settings.validate_every == 0:
            kind = accelerator.device.type
            with learner.averaged(), torch.autocast(kind, torch.bfloat16, enabled=settings.bfloat16):
                found = validate(generator, validation)
            if not writes:
                return
            with (work / "validation.jsonl").open("a") as lines:
                lines.write(json.dumps({"step": learner.step, **found}) + "\n")
            log.info("step %d: J %.3f", learner.step, found["J"])

    def mean(loss: Tensor) -> Tensor:
        return accelerator.reduce(loss, "mean") if processes > 1 else loss

    steps = train_steps(answering, learner, examples, settings, rank, processes, mean)
    every = {"save_every": save_every, "log_every": 1, "writes": writes}
    # The CPU's fused attention is slow in the backward pass over the few tokens of small images.
    few = settings.images == 1 and accelerator.device.type == "cpu"
    with sdpa_kernel(SDPBackend.MATH) if few else nullcontext():
        done = run_steps(steps, learner, work / "steps", settings.steps, deadline, progress, after_step, **every)
    if not done:
        return False
    with learner.averaged():
        weights = learned_weights(backbone.denoiser, settings, torch.float16 if half else torch.float32)
        if writes:
            write_fine_tuning(out, about, weights)
    accelerator.wait_for_everyone()
    return True


def validate(generator: MaskGenerator, source: Source) -> dict[str, float]:
    """Returns the mean J of all expressions of a source, and of those about still and about moving things.

    J of an expression is the mean over the frames of the overlap of answer and truth; nothing where nothing is named
    counts as 1, as in every referring benchmark.
    """
    values: dict[bool, list[float]] = {True: [], False: []}
    for number in range(len(source)):
        item = source.item(number, 0)
        video = generator.encode(item.images)
        for text, truth, still in zip(item.texts, item.masks, item.still, strict=True):
            scores = generator.scores(generator.answer(video, generator.read(text)), len(item.images))
            mask = scores.cpu().numpy() > 0.5
            values[still].append(float(np.mean([*map(region_similarity, mask, truth)])))
    every = values[True] + values[False]
    named = {"J": every, "J still": values[True], "J moving": values[False]}
    return {name: round(float(np.mean(each)), 4) for name, each in named.items() if each}


def _base_of(model: str | Path, backbone: Backbone, settings: RemSettings) -> str:
    """Returns what the trained weights will take the place of those of.

    Raises:
        SettingsError: if the model was fine-tuned before, and not all that will be written would be its own.
    """
    if backbone.fine_tuning is None:
        return str(model)
    if settings.train != "full" or backbone.fine_tuning.trained != "full":
        raise SettingsError(
            f"'{model}' was fine-tuned before; it can be trained further with train=full after training in full only"
        )
    before, after = backbone.fine_tuning, settings.about("")
    layout = [(each.sheet, each.size, each.window) for each in (before, after)]
    if before.sheet and layout[0] != layout[1]:
        raise SettingsError(
            f"'{model}' was trained on sheets of {before.window} frames; give the same sheet, frames and size"
        )
    return before.backbone


def _begin(
    work: Path, sources: Sequence[Source], settings: RemSettings, backbone: Backbone, progress: Progress
) -> None:
    """Keeps what decides a run beside it, and looks through the data once, before the first step.

    Raises:
        SettingsError: if the run there is another one, or data are bad; with a list of what is wrong.
    """
    work.mkdir(parents=True, exist_ok=True)
    for leftover in work.rglob(".*-????????.*"):
        # Of a process that was killed as it wrote.
        leftover.unlink(missing_ok=True)
    data = {source.name: len(source) for source in sources}
    keep_recipe(work / "recipe.json", {**asdict(settings), "data": data, "model": backbone.fingerprint()})
    if (work / "steps.safetensors").exists():
        return
    progress.start("check data", len(sources))
    found = []
    for source in sources:
        progress.advance()
        found += [f"{source.name}: {problem}" for problem in source.problems()]
    if found:
        (work / "problems.txt").write_text("\n".join(found) + "\n", encoding="utf-8")
        shown = "; ".join(found[:3])
        raise SettingsError(f"the data have {len(found)} problems, all of them in '{work / 'problems.txt'}': {shown}")


def _accelerator(device: str | None) -> Any:
    try:
        from accelerate import Accelerator
        from accelerate.utils import disable_fsdp_ram_efficient_loading
    except ImportError as error:
        raise SettingsError("training needs accelerate; install it with `pip install undertow[train]`") from error
    # Or transformers leaves the text encoders of all processes but the first empty.
    disable_fsdp_ram_efficient_loading()
    return Accelerator(cpu=device == "cpu")
