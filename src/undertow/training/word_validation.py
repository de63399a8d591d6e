"""How well a transformer that is being trained grounds words: the share of points inside the named object.

Held-out calm scenes and worlds, expressions of what the first picture shows. A model's score is that of its best block,
reading and noise level; nothing else about it is chosen by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast

from undertow.backbones import Observation, Site
from undertow.grounding.reading import TextMaps, combine, read_text
from undertow.grounding.settings import Reading, magnets_for
from undertow.grounding.words import parse_expression
from undertow.training.video_clips import encode_frames
from undertow.training.word_architecture import read_captions
from undertow.training.word_denoiser import denoised_error, padded
from undertow.world import FAMILIES, FIRST_VALIDATION_SEED, Scene, scene_expressions
from undertow.world.calm import calm_scene

# Far from the seeds by which `tiny` and `tiny-video` are validated.
FIRST_SCENE = FIRST_VALIDATION_SEED + 20_000
READINGS: tuple[Reading, ...] = ("A", "B", "C")


@dataclass(frozen=True)
class WordValidation:
    """What is looked at.

    Args:
        calm: Number of calm scenes.
        worlds: Number of scenes of each family that shows its objects at once.
        families: Those families.
        expressions: Most expressions of a scene.
        size: (height, width) of the pictures in pixels.
        sigmas: Noise levels.
        kinds: Kinds of expression; all that an expression speaks of must be among them.
    """

    calm: int = 30
    worlds: int = 10
    families: tuple[str, ...] = ("plain", "light", "deformation")
    expressions: int = 3
    size: tuple[int, int] = (96, 160)
    sigmas: tuple[float, ...] = (0.2, 0.4)
    kinds: tuple[str, ...] = ("shape", "texture", "colour", "size")


@dataclass(frozen=True)
class WordScene:
    """A picture's scaled latent, and expressions with the masks of what they name."""

    sort: str
    latent: Float[Tensor, "1 4 h w"]
    expressions: tuple[tuple[str, Bool[np.ndarray, "H W"]], ...]


def validation_words(validation: WordValidation, vae: AutoencoderKL) -> list[WordScene]:
    """Returns the scenes; those of which no expression is left are dropped."""
    height, width = validation.size
    scenes: list[tuple[str, Scene]] = []
    for number in range(validation.calm):
        scenes.append(("calm", calm_scene(FIRST_SCENE + number, validation.size)))
    for index, name in enumerate(validation.families):
        family = FAMILIES[name]
        settings = replace(family.settings, height=height, width=width, leaves=50)
        first = FIRST_SCENE + 1000 * (index + 1)
        scenes += [("worlds", family.build(first + number, settings)) for number in range(validation.worlds)]
    found = []
    for sort, scene in scenes:
        picture = scene.picture(0.0)
        latent = torch.from_numpy(encode_frames(vae, np.stack([picture.image]))).float() * vae.config.scaling_factor
        named = [
            (each.text, np.isin(picture.labels, each.labels))
            for each in scene_expressions(scene, 6, frames=2)
            if set(each.kinds) <= set(validation.kinds) and len(each.labels) == 1
        ]
        if named:
            order = np.random.default_rng(scene.seed).permutation(len(named))[: validation.expressions]
            found.append(WordScene(sort, latent, tuple(named[int(i)] for i in order)))
    return found


@torch.no_grad()
def word_maps(
    transformer: SD3Transformer2DModel,
    latent: Float[Tensor, "1 4 h w"],
    states: Float[Tensor, "1 n c"],
    sigma: float,
    readings: Sequence[Reading] = READINGS,
) -> dict[tuple[int, Reading], TextMaps]:
    """Returns what each block says of the text tokens by each reading, from one forward of a noised latent."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(latent.shape, generator=generator)
    kept: dict[str, Tensor] = {}
    handles = []
    for number, block in enumerate(transformer.transformer_blocks):
        for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            module = getattr(block.attn, name)
            handles.append(
                module.register_forward_hook(lambda _, __, out, to=f"{number}.{name}": kept.__setitem__(to, out[0]))
            )
    try:
        transformer(
            hidden_states=(1 - sigma) * latent + sigma * noise,
            encoder_hidden_states=states,
            pooled_projections=latent.new_zeros(1, transformer.config.pooled_projection_dim),
            timestep=torch.tensor([1000 * sigma]),
        )
    finally:
        for handle in handles:
            handle.remove()
    grid = (latent.shape[2] // 2, latent.shape[3] // 2)
    maps = {}
    for number, block in enumerate(transformer.transformer_blocks):
        site = Site(str(number), "joint", block.attn.heads, kept[f"{number}.norm_q"].shape[-1], 8)
        seen = Observation(
            {str(number): kept[f"{number}.norm_q"][None]},
            {str(number): kept[f"{number}.norm_k"][None]},
            {},
            grid,
            8,
            {str(number): kept[f"{number}.norm_added_q"]},
            {str(number): kept[f"{number}.norm_added_k"]},
        )
        for reading in readings:
            maps[number, reading] = read_text(seen, site, reading)
    return maps


@torch.no_grad()
def expression_states(
    encoders: Sequence[CLIPTextModelWithProjection], tokenizer: CLIPTokenizerFast, text: str, magnets: int = 5
) -> tuple[Float[Tensor, "1 n c"], list[list[int]]]:
    """Returns the states of an expression and of magnets behind it, and the tokens of each word that counts."""
    expression = parse_expression(text)
    read = tokenizer(expression.text, return_offsets_mapping=True)
    spans = read["offset_mapping"]
    words = [
        [i for i, (start, end) in enumerate(spans) if start < word.end and end > word.start] for word in expression.kept
    ]
    parts = [read_captions(encoders, torch.tensor([read["input_ids"]]))]
    for magnet in magnets_for(expression.text, magnets):
        parts.append(read_captions(encoders, torch.tensor([tokenizer(magnet)["input_ids"]]))[:, 1:])
    return torch.cat(parts, dim=1), words


@torch.no_grad()
def validate_words(
    transformer: SD3Transformer2DModel,
    encoders: Sequence[CLIPTextModelWithProjection],
    tokenizer: CLIPTokenizerFast,
    scenes: Sequence[WordScene],
    validation: WordValidation,
) -> dict[str, float]:
    """Returns point accuracies in [0, 1], by "sort sigma block reading"."""
    hits: dict[str, list[bool]] = {}
    for scene in scenes:
        for text, mask in scene.expressions:
            states, words = expression_states(encoders, tokenizer, text)
            for sigma in validation.sigmas:
                for (block, reading), maps in word_maps(transformer, scene.latent, states, sigma).items():
                    rows = scene.latent.shape[2] // 2
                    heat = combine(maps.shares.unflatten(1, (rows, -1)), words, renormalise=reading == "B")
                    place = int(heat.argmax())
                    y, x = place // heat.shape[1] * 8 + 4, place % heat.shape[1] * 8 + 4
                    hits.setdefault(f"{scene.sort} {sigma} {block} {reading}", []).append(bool(mask[y, x]))
    return {name: float(np.mean(each)) for name, each in hits.items()}


@torch.no_grad()
def text_gain(
    transformer: SD3Transformer2DModel,
    encoders: Sequence[CLIPTextModelWithProjection],
    tokenizer: CLIPTokenizerFast,
    scenes: Sequence[WordScene],
    sigma: float = 0.8,
) -> dict[str, float]:
    """Returns the error with each scene's own expressions as its caption, and with those of the next scene."""
    latents = torch.cat([scene.latent for scene in scenes])
    captions = [", ".join(text for text, _ in scene.expressions) for scene in scenes]
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    levels = torch.full((len(scenes),), sigma)
    errors = {}
    for name, turned in (("own", 0), ("other", 1)):
        ids = tokenizer([*captions[turned:], *captions[:turned]])["input_ids"]
        error = denoised_error(transformer, encoders, latents, padded(ids, tokenizer), levels, noise)
        errors[name] = float(error.mean())
    return errors
