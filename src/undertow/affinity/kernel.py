"""The sparse cross-frame kernel: which tokens of the reference frames each token takes its label from.

DRIFT's default order (Kim et al., 2025, section 4 and its supplement): softmax of each head over all keys of one
reference, heads mixed by weights, square window, the k largest over all references jointly, renormalised.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from undertow.affinity.logits import dense_denominators, prepare
from undertow.affinity.settings import KernelSettings
from undertow.affinity.windows import TileRow, gather, tile_rows
from undertow.base import SettingsError


@dataclass(frozen=True)
class Affinity:
    """One frame's sparse kernel over named references.

    Attributes:
        indices: For every token its k sources, reference * tokens + token of that reference.
        weights: Their weights; they sum to 1 if the settings renormalise.
        mass: Share of the kernel that was kept before renormalising, in [0, 1]. Under a normalised scope it is the
            sum of kept weights over what all references could give; under "none" and "survivors" it is the mean of
            exp(logit - best possible logit) of what was kept, the best being that of equal vectors (for "dot", whose
            logits have no such bound, that of the strongest match).
    """

    indices: Int[Tensor, "s k"]
    weights: Float[Tensor, "s k"]
    mass: Float[Tensor, "s"]

    def apply(self, labels: Float[Tensor, "r n s"]) -> Float[Tensor, "n s"]:
        """Returns the labels carried over: for every token the weighted sum of its sources' soft labels."""
        flat = labels.transpose(1, 2).reshape(-1, labels.shape[1])
        return torch.einsum("sk,skn->ns", self.weights, flat[self.indices])


@torch.no_grad()
def compute_affinity(
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    grid: tuple[int, int],
    settings: KernelSettings,
    head_weights: Float[Tensor, "a"] | None = None,
) -> Affinity:
    """Returns the kernel of one frame over its references.

    Only windows are scored, tile by tile and one reference at a time, so memory does not depend on the number of
    references and never reaches tokens squared. Under the "reference" scope the dense denominators are computed block
    by block. Inputs of any float type are scored in float32.

    Args:
        queries: Of the frame; tokens are row-major on `grid`.
        references: Keys of each reference on the same grid, the first being frame 0.
        grid: (height, width) in tokens.
        settings: Order and constants.
        head_weights: Non-negative weight of each head, normalised here to sum to 1; all equal if None.

    Raises:
        SettingsError: if shapes, grid or head weights do not fit.
    """
    _check(queries, references, grid, head_weights)
    heads, tokens, _ = queries.shape
    weights = torch.ones(heads) if head_weights is None else head_weights.float()
    weights = (weights / weights.sum()).to(queries.device)
    queries = queries.float()
    references = [keys.float() for keys in references]

    best = _Best(tokens, settings, 1 if settings.topk_stage == "mixed" else heads, queries.device)
    joint = _joint_denominators(queries, references, grid, settings) if settings.softmax_scope == "joint" else None
    for number, keys in enumerate(references):
        q, k = prepare(queries, keys, settings)
        denominators = dense_denominators(q, k) if settings.softmax_scope == "reference" else joint
        best.start_reference()
        for row in tile_rows(grid, _radius(settings, number), settings.window, queries.device):
            scores = _scores(q, k, row, denominators, weights, settings)
            best.offer(scores, row, offset=number * tokens)
    return best.finish(len(references))


def _logits(q: Float[Tensor, "a s e"], k: Float[Tensor, "a s e"], row: TileRow) -> Float[Tensor, "tiles a m n"]:
    """Returns the logits of a row of tiles, minus infinity outside the windows."""
    logits = gather(q, row.queries) @ gather(k, row.keys).transpose(-1, -2)
    if row.allowed is not None:
        logits.masked_fill_(~row.allowed[:, None], -torch.inf)
    return logits


def _scores(
    q: Float[Tensor, "a s e"],
    k: Float[Tensor, "a s e"],
    row: TileRow,
    denominators: Float[Tensor, "a s"] | None,
    weights: Float[Tensor, "a"],
    settings: KernelSettings,
) -> Float[Tensor, "tiles b m n"]:
    """Returns what keys are ranked by: weights in [0, 1], or logits; b is 1, or the number of heads before mixing."""
    logits = _logits(q, k, row)
    shape = (1, -1, 1, 1)
    mixed = settings.topk_stage == "mixed"
    if not settings.logarithmic:
        if denominators is None:
            chances = logits.softmax(dim=-1)
        else:
            chances = logits.sub_(gather(denominators[..., None], row.queries)).exp_()
        chances = chances.mul_(weights.view(shape))
        return chances.sum(dim=1, keepdim=True) if mixed else chances
    if not mixed:
        return logits + weights.log().view(shape)
    if logits.shape[1] == 1:
        return logits
    if settings.softmax_scope == "none":
        return torch.logsumexp(logits + weights.log().view(shape), dim=1, keepdim=True)
    # A head of weight 0 must not turn "outside the window" into "not a number".
    return logits.mul_(weights.view(shape)).nan_to_num_(nan=0.0).sum(dim=1, keepdim=True)


def _joint_denominators(
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    grid: tuple[int, int],
    settings: KernelSettings,
) -> Float[Tensor, "a s"]:
    """Returns the log-sum-exp of every query over the windows of all references together."""
    total = queries.new_full(queries.shape[:2], -torch.inf)
    for number, keys in enumerate(references):
        q, k = prepare(queries, keys, settings)
        own = torch.empty_like(total)
        for row in tile_rows(grid, _radius(settings, number), settings.window, queries.device):
            # Tiles at the far edges repeat tokens of their neighbours, with the same sums, so these may overwrite.
            own[:, row.queries] = torch.logsumexp(_logits(q, k, row), dim=-1).transpose(0, 1)
        total = torch.logaddexp(total, own)
    return total


class _Best:
    """The best sources of each token so far, merged reference by reference."""

    def __init__(self, tokens: int, settings: KernelSettings, kernels: int, device: torch.device):
        self.settings = settings
        self.device = device
        self.tokens = tokens
        self.kernels = kernels
        self._kept: list[tuple[Tensor, Tensor]] = []

    def start_reference(self) -> None:
        """Makes room for the best of another reference."""
        shape = (self.kernels, self.tokens, self.settings.topk)
        empty = 0.0 if not self.settings.logarithmic else -torch.inf
        values = torch.full(shape, empty, device=self.device)
        indices = torch.zeros(shape, dtype=torch.int64, device=self.device)
        self._kept.append((values, indices))
        if self.settings.topk_scope == "joint" and len(self._kept) == 3:
            self._merge()

    def offer(self, scores: Float[Tensor, "tiles b m n"], row: TileRow, offset: int) -> None:
        """Takes the k best of each query in a row of tiles."""
        values, indices = self._kept[-1]
        count = min(self.settings.topk, scores.shape[-1])
        top, place = scores.topk(count, dim=-1, sorted=False)
        keys = row.keys[:, None, None, :].expand(-1, scores.shape[1], scores.shape[2], -1).gather(-1, place) + offset
        values[:, row.queries, :count] = top.transpose(0, 1)
        indices[:, row.queries, :count] = keys.transpose(0, 1)

    def _merge(self) -> None:
        """Reduces the first two sets to the k best of both."""
        (first, first_at), (second, second_at) = self._kept[:2]
        values, at = torch.cat([first, second], dim=-1), torch.cat([first_at, second_at], dim=-1)
        top, place = values.topk(self.settings.topk, dim=-1)
        self._kept[:2] = [(top, at.gather(-1, place))]

    def finish(self, references: int) -> Affinity:
        """Returns the kernel: weights from what was kept, over heads and references."""
        if self.settings.topk_scope == "joint":
            while len(self._kept) > 1:
                self._merge()
        # Heads and references side by side: (kernels, tokens, k) each -> (tokens, kernels * k).
        values = torch.cat([v for v, _ in self._kept], dim=-1).transpose(0, 1).flatten(1)
        indices = torch.cat([i for _, i in self._kept], dim=-1).transpose(0, 1).flatten(1)
        largest = values.amax(dim=1, keepdim=True)
        if self.settings.logarithmic:
            weights = (values - largest).exp()
            best = {"cosine": 1 / self.settings.temperature, "distance": 0.0}.get(self.settings.similarity)
            strongest = torch.ones_like(largest) if best is None else (largest - best).clamp(max=0).exp()
            mass = strongest[:, 0] * weights.mean(dim=1)
            if not self.settings.renormalise:
                weights = values.exp()
        else:
            weights = values
            mass = values.sum(dim=1) / (1 if self.settings.softmax_scope == "joint" else references)
        if self.settings.renormalise:
            # Where nothing has any weight, nothing is carried; a frame never divides by zero.
            weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        return Affinity(indices, weights, mass)


def _radius(settings: KernelSettings, number: int) -> int | None:
    return None if number == 0 and settings.first_frame_unrestricted else settings.radius


def _check(
    queries: Float[Tensor, "a s d"],
    references: Sequence[Float[Tensor, "a s d"]],
    grid: tuple[int, int],
    head_weights: Float[Tensor, "a"] | None,
) -> None:
    """Raises `SettingsError` for inputs that do not belong together."""
    if not references:
        raise SettingsError("no reference frames were given; give at least one")
    if grid[0] * grid[1] != queries.shape[1]:
        raise SettingsError(f"a grid of {grid[0]}x{grid[1]} has {grid[0] * grid[1]} tokens, not {queries.shape[1]}")
    for keys in references:
        if keys.shape != queries.shape:
            raise SettingsError(f"keys of shape {tuple(keys.shape)} do not match queries of {tuple(queries.shape)}")
    if head_weights is not None:
        if head_weights.shape != queries.shape[:1]:
            raise SettingsError(f"{head_weights.numel()} head weights were given for {queries.shape[0]} heads")
        if bool((head_weights < 0).any()) or not float(head_weights.sum()) > 0:
            raise SettingsError("head weights must not be negative, and at least one must be above 0")
