"""The whole recipe of an embedded model, from nothing to weights, in slices that each end in a resumable checkpoint.

    pictures -> autoencoder -> latents -> denoiser and text encoder -> export

A slice does as much as its time allows; the next one continues where it stopped. Every draw depends on the seed and
the step alone, so the data order does not depend on how the work was cut.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from undertow.base import Progress, SettingsError, SilentProgress, resolve_device
from undertow.training.architecture import (
    DenoiserShape,
    build_autoencoder,
    build_denoiser,
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
)
from undertow.training.autoencoder import (
    AutoencoderSettings,
    available_shards,
    encode_shard,
    reconstruction,
    train_autoencoder,
)
from undertow.training.denoiser import DenoiserSettings, train_denoiser
from undertow.training.export import export
from undertow.training.latents import LatentStore
from undertow.training.learner import Learner
from undertow.training.matchers import project_matchers, tie_matchers
from undertow.training.pictures import PictureSettings, make_shards

SAVE_EVERY = 200


@dataclass(frozen=True)
class TinyRecipe:
    """Everything that decides the weights of `tiny`."""

    pictures: PictureSettings = field(default_factory=PictureSettings)
    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    denoiser: DenoiserSettings = field(default_factory=DenoiserSettings)
    shape: DenoiserShape = field(default_factory=DenoiserShape)
    seed: int = 0


def train_tiny(
    work: Path,
    out: Path,
    recipe: TinyRecipe | None = None,
    *,
    minutes: float | None = None,
    processes: int = 2,
    snapshots: Collection[int] = (),
    device: str | None = None,
    progress: Progress | None = None,
) -> bool:
    """Runs one slice of the recipe and, when all stages are done, exports the model.

    Args:
        work: Folder of pictures, latents, checkpoints and logs; the same folder continues the same run.
        out: Where the finished model goes, in the diffusers layout.
        recipe: Settings of all stages.
        minutes: Time of this slice; None runs to the end.
        processes: Processes that draw pictures.
        snapshots: Steps of the denoiser after which the model as it then is goes to `work/snapshots/<step>`.
        device: Where to train.
        progress: What to report to.

    Returns:
        Whether the model is finished and exported.

    Raises:
        SettingsError: if `work` holds a run of another recipe.
    """
    recipe, progress = recipe or TinyRecipe(), progress or SilentProgress()
    work.mkdir(parents=True, exist_ok=True)
    _same_recipe(work / "recipe.json", recipe)
    torch_device = resolve_device(device)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    pictures = work / "pictures"

    progress.start("pictures", recipe.pictures.shards)
    for _ in make_shards(pictures, recipe.pictures, processes):
        progress.advance()
        if _past(deadline):
            return False
    shards = available_shards(pictures)

    vae = build_autoencoder(recipe.seed).to(torch_device)
    learner = Learner({"vae": vae}, rate=recipe.autoencoder.rate, horizon=200)
    steps = train_autoencoder(vae, learner, shards, recipe.autoencoder)
    if not _run(steps, learner, work / "autoencoder", recipe.autoencoder.steps, deadline, progress):
        return False
    learner.use_average()
    vae.eval()

    progress.start("latents", len(shards))
    for number in range(len(shards)):
        progress.advance()
        if encode_shard(vae, pictures, number) and _past(deadline):
            return False

    tokenizer = build_tokenizer()
    store = LatentStore(pictures, tokenizer)
    vae.register_to_config(scaling_factor=store.scaling_factor)
    unet = build_denoiser(recipe.seed, recipe.shape).to(torch_device)
    text_encoder = build_text_encoder(tokenizer, recipe.seed).to(torch_device)
    if recipe.denoiser.matched:
        tie_matchers(unet)
    scheduler = build_scheduler()
    learner = Learner(
        {"unet": unet, "text_encoder": text_encoder},
        rate=recipe.denoiser.rate,
        # Queries and keys keep the matcher's sharpness only if nothing pulls them to zero.
        undecayed=("attn1.to_q", "attn1.to_k"),
    )
    facts = {"recipe": asdict(recipe), "autoencoder": reconstruction(vae, shards[0])}

    def write(folder: Path) -> None:
        with learner.averaged():
            if recipe.denoiser.matched:
                # An average of orthogonal matrices is not quite orthogonal.
                project_matchers(unet)
            export(
                folder,
                vae=vae,
                unet=unet,
                text_encoder=text_encoder,
                tokenizer=tokenizer,
                scheduler=scheduler,
                facts={**facts, "step": learner.step},
            )

    def snapshot() -> None:
        if learner.step in snapshots:
            write(work / "snapshots" / f"{learner.step:06d}")

    steps = train_denoiser(unet, text_encoder, scheduler.alphas_cumprod, learner, store, recipe.denoiser)
    if not _run(steps, learner, work / "denoiser", recipe.denoiser.steps, deadline, progress, snapshot):
        return False
    write(out)
    return True


def _run(
    steps: Iterator[dict[str, float]],
    learner: Learner,
    stem: Path,
    total: int,
    deadline: float | None,
    progress: Progress,
    after_step: Callable[[], None] = lambda: None,
) -> bool:
    """Takes steps until they or the time run out, with a checkpoint every few minutes; returns whether all are done."""
    checkpoint, log = stem.with_suffix(".safetensors"), stem.with_suffix(".jsonl")
    if checkpoint.exists():
        learner.load(checkpoint)
    progress.start(stem.name, total)
    progress.advance(learner.step)
    if learner.step >= total:
        return True
    begun = time.monotonic()
    with log.open("a") as lines:
        for facts in steps:
            progress.advance(1, **{name: round(value, 4) for name, value in facts.items()})
            if learner.step % 10 == 0:
                row = {"step": learner.step, "seconds": round(time.monotonic() - begun, 1), **facts}
                lines.write(json.dumps(row) + "\n")
                lines.flush()
            after_step()
            if learner.step % SAVE_EVERY == 0:
                learner.save(checkpoint)
            if _past(deadline):
                break
    learner.save(checkpoint)
    return learner.step >= total


def _past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _same_recipe(path: Path, recipe: TinyRecipe) -> None:
    """Writes the recipe beside the run, or checks that the run there has the same one."""
    from undertow.base import write_json

    settings = json.loads(json.dumps(asdict(recipe)))
    if not path.exists():
        write_json(path, settings)
    elif json.loads(path.read_text()) != settings:
        raise SettingsError(f"{path} is of a run with other settings; use the same ones or another --work folder")
