"""What reading words in a picture takes on the published shapes of FLUX and Stable Diffusion 3, without weights.

    python benchmarks/speed/words_cost.py > words.md

Networks are built on the "meta" device, which computes shapes and counts operations. One picture of 1024x1024 and 24
tokens of text (words, magnets and ends) are read at the card's sites, and the maps of each are made (reading B, with
its sinks). Beside it is a step of a stock pipeline that keeps the whole attention of the same blocks, as tools do that
replace attention processors.
"""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from undertow.backbones import Conditioning, get_card, random_backbone
from undertow.backbones.published import ARCHITECTURES
from undertow.grounding.reading import read_text

MODELS = ("flux.1-schnell", "flux.2-klein-4b", "sd-3-medium", "sd-3.5-large")
SIDE, TEXT = 1024, 24
BFLOAT16, FLOAT32 = 2, 4


@dataclass(frozen=True)
class Cost:
    """What one picture takes.

    Attributes:
        read: Operations of the forward that ends at the last site, and of the maps.
        whole: Operations of a whole forward.
        columns: Bytes of the text's columns of all sites, every head, while they are made.
        shown: Bytes of the queries and keys that the forward shows.
        full: Bytes of the whole attention of the same blocks.
        weights: Bytes of the weights that are read of the transformer.
        all_weights: Bytes of all of its weights.
    """

    read: int
    whole: int
    columns: int
    shown: int
    full: int
    weights: int
    all_weights: int


def measure(name: str, side: int = SIDE, text: int = TEXT) -> Cost:
    """Returns the cost of one model for a square picture of `side` pixels and `text` tokens."""
    card = get_card(name)
    backbone = random_backbone(card, device="meta", dtype=torch.bfloat16)
    sites, shapes = card.places("refer"), ARCHITECTURES[name]
    cells = side // backbone.stride
    latents = torch.empty(1, backbone.channels, cells, cells, device="meta")
    states = Conditioning(
        torch.empty(text, shapes.text[1], device="meta"), "text", "", torch.empty(shapes.pooled, device="meta")
    )
    with FlopCounterMode(display=False) as read:
        seen = backbone.observe(latents, 500, sites, states)
        for site in sites:
            read_text(seen, site, "B")
    with FlopCounterMode(display=False) as whole:
        backbone.denoise(latents, 500, states)
    tokens, heads = seen.grid[0] * seen.grid[1], sites[0].heads
    return Cost(
        read=read.get_total_flops(),
        whole=whole.get_total_flops(),
        columns=len(sites) * heads * tokens * text * FLOAT32,
        shown=sum(each.nbytes for kept in (seen.queries, seen.keys) for each in kept.values()),
        full=len(sites) * heads * (tokens + text) ** 2 * BFLOAT16,
        weights=backbone.parts(sites)["denoiser"],
        all_weights=backbone.parts()["denoiser"],
    )


def text_encoders() -> dict[str, int]:
    """Returns the bytes of the published encoders as they are loaded: T5-XXL in bfloat16, CLIP-L in float32."""
    t5 = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_layers": 24, "num_heads": 64, "vocab_size": 32128}
    clip = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    with torch.device("meta"):
        networks = {
            "T5-XXL": (T5EncoderModel(T5Config(**t5, feed_forward_proj="gated-gelu")), BFLOAT16),
            "CLIP-L": (CLIPTextModel(CLIPTextConfig(**clip)), FLOAT32),
        }
    return {
        name: size * sum(each.numel() for each in network.parameters()) for name, (network, size) in networks.items()
    }


def main() -> None:
    """Prints both tables as Markdown."""
    print("| model | operations, of a whole step | columns | queries and keys | full maps | weights, of all |")
    print("|---|---|---|---|---|---|")
    for name in MODELS:
        cost = measure(name)
        print(
            f"| `{name}` | {cost.read / 1e12:.1f} of {cost.whole / 1e12:.1f} T | {cost.columns / 1e6:.0f} MB "
            f"| {cost.shown / 1e6:.0f} MB | {cost.full / 1e6:.0f} MB "
            f"| {cost.weights / 1e9:.1f} of {cost.all_weights / 1e9:.1f} GB |"
        )
    for name, size in text_encoders().items():
        print(f"\n{name}: {size / 1e9:.2f} GB", end="")
    print()


if __name__ == "__main__":
    main()
