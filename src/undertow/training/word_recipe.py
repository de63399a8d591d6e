"""The whole recipe of `tiny-words`, from the autoencoder of `tiny` to weights, in slices that end in a checkpoint.

    scenes, drawn and encoded -> transformer and text encoders -> export

As with `tiny`, every draw depends on the seed and the step alone, so it does not matter how the work was cut.
"""

import json
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

from undertow.base import Progress, SilentProgress, resolve_device
from undertow.training.learner import Learner, keep_recipe, past, run_steps, watch
from undertow.training.video_architecture import load_tiny_parts
from undertow.training.word_architecture import WordShape, build_word_encoders, build_word_transformer, export_words
from undertow.training.word_denoiser import WordDenoiserSettings, train_words
from undertow.training.word_scenes import Lot, WordStore, make_word_shards
from undertow.training.word_validation import WordValidation, text_gain, validate_words, validation_words


@dataclass(frozen=True)
class TinyWordsRecipe:
    """Everything that decides the weights of `tiny-words`, and the scenes on which it is scored."""

    lots: tuple[Lot, ...] = (
        Lot("calm", 19, (96, 96)),
        Lot("worlds", 29, (96, 160), worlds=0.6, photographs=0.25),
    )
    shape: WordShape = field(default_factory=WordShape)
    denoiser: WordDenoiserSettings = field(default_factory=WordDenoiserSettings)
    validation: WordValidation = field(default_factory=WordValidation)
    validate_every: int = 200
    seed: int = 0


def train_tiny_words(
    work: Path,
    out: Path,
    recipe: TinyWordsRecipe | None = None,
    *,
    photos: Path | None = None,
    minutes: float | None = None,
    snapshots: Collection[int] = (),
    device: str | None = None,
    progress: Progress | None = None,
) -> bool:
    """Runs one slice of the recipe and, when all stages are done, exports the model.

    Losses go to `work/transformer.jsonl`; point accuracies of every block, reading and noise level, and the error with
    the right caption and with another one, to `work/validation.jsonl`. For what it is given see `train_tiny`.

    Returns:
        Whether the model is finished and exported.

    Raises:
        SettingsError: if `work` holds a run of another recipe, or `photos` cannot be used.
    """
    recipe, progress = recipe or TinyWordsRecipe(), progress or SilentProgress()
    work.mkdir(parents=True, exist_ok=True)
    keep_recipe(work / "recipe.json", {**asdict(recipe), "photos": photos is not None})
    torch_device = resolve_device(device)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    vae = load_tiny_parts().vae.to(torch_device)

    progress.start("scenes", sum(lot.shards for lot in recipe.lots))
    for made in make_word_shards(work, recipe.lots, photos, vae):
        progress.advance()
        if made and past(deadline):
            return False

    stores = {lot.name: WordStore(work / lot.name, vae.config.scaling_factor) for lot in recipe.lots}
    transformer = build_word_transformer(recipe.seed, recipe.shape).to(torch_device)
    tokenizer, encoders = build_word_encoders(recipe.seed + 1)
    encoders = [encoder.to(torch_device) for encoder in encoders]
    learner = Learner(
        {"transformer": transformer, "text_encoder": encoders[0], "text_encoder_2": encoders[1]},
        rate=recipe.denoiser.rate,
        undecayed=("embedding",),
        horizon=200,
    )
    held_out = validation_words(recipe.validation, vae)

    def validate() -> dict[str, float]:
        scores = validate_words(transformer, encoders, tokenizer, held_out, recipe.validation)
        scores |= {
            f"error, {name} caption": e for name, e in text_gain(transformer, encoders, tokenizer, held_out).items()
        }
        with (work / "validation.jsonl").open("a") as lines:
            lines.write(json.dumps({"step": learner.step, **scores}) + "\n")
        return scores

    def write(folder: Path) -> None:
        with learner.averaged():
            facts = {"recipe": asdict(recipe), "step": learner.step, "validation": validate()}
            export_words(folder, transformer, encoders, tokenizer, vae, facts)

    after_step = watch(learner, snapshots, recipe.validate_every, write, validate, work)
    steps = train_words(transformer, encoders, tokenizer, learner, stores, recipe.denoiser)
    total = recipe.denoiser.steps
    if not run_steps(steps, learner, work / "transformer", total, deadline, progress, after_step):
        return False
    write(out)
    return True
