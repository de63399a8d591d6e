"""How much each place of a picture attends to each text token, and which tokens are sinks.

In a joint attention the text competes with the picture for the attention of every place; RefAM (arXiv 2509.22650) takes
the share of each text token, averaged over heads, blocks and steps. Three readings are plausible from its figures:

    A   softmax over text and picture, the text's columns
    B   softmax over the text alone, which is A made to sum to one
    C   each text token's row: softmax over text and picture, the picture's columns

At a cross-attention, whose keys are the text's alone, A and B are one, and there are no text rows.

Only text columns are ever kept: places x tokens per block. What A and C need of the rest is one number per row, the log
of the sum of exponentials, computed a few rows at a time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.backbones import Observation, Site
from undertow.base import SettingsError
from undertow.grounding.settings import Reading

# Rows of the picture's own attention that are computed at once, times heads.
ROWS = 1 << 14

# RefAM gives no thresholds; a sink draws this many times the median attention of the text (a) and of the picture (b),
# and about the same from every place: the deviation of its map over the mean of it.
SINK_TEXT, SINK_PICTURE, SINK_DEVIATION = 5.0, 3.0, 0.5


@dataclass(frozen=True)
class TextMaps:
    """What one block says of every text token.

    Attributes:
        shares: Attention of each token at each place by the reading, mean over heads.
        sinks: Which tokens draw much attention from everywhere.
    """

    shares: Float[Tensor, "n s"]
    sinks: Bool[Tensor, " n"]


def read_text(seen: Observation, site: Site, reading: Reading, frame: int = 0) -> TextMaps:
    """Returns the maps of all text tokens at one site.

    Args:
        seen: What a forward showed, with the site among its sites.
        site: A joint or cross-attention.
        reading: See this module.
        frame: Which of the frames seen.

    Raises:
        SettingsError: if the site has no text, or the reading needs rows of it that a cross-attention does not have.
    """
    queries, keys = seen.queries[site.path][frame].float(), seen.keys[site.path][frame].float()
    scale = site.head_dim**-0.5
    if site.kind == "cross":
        if reading == "C":
            raise SettingsError("reading C needs a joint attention, and this model has a cross-attention; choose B")
        shares = (queries @ keys.mT * scale).softmax(-1).mean(0).T
        return TextMaps(shares, find_sinks(shares, None))
    if site.path not in seen.text_keys:
        raise SettingsError(f"'{site.path}' compares no text with the picture; choose a joint or a cross-attention")
    text_queries, text_keys = seen.text_queries[site.path].float(), seen.text_keys[site.path].float()
    columns = queries @ text_keys.mT * scale
    rows = torch.cat([text_queries @ text_keys.mT, text_queries @ keys.mT], dim=-1) * scale
    count = text_keys.shape[1]
    by_text = rows.softmax(-1).mean(0)
    whole = torch.logaddexp(columns.logsumexp(-1), _log_sums(queries, keys, scale))
    full = (columns - whole[..., None]).exp().mean(0).T
    sinks = find_sinks(full, by_text[:, :count])
    if reading == "A":
        return TextMaps(full, sinks)
    if reading == "B":
        return TextMaps(columns.softmax(-1).mean(0).T, sinks)
    return TextMaps(by_text[:, count:], sinks)


def find_sinks(shares: Float[Tensor, "n s"], by_text: Float[Tensor, "n n"] | None) -> Bool[Tensor, " n"]:
    """Returns which tokens draw far more attention than others, and nearly the same from everywhere.

    Args:
        shares: Attention of places (columns) to tokens (rows).
        by_text: Attention of text tokens (rows) to text tokens (columns); `None` at a cross-attention, where the
            picture alone decides.
    """
    drawn = shares.mean(1)
    even = shares.std(1, correction=0) < SINK_DEVIATION * drawn
    sinks = (drawn > SINK_PICTURE * drawn.median()) & even
    if by_text is not None and len(by_text) > 1:
        others = by_text.clone().fill_diagonal_(0).sum(0) / (len(by_text) - 1)
        sinks &= others > SINK_TEXT * others.median()
    return sinks


def mean_maps(maps: Sequence[TextMaps], grids: Sequence[tuple[int, int]]) -> tuple[Float[Tensor, "n h w"], list[int]]:
    """Returns the mean of several blocks' maps on the finest of their grids, and the tokens most of them call sinks.

    Args:
        maps: Of the blocks.
        grids: (height, width) in tokens of each.
    """
    size = max(grids)
    spread = [
        torch.nn.functional.interpolate(each.shares.view(1, -1, *grid), size, mode="bilinear", align_corners=False)[0]
        for each, grid in zip(maps, grids, strict=True)
    ]
    votes = torch.stack([each.sinks for each in maps]).float().mean(0)
    return torch.stack(spread).mean(0), (votes > 0.5).nonzero()[:, 0].tolist()


def combine(
    maps: Float[Tensor, "n h w"], words: Iterable[Sequence[int]], drop: Iterable[int] = (), *, renormalise: bool = False
) -> Float[Tensor, "h w"]:
    """Returns one map for several words: the mean over a word's tokens, summed over words.

    Args:
        maps: Of all tokens.
        words: The tokens of each word.
        drop: Tokens that are left out, such as sinks.
        renormalise: Whether what is left of the text sums to one again at every place (reading B).
    """
    gone = set(drop)
    if renormalise and gone:
        left = [i for i in range(len(maps)) if i not in gone]
        maps = maps / maps[left].sum(0).clamp(min=1e-12)
    total = torch.zeros_like(maps[0])
    for tokens in words:
        if left := [i for i in tokens if i not in gone]:
            total = total + maps[left].mean(0)
    return total


def _log_sums(queries: Float[Tensor, "a s d"], keys: Float[Tensor, "a s d"], scale: float) -> Float[Tensor, "a s"]:
    """Returns the log of the sum of exponentials of every place's logits to all places."""
    step = max(1, ROWS // len(queries))
    return torch.cat([(part @ keys.mT * scale).logsumexp(-1) for part in torch.split(queries, step, dim=1)], dim=1)
