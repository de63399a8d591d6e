"""The whole recipe of an embedded model, from nothing to weights, in slices that each end in a resumable checkpoint.

    pictures -> autoencoder -> latents -> denoiser and text encoder -> export -> directions

A slice does as much as its time allows; the next one continues where it stopped. Every draw depends on the seed and
the step alone, so the data order does not depend on how the work was cut.
"""

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

from undertow.base import Progress, SilentProgress, resolve_device, write_text
from undertow.training.architecture import (
    DenoiserShape,
    TinyParts,
    build_autoencoder,
    build_denoiser,
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    export,
    project_matchers,
    read_parts,
    tie_matchers,
)
from undertow.training.autoencoder import (
    AutoencoderSettings,
    available_shards,
    encode_shard,
    reconstruction,
    train_autoencoder,
)
from undertow.training.denoiser import DenoiserSettings, train_denoiser
from undertow.training.directions import DirectionSettings, sample_photographs, write_directions
from undertow.training.latents import LatentStore
from undertow.training.learner import Learner, keep_recipe, past, run_steps
from undertow.training.pictures import PhotoSettings, PictureSettings, make_photo_shards, make_shards, open_shard
from undertow.world.photographs import credits, list_photographs


@dataclass(frozen=True)
class TinyRecipe:
    """Everything that decides the weights of `tiny`, besides the photographs themselves."""

    pictures: PictureSettings = field(default_factory=PictureSettings)
    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    denoiser: DenoiserSettings = field(default_factory=DenoiserSettings)
    shape: DenoiserShape = field(default_factory=DenoiserShape)
    photos: PhotoSettings = field(default_factory=PhotoSettings)
    directions: DirectionSettings = field(default_factory=DirectionSettings)
    seed: int = 0


def train_tiny(
    work: Path,
    out: Path,
    recipe: TinyRecipe | None = None,
    *,
    photos: Path | None = None,
    start: Path | None = None,
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
        photos: Folder of photographs with a `SOURCES.csv`; without it there are procedural pictures only.
        start: Folder of a finished model of the same shape to train further: its autoencoder stays as it is.
        minutes: Time of this slice; None runs to the end.
        processes: Number of processes that draw pictures.
        snapshots: Steps of the denoiser after which the model as it then is goes to `work/snapshots/<step>`.
        device: Where to train.
        progress: What to report to.

    Returns:
        Whether the model is finished and exported.

    Raises:
        SettingsError: if `work` holds a run of another recipe, or `photos` nothing that may be used.
    """
    recipe, progress = recipe or TinyRecipe(), progress or SilentProgress()
    photographs = list_photographs(photos) if photos else []
    work.mkdir(parents=True, exist_ok=True)
    data = {"recipe": asdict(recipe), "photographs": len(photographs), "further": start is not None}
    keep_recipe(work / "recipe.json", data)
    torch_device = resolve_device(device)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes

    share = recipe.photos.share if photographs else 0.0
    folders = {work / "pictures": 1 - share}
    progress.start("pictures", recipe.pictures.shards)
    for _ in make_shards(work / "pictures", recipe.pictures, processes):
        progress.advance()
        if past(deadline):
            return False
    if photographs:
        folders[work / "views"] = share
        progress.start("views", recipe.photos.shards)
        for _ in make_photo_shards(work / "views", recipe.photos, photographs, processes):
            progress.advance()
            if past(deadline):
                return False

    parts = read_parts(start) if start else fresh_parts(recipe)
    vae, unet, text_encoder = (part.to(torch_device) for part in (parts.vae, parts.unet, parts.text_encoder))
    if not start:
        shards = [shard for folder in folders for shard in available_shards(folder)]
        learner = Learner({"vae": vae}, rate=recipe.autoencoder.rate, horizon=200)
        steps = train_autoencoder(vae, learner, shards, recipe.autoencoder)
        if not run_steps(steps, learner, work / "autoencoder", recipe.autoencoder.steps, deadline, progress):
            return False
        learner.use_average()
    vae.eval()

    jobs = [(folder, number) for folder in folders for number in range(len(available_shards(folder)))]
    progress.start("latents", len(jobs))
    for folder, number in jobs:
        progress.advance()
        if encode_shard(vae, folder, number) and past(deadline):
            return False

    store = LatentStore(folders, parts.tokenizer)
    if start:
        store.scaling_factor = vae.config.scaling_factor
    else:
        vae.register_to_config(scaling_factor=store.scaling_factor)
    if recipe.denoiser.matched:
        tie_matchers(unet)
    scheduler = build_scheduler()
    learner = Learner(
        {"unet": unet, "text_encoder": text_encoder},
        rate=recipe.denoiser.rate,
        # Queries and keys keep the matcher's sharpness only if nothing pulls them to zero.
        undecayed=("attn1.to_q", "attn1.to_k"),
    )
    facts = {**data, "autoencoder": {folder.name: reconstruction(vae, open_shard(folder, 0)) for folder in folders}}

    def write(folder: Path) -> None:
        with learner.averaged():
            if recipe.denoiser.matched:
                # An average of orthogonal matrices is not quite orthogonal.
                project_matchers(unet)
            export(folder, parts, scheduler, {**facts, "step": learner.step})
            if photographs:
                write_text(folder / "PHOTOGRAPHS.md", credits(photographs))

    def snapshot() -> None:
        if learner.step in snapshots:
            write(work / "snapshots" / f"{learner.step:06d}")

    steps = train_denoiser(unet, text_encoder, scheduler.alphas_cumprod, learner, store, recipe.denoiser)
    if not run_steps(steps, learner, work / "denoiser", recipe.denoiser.steps, deadline, progress, snapshot):
        return False
    write(out)
    drawn = open_shard(work / "pictures", 0).images[: recipe.directions.pictures]
    shown = sample_photographs(photographs, recipe.directions, recipe.seed) if photographs else drawn
    write_directions(out, shown, recipe.directions)
    return True


def fresh_parts(recipe: TinyRecipe) -> TinyParts:
    """Returns the untrained model."""
    tokenizer = build_tokenizer()
    vae, unet = build_autoencoder(recipe.seed), build_denoiser(recipe.seed, recipe.shape)
    return TinyParts(vae, unet, build_text_encoder(tokenizer, recipe.seed), tokenizer)
