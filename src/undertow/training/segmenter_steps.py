"""One training step of the segmenter: every kind of prompt, clicks that correct what came out, and the losses.

For the first part of training the network sees small crops, as if the rest of its input were not there: tokens,
positions and clicks are those of a window of the full input. That is several times cheaper, and all but the attention
over the whole picture stays the same. The losses are those of Segment Anything (Kirillov et al. 2023, arXiv
2304.02643): focal, dice, and the error of its scores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import SamModel

from undertow.training.learner import Learner
from undertow.training.pictures import SegmentShard
from undertow.training.segmenter_examples import (
    Batch,
    ExampleSettings,
    clicks,
    corrections,
    damaged_logits,
    draw_batch,
    loose_boxes,
)


def focal_loss(
    logits: Float[Tensor, "*n h w"], targets: Float[Tensor, "*n h w"], gamma: float = 2.0
) -> Float[Tensor, "*n"]:
    """Returns the focal loss of each mask (Lin et al. 2017): cross-entropy weighted by (1 - p)^gamma, pixel mean."""
    sign = 2 * targets - 1
    return -((-sign * logits).sigmoid() ** gamma * logsigmoid(sign * logits)).mean((-2, -1))


def dice_loss(logits: Float[Tensor, "*n h w"], targets: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Returns one minus the soft dice coefficient of each mask (Milletari et al. 2016), one pixel added to both."""
    found = logits.sigmoid()
    both = (found * targets).sum((-2, -1))
    return 1 - (2 * both + 1) / (found.sum((-2, -1)) + targets.sum((-2, -1)) + 1)


def overlaps(logits: Float[Tensor, "*n h w"], targets: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Returns the intersection over union of each mask, taken where its logits are positive; 1 if both are empty."""
    found, wanted = logits > 0, targets > 0.5
    union = (found | wanted).sum((-2, -1))
    return torch.where(union > 0, (found & wanted).sum((-2, -1)) / union.clamp(min=1), 1.0)


def balanced_loss(logits: Float[Tensor, "*n h w"], targets: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Returns the cross-entropy of each mask with inside and outside counting the same, whatever their areas."""
    inside, outside = targets.sum((-2, -1)), (1 - targets).sum((-2, -1))
    missed = -(targets * logsigmoid(logits)).sum((-2, -1)) / inside.clamp(min=1)
    added = -((1 - targets) * logsigmoid(-logits)).sum((-2, -1)) / outside.clamp(min=1)
    return (missed + added) / 2


def mask_losses(
    logits: Float[Tensor, "n m h w"], scores: Float[Tensor, "n m"], targets: Float[Tensor, "n h w"], balance: float = 0
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n m"]]:
    """Returns the loss of each prompt, and how good each of its masks really is.

    Of several masks only the best one is held to the target (twenty parts focal, one part dice), so that the others
    may answer what else the prompt could mean. The scores of all of them are held to the true overlap.

    Args:
        logits: Masks that answer each prompt.
        scores: Overlaps that the network expects.
        targets: What was asked for.
        balance: Share, from 0 to 1, of the balanced cross-entropy, which counts four times, in the place of the focal
            loss. Without it a network that knows nothing yet learns first of all that masks are empty, since most
            pixels are outside, and takes long to come back from there.
    """
    wanted = targets[:, None].expand_as(logits)
    each = dice_loss(logits, wanted) + 20 * (1 - balance) * focal_loss(logits, wanted)
    if balance:
        each = each + 4 * balance * balanced_loss(logits, wanted)
    with torch.no_grad():
        quality = overlaps(logits, wanted)
    return each.amin(1) + (scores - quality).square().mean(1), quality


@dataclass(frozen=True)
class SegmenterSettings:
    """How long and on what the segmenter is trained.

    Args:
        steps: Number of steps in all.
        small_steps: Number of first steps on small crops.
        small_side: Side of these crops in pixels, a multiple of a window.
        small_crops: Small crops in a step.
        crops: Whole pictures in a later step.
        rate: Peak learning rate.
        balanced_steps: Over this many first steps the balanced cross-entropy gives way to the focal loss.
        seed: Of all draws.
        examples: How crops and targets are drawn.
    """

    steps: int = 2000
    small_steps: int = 900
    small_side: int = 128
    small_crops: int = 5
    crops: int = 2
    rate: float = 8e-4
    balanced_steps: int = 800
    seed: int = 0
    examples: ExampleSettings = field(default_factory=ExampleSettings)


@dataclass(frozen=True)
class Crop:
    """Embeddings of some crops, and the window of tokens that they stand for.

    Attributes:
        features: Embeddings.
        positions: Encoding of the places of their tokens.
        offset: (x, y) in input pixels of the crops' top left.
    """

    features: Float[Tensor, "b c h w"]
    positions: Float[Tensor, "1 c h w"]
    offset: tuple[int, int]


def embed_crops(model: SamModel, pixels: Float[Tensor, "b 3 s s"], offset: tuple[int, int]) -> Crop:
    """Returns the embeddings of crops that lie at `offset` (x, y) in the input, a multiple of a window's pixels."""
    encoder, patch = model.vision_encoder, model.config.vision_config.patch_size
    side, (left, top) = pixels.shape[-1] // patch, (each // patch for each in offset)
    rows, columns = slice(top, top + side), slice(left, left + side)
    hidden = encoder.patch_embed.projection(pixels).permute(0, 2, 3, 1) + encoder.pos_embed[:, rows, columns]
    for layer in encoder.layers:
        hidden = layer(hidden)
    positions = model.get_image_wide_positional_embeddings()[:, :, rows, columns]
    return Crop(encoder.neck(hidden), positions, offset)


def decode(
    model: SamModel,
    crop: Crop,
    *,
    points: Float[Tensor, "n k 2"] | None = None,
    labels: Int[Tensor, "n k"] | None = None,
    boxes: Float[Tensor, "n 4"] | None = None,
    masks: Float[Tensor, "n half half"] | None = None,
    multimask: bool = False,
) -> tuple[Float[Tensor, "n m half half"], Float[Tensor, "n m"]]:
    """Returns logits and scores of prompts, one for each crop, places being (x, y) in pixels of the crop."""
    place = torch.tensor(crop.offset, device=crop.features.device) - 0.5
    sparse, dense = model.prompt_encoder(
        None if points is None else (points + place)[:, None],
        None if labels is None else labels[:, None],
        None if boxes is None else (boxes + place.repeat(2))[:, None],
        None if masks is None else masks[:, None],
    )
    features = crop.features
    logits, scores = model.mask_decoder(
        image_embeddings=features,
        image_positional_embeddings=crop.positions.expand(len(features), -1, -1, -1),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense[..., : features.shape[2], : features.shape[3]],
        multimask_output=multimask,
    )
    return logits[:, 0].float(), scores[:, 0].float()


def batch_loss(
    model: SamModel, batch: Batch, random: torch.Generator, offset: tuple[int, int] = (0, 0), balance: float = 0.0
) -> tuple[Tensor, dict[str, float]]:
    """Returns the loss of one batch with five targets for each crop, and the mean overlap by kind of prompt.

    * target 1: one click, three masks; then two clicks in the error of the mask that the network itself holds for the
      best, each with the mask before it, one mask;
    * target 2: every second time one click for a whole object, one mask (single masks answer with the whole object),
      and otherwise a box that fits;
    * target 3: two or three clicks, every second time with a damaged mask, as refinement asks; 4: a loose box; 5: a
      damaged mask, with a click every second time.
    """
    device = batch.pixels.device
    wanted = batch.masks
    crop = embed_crops(model, batch.pixels, offset)
    losses: list[Tensor] = []
    facts: dict[str, float] = {}

    def learn(
        name: str, targets: Tensor, logits: Tensor, scores: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        loss, quality = mask_losses(logits, scores, targets, balance)
        losses.append(loss if weights is None else loss * weights)
        chosen = scores.argmax(1)[:, None]
        facts[name] = float(quality.gather(1, chosen).mean())
        found = logits.detach().gather(1, chosen[..., None, None].expand(-1, 1, *logits.shape[2:]))[:, 0]
        return found, chosen

    def on(tensor: Tensor) -> Tensor:
        return tensor.to(device)

    # Prompts are drawn on the CPU, so that they are the same on every device.
    asked = wanted[:, 0]
    solid = asked.cpu() > 0.5
    places = clicks(solid, 1, random)
    signs = torch.ones(places.shape[:2], dtype=torch.int64)
    found, _ = learn("click", asked, *decode(model, crop, points=on(places), labels=on(signs), multimask=True))
    for name in ("clicks2", "clicks3"):
        place, sign = corrections(solid, found.cpu() > 0, random)
        places, signs = torch.cat([places, place], 1), torch.cat([signs, sign], 1)
        answer = decode(model, crop, points=on(places), labels=on(signs), masks=found.clamp(-8, 8))
        found, _ = learn(name, asked, *answer)

    asked = wanted[:, 1]
    if torch.rand((), generator=random) < 0.5:
        places = clicks(asked.cpu() > 0.5, 1, random)
        answer = decode(model, crop, points=on(places), labels=torch.ones(places.shape[:2], device=device).long())
        learn("single", asked, *answer, weights=batch.whole[:, 1].float())
    else:
        learn("fitted", asked, *decode(model, crop, boxes=on(loose_boxes(asked.cpu() > 0.5, 0.0, random))))

    asked = wanted[:, 2]
    places = clicks(asked.cpu() > 0.5, 2 + int(torch.randint(2, (), generator=random)), random)
    signs = torch.ones(places.shape[:2], device=device).long()
    if torch.rand((), generator=random) < 0.5:
        learn("points", asked, *decode(model, crop, points=on(places), labels=signs))
    else:
        damaged = on(damaged_logits(asked.cpu(), random))
        learn("refined", asked, *decode(model, crop, points=on(places), labels=signs, masks=damaged))

    asked = wanted[:, 3]
    learn("box", asked, *decode(model, crop, boxes=on(loose_boxes(asked.cpu() > 0.5, 0.06, random))))

    asked = wanted[:, 4]
    damaged = on(damaged_logits(asked.cpu(), random))
    if torch.rand((), generator=random) < 0.5:
        places = clicks(asked.cpu() > 0.5, 1, random)
        signs = torch.ones(places.shape[:2], device=device).long()
        answer = decode(model, crop, points=on(places), labels=signs, masks=damaged)
    else:
        answer = decode(model, crop, masks=damaged)
    learn("mask", asked, *answer)
    return torch.cat(losses).mean(), facts


def train_segmenter(
    model: SamModel,
    learner: Learner,
    shards: Sequence[SegmentShard],
    settings: SegmenterSettings,
    chances: Float[np.ndarray, " shards"] | None = None,
) -> Iterator[dict[str, float]]:
    """Takes all steps, yielding loss, gradient norm and overlaps; what a step sees depends on its number only.

    `chances` are those of the shards, where they differ.
    """
    device = next(model.parameters()).device
    window = model.config.vision_config.window_size * model.config.vision_config.patch_size
    full = model.config.vision_config.image_size
    while learner.step < settings.steps:
        small = learner.step < settings.small_steps
        side = settings.small_side if small else full
        random = np.random.default_rng((settings.seed, learner.step, 5))
        count = settings.small_crops if small else settings.crops
        batch = draw_batch(shards, random, count, side, settings.examples, chances)
        batch = Batch(batch.pixels.to(device), batch.masks.to(device), batch.whole.to(device))
        left, top = (int(each) * window for each in random.integers((full - side) // window + 1, size=2))
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        with torch.autocast(device.type, torch.bfloat16):
            balance = max(0.0, 1 - learner.step / max(1, settings.balanced_steps))
            loss, facts = batch_loss(model, batch, generator, (left, top), balance)
        norm = learner.update(loss, settings.steps)
        yield {"loss": float(loss.detach()), "norm": norm, **facts}
