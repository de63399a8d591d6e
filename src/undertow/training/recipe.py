"""The whole recipe of an embedded model, from nothing to weights, in slices that each end in a resumable checkpoint.

    pictures -> autoencoder -> latents -> denoiser and text encoder -> export

A slice does as much as its time allows; the next one continues where it stopped. Every draw depends on the seed and
the step alone, so the data order does not depend on how the work was cut.
"""

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

from undertow.base import Progress, SilentProgress, resolve_device
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
from undertow.training.slices import keep_recipe, past, run_steps


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
    keep_recipe(work / "recipe.json", asdict(recipe))
    torch_device = resolve_device(device)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    pictures = work / "pictures"

    progress.start("pictures", recipe.pictures.shards)
    for _ in make_shards(pictures, recipe.pictures, processes):
        progress.advance()
        if past(deadline):
            return False
    shards = available_shards(pictures)

    vae = build_autoencoder(recipe.seed).to(torch_device)
    learner = Learner({"vae": vae}, rate=recipe.autoencoder.rate, horizon=200)
    steps = train_autoencoder(vae, learner, shards, recipe.autoencoder)
    if not run_steps(steps, learner, work / "autoencoder", recipe.autoencoder.steps, deadline, progress):
        return False
    learner.use_average()
    vae.eval()

    progress.start("latents", len(shards))
    for number in range(len(shards)):
        progress.advance()
        if encode_shard(vae, pictures, number) and past(deadline):
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
    if not run_steps(steps, learner, work / "denoiser", recipe.denoiser.steps, deadline, progress, snapshot):
        return False
    write(out)
    return True
