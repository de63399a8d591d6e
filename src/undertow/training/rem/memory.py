"""What fine-tuning a published generator holds in memory, by part, from shapes alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from undertow.backbones import get_card, random_backbone
from undertow.base import SettingsError
from undertow.training.rem.settings import RemSettings, Trained
from undertow.training.rem.weights import choose_weights

FLOAT, HALF = 4, 2
# Of one block, in numbers per token and width: inputs of the norms, queries, keys, values, what attention and its
# projection return, the same of the text's attention, and the feed-forward layer's two, which are wider.
KEPT = 14
CARDS = (24, 48, 80)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that training holds, by part.

    Attributes:
        parts: Bytes by what holds them.
        trained: Number of weights that are trained.
        frozen: Number of weights that are not.
    """

    parts: Mapping[str, int]
    trained: int
    frozen: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts.values())

    @property
    def cards(self) -> tuple[int, ...]:
        """Sizes of GPUs in GB that it fits, with a tenth of them left for what was not counted."""
        return tuple(size for size in CARDS if self.total <= 0.9 * size * 10**9)

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it, as plain values."""
        return {**asdict(self), "total": self.total, "cards": list(self.cards)}


def training_memory(model: str, settings: RemSettings, clips: int = 1, processes: int = 1) -> TrainingMemory:
    """Returns what training a published model takes on one GPU, latents and states of texts being kept on disk.

    Trained weights are float32, with gradient, two moments and a moving average; frozen ones are bfloat16. Nothing
    is allocated.

    Args:
        model: Name of a card whose architecture is published, such as `wan2.1-1.3b`.
        settings: Of the training; batch sizes do not count.
        clips: Clips of a step on this GPU.
        processes: GPUs that share the weights; each step gathers them block by block.

    Raises:
        SettingsError: if no architecture is known for it, or it is no video transformer.
    """
    card = get_card(model)
    if card.family != "dit" or card.chunk == 1:
        raise SettingsError(f"'{model}' is no video transformer, whose memory is known; give one such as wan2.1-1.3b")
    backbone = random_backbone(card, device="meta")
    denoiser = backbone._network.module
    choose_weights(denoiser, settings)
    trained = sum(each.numel() for each in denoiser.parameters() if each.requires_grad)
    frozen = sum(each.numel() for each in denoiser.parameters() if not each.requires_grad)
    width, layers, inner = _shape(denoiser.config)
    latents = 1 + -(-(settings.frames - 1) // backbone.autoencoder.frames_per_latent)
    tokens = clips * latents * (settings.size[0] // backbone.multiple) * (settings.size[1] // backbone.multiple)
    block = HALF * tokens * (KEPT * width + 2 * inner)
    parts = {
        "trained weights": FLOAT * trained // processes,
        "their gradients": FLOAT * trained // processes,
        "moments of AdamW": 2 * FLOAT * trained // processes,
        "moving average": FLOAT * trained // processes,
        "frozen weights": HALF * frozen // processes,
        # Recomputed block by block, only their inputs are held, and one block whole.
        "activations": HALF * tokens * width * layers + block if settings.checkpointing else block * layers,
    }
    if processes > 1:
        # The block that runs and the next one, and the gradients of one.
        parts["gathered blocks"] = (2 * (FLOAT * trained + HALF * frozen) + FLOAT * trained) // layers
    return TrainingMemory(parts, trained, frozen)


def memory_of_kinds(
    model: str, settings: RemSettings, clips: int = 1, processes: int = 1
) -> dict[str, tuple[TrainingMemory, TrainingMemory]]:
    """Returns what each kind of weights takes to train, as it is and with activations recomputed."""
    kinds = {kind: replace(settings, train=kind) for kind in get_args(Trained)}
    return {
        kind: (
            training_memory(model, replace(each, checkpointing=False), clips, processes),
            training_memory(model, replace(each, checkpointing=True), clips, processes),
        )
        for kind, each in kinds.items()
    }


def _shape(config: Mapping[str, int]) -> tuple[int, int, int]:
    """Returns width, number of blocks and width inside the feed-forward layers of a transformer."""
    width = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    return width, int(config["num_layers"]), int(config.get("ffn_dim") or 4 * width)
