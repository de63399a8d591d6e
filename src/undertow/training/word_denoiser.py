"""Trains the transformer of `tiny-words` and its text encoders by flow matching; no loss reads a mask or a place.

Words pay where the picture alone does not say what something is, so that most noise levels are high ones. The captions
of a batch have about the same length, since the transformer masks no padding; what little is left is filled with end
tokens, as CLIP's tokenizers do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import SD3Transformer2DModel
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast

from undertow.training.learner import Learner, stage_at
from undertow.training.word_architecture import LONGEST, read_captions
from undertow.training.word_captions import caption_of
from undertow.training.word_scenes import WordStore

# Batches whose captions are sorted by length together.
POOL = 6


@dataclass(frozen=True)
class WordStage:
    """How the next `steps` steps are trained.

    Args:
        lot: Lot of scenes; several, joined by +, take turns at random.
        batch: Examples in a batch.
        steps: Number of steps.
        centre: Mean of the logit of the noise level sigma, whose law is logit-normal.
        talk: How much captions say, see `caption_of`.
        most: Most objects of a picture.
        pool: Latent cells per side that are made one: small pictures are quick, and words matter more in them.
    """

    lot: str
    batch: int
    steps: int
    centre: float = 1.0
    talk: float = 0.5
    most: int = 9
    pool: int = 1


@dataclass(frozen=True)
class WordDenoiserSettings:
    """How the transformer is trained.

    Args:
        stages: One after the other.
        rate: Peak learning rate.
        empty: Share of empty captions.
        spread: Deviation of the logit of the noise level.
        seed: Seed of all draws.
    """

    stages: tuple[WordStage, ...] = (
        WordStage("calm", 32, 400),
        WordStage("calm", 32, 200, 2.0, 0.8),
        WordStage("calm", 64, 800, 1.5, 0.9, most=3, pool=2),
        WordStage("calm", 32, 400, 1.5, 0.8),
        WordStage("calm", 32, 400, 1.0, 0.3),
        WordStage("calm+worlds", 24, 200, 1.0, 0.3),
    )
    rate: float = 1.5e-3
    empty: float = 0.08
    spread: float = 1.0
    seed: int = 0

    @property
    def steps(self) -> int:
        """Number of steps in all."""
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> WordStage:
        """Returns the stage that `step` is in."""
        return stage_at(self.stages, step)


def draw_batch(
    stores: Mapping[str, WordStore], tokenizer: CLIPTokenizerFast, settings: WordDenoiserSettings, step: int
) -> tuple[Float[Tensor, "n 4 h w"], Int[Tensor, "n tokens"]]:
    """Returns scaled latents and caption tokens, a function of settings, step and stores alone."""
    stage = settings.stage(step)
    random = np.random.default_rng((settings.seed, step // POOL, 1))
    lots = stage.lot.split("+")
    store = stores[lots[int(random.integers(len(lots)))]]
    latents, said = store.draw(random, POOL * stage.batch, stage.most)
    latents = functional.avg_pool2d(latents, stage.pool)
    captions = ["" if random.random() < settings.empty else caption_of(random, each, stage.talk) for each in said]
    ids = tokenizer(captions, truncation=True, max_length=LONGEST)["input_ids"]
    order = np.argsort([len(each) for each in ids], kind="stable")
    turn = int(random.permutation(POOL)[step % POOL])
    mine = order[turn * stage.batch : (turn + 1) * stage.batch]
    return latents[mine], padded([ids[index] for index in mine], tokenizer)


def padded(ids: Sequence[Sequence[int]], tokenizer: CLIPTokenizerFast) -> Int[Tensor, "n tokens"]:
    """Returns token ids as one tensor, the shorter ones filled with end tokens."""
    longest = max(len(each) for each in ids)
    return torch.tensor([[*each, *[tokenizer.eos_token_id] * (longest - len(each))] for each in ids])


def denoised_error(
    transformer: SD3Transformer2DModel,
    encoders: Sequence[CLIPTextModelWithProjection],
    latents: Float[Tensor, "n 4 h w"],
    tokens: Int[Tensor, "n m"],
    sigma: Float[Tensor, "n"],
    noise: Float[Tensor, "n 4 h w"],
) -> Float[Tensor, "n"]:
    """Returns the mean squared error of each example's predicted velocity, noise minus latents."""
    level = sigma[:, None, None, None]
    with sdpa_kernel(SDPBackend.MATH), torch.autocast(latents.device.type, torch.bfloat16):
        predicted = transformer(
            hidden_states=(1 - level) * latents + level * noise,
            encoder_hidden_states=read_captions(encoders, tokens),
            pooled_projections=latents.new_zeros(len(latents), transformer.config.pooled_projection_dim),
            timestep=1000 * sigma,
            return_dict=False,
        )[0]
    return (predicted.float() - (noise - latents)).square().mean(dim=(1, 2, 3))


def train_words(
    transformer: SD3Transformer2DModel,
    encoders: Sequence[CLIPTextModelWithProjection],
    tokenizer: CLIPTokenizerFast,
    learner: Learner,
    stores: Mapping[str, WordStore],
    settings: WordDenoiserSettings,
) -> Iterator[dict[str, float]]:
    """Trains until `settings.steps`, yielding the loss of every step; stop iterating to pause."""
    device = next(transformer.parameters()).device
    while learner.step < settings.steps:
        step = learner.step
        latents, tokens = (part.to(device) for part in draw_batch(stores, tokenizer, settings, step))
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        logit = settings.stage(step).centre + settings.spread * torch.randn(len(latents), generator=generator)
        loss = denoised_error(transformer, encoders, latents, tokens, logit.sigmoid().to(device), noise).mean()
        norm = learner.update(loss, settings.steps)
        yield {"loss": float(loss.detach()), "gradient": norm}
