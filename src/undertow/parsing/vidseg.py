"""Coarse labels of VidSeg and EmerDiff: every token has the class of the labelled tokens that are most like it.

VidSeg (arXiv 2405.16947), supplementary and released code: one batch after the other: features, labels by the nearest
tokens of the anchors and the batch before, agreement along correspondences.

EmerDiff (Namekata et al., 2024) as VidSeg compares with it: every frame is clustered by itself. How clusters of a
video's frames were named there is not published; here a cluster has the class that most of its tokens would have of
their nearest anchor tokens.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.base import SettingsError
from undertow.masks import LabelMap
from undertow.observing.observer import Observer
from undertow.parsing.anchors import majority, nearest_labels, token_labels
from undertow.parsing.clusters import kmeans
from undertow.parsing.features import TokenFeatures, extract_tokens, follow, vote
from undertow.parsing.neighbours import Labelled, NearestNeighbours, find_new, usual_distance, widened
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.settings import ResolvedParse
from undertow.video import Frame

# Frames that are searched for new classes together; `novelty` was chosen with so many, by
# benchmarks/quality/parse_novelty.py.
GROUP = 4


class TokenLabeller:
    """Labels tokens by those of anchors and of batches before; without anchors, by the clusters of the first batch.

    Args:
        observer: What shows the model the frames.
        resolved: The run's numbers.
        ids: Classes of the anchors; empty if there are none.
    """

    def __init__(self, observer: Observer, resolved: ResolvedParse, ids: Sequence[int] = ()) -> None:
        self.observer, self.resolved, self.settings = observer, resolved, resolved.settings
        self.ids = tuple(ids)
        self.anchored = bool(ids)
        self.anchors: Labelled | None = None
        self.learned: frozenset[int] = frozenset()
        self.previous: Labelled | None = None
        self.usual: float | None = None
        self._last: tuple[tuple[int, ...], TokenFeatures] | None = None

    def learn(self, frames: Sequence[Frame], anchors: Mapping[int, LabelMap]) -> None:
        """Remembers the tokens of anchors for good, those of a batch's frames at once."""
        new = {index: labels for index, labels in anchors.items() if index not in self.learned}
        if not new:
            return
        tokens = self._observe(frames).tokens
        for place, (targets, known) in self._anchor_labels(frames, tokens, new).items():
            known = known.to(tokens.device)
            rows = Labelled(tokens[place][known], targets.to(tokens.device)[known])
            self.anchors = rows if self.anchors is None else self.anchors + rows
        self.learned |= new.keys()

    @torch.no_grad()
    def label(
        self, frames: Sequence[Frame], anchors: Mapping[int, LabelMap], *, backwards: bool = False
    ) -> CoarseBatch:
        """Returns the labels of a batch's tokens, and remembers them for the next batch."""
        settings, grid = self.settings, self.resolved.grid
        seen = self._observe(frames)
        self.learn(frames, anchors)
        # Tokens that were clustered themselves are not unlike all clusters.
        discover = not backwards and (not self.anchored if settings.discover is None else settings.discover)
        if self.anchors is None and self.previous is None:
            self._cluster(seen.tokens, frames[0].index)
            discover = False
        soft = self._discovering(seen.tokens) if discover else self._classified(seen.tokens)[0]
        soft = self._given(frames, anchors, soft)
        if settings.agree:
            soft = vote(soft, follow(seen.correspond, grid, settings.tau))
            soft = self._given(frames, anchors, soft)
        self._remember(seen.tokens, soft, frames[0].index)
        images = [frame.image for frame in frames]
        maps = soft.reshape(*soft.shape[:2], *grid)
        return CoarseBatch([frame.index for frame in frames], images, maps, self.ids)

    def _observe(self, frames: Sequence[Frame]) -> TokenFeatures:
        """Returns the features of a batch; those of the last one are kept."""
        indices = tuple(frame.index for frame in frames)
        if self._last is None or self._last[0] != indices:
            images = [frame.image for frame in frames]
            self._last = indices, extract_tokens(self.observer, images, indices, self.resolved)
        return self._last[1]

    def _anchor_labels(
        self, frames: Sequence[Frame], tokens: Float[Tensor, "f s c"], anchors: Mapping[int, LabelMap]
    ) -> dict[int, tuple[Float[Tensor, "s m"], Bool[Tensor, " s"]]]:
        """Returns, by place in the batch, the labels of anchors' tokens and which are known."""
        places = {frame.index: place for place, frame in enumerate(frames)}
        grid = self.resolved.grid
        if self.settings.anchor_grid:
            return {places[i]: token_labels(labels, self.ids, grid) for i, labels in anchors.items()}
        assigned = self._partition(tokens).reshape(len(tokens), -1)
        found = {}
        for index, labels in anchors.items():
            targets, known = nearest_labels(labels, self.ids, grid)
            found[places[index]] = majority(assigned[places[index]].cpu(), targets, known)
        return found

    def _partition(self, tokens: Float[Tensor, "f s c"]) -> Tensor:
        """Returns the cluster of every token of a batch, end to end."""
        points, wanted = tokens.flatten(0, 1), self.settings.clusters
        if wanted > len(points):
            raise SettingsError(
                f"clusters is {wanted}, but the first batch has {len(points)} tokens; give fewer, or a larger size"
            )
        return kmeans(points, wanted, seed=self.settings.seed).assigned

    def _cluster(self, tokens: Float[Tensor, "f s c"], first: int) -> None:
        """Makes classes of the clusters of the first batch, whose first frame has number `first`."""
        assigned = self._partition(tokens)
        self.ids = tuple(range(int(assigned.max()) + 1))
        one_hot = torch.nn.functional.one_hot(assigned, len(self.ids)).float()
        rows, seed = Labelled(tokens.flatten(0, 1), one_hot), (self.settings.seed, first)
        self.previous = rows.sampled(self.settings.carried_tokens, seed)

    def _classified(self, tokens: Float[Tensor, "f s c"]) -> tuple[Float[Tensor, "f m s"], Float[Tensor, "f s"]]:
        """Returns the classes of a batch's tokens, and how far they are from those that are labelled."""
        parts = [part for part in (self.anchors, self.previous) if part is not None]
        known = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        nearest = NearestNeighbours(known.tokens, widened(known.targets, len(self.ids)), self.settings.neighbours)
        labels, distances = nearest(tokens.flatten(0, 1))
        shape = tokens.shape[:2]
        return labels.reshape(*shape, -1).transpose(1, 2), distances.reshape(shape)

    def _discovering(self, tokens: Float[Tensor, "f s c"]) -> Float[Tensor, "f m s"]:
        """Returns the classes of a batch's tokens, new ones among them, some frames after the other.

        What moves on through a batch is soon unlike what was labelled before it, though it is nothing new; so each
        few frames are also compared with those before them.
        """
        before, parts = self.previous, []
        for group in torch.split(tokens, GROUP):
            soft = self._discovered(group, *self._classified(group))
            parts.append(soft)
            classes = torch.nn.functional.one_hot(soft.argmax(1), len(self.ids)).float()
            rows = Labelled(group.flatten(0, 1), classes.flatten(0, 1))
            self.previous = rows if self.previous is None else self.previous + rows
        self.previous = before
        return torch.cat([widened(soft.transpose(1, 2), len(self.ids)).transpose(1, 2) for soft in parts])

    def _discovered(
        self, tokens: Float[Tensor, "f s c"], soft: Float[Tensor, "f m s"], distances: Float[Tensor, "f s"]
    ) -> Float[Tensor, "f m s"]:
        """Returns labels in which tokens unlike all that are labelled have new classes."""
        if self.usual is None:
            self.usual = usual_distance(tokens[0], self.settings.neighbours)
        least = self.settings.novelty * self.usual
        new = find_new(tokens, distances, least, self.resolved.grid, seed=self.settings.seed)
        count = int(new.max()) + 1
        if not count:
            return soft
        first = max(self.ids) + 1
        self.ids = (*self.ids, *range(first, first + count))
        soft = widened(soft.transpose(1, 2), len(self.ids))
        unlike = new >= 0
        soft[unlike] = torch.nn.functional.one_hot(len(self.ids) - count + new[unlike], len(self.ids)).to(soft)
        return soft.transpose(1, 2)

    def _given(
        self, frames: Sequence[Frame], anchors: Mapping[int, LabelMap], soft: Float[Tensor, "f m s"]
    ) -> Float[Tensor, "f m s"]:
        """Returns labels in which those of anchors are as given."""
        soft = soft.clone()
        for place, frame in enumerate(frames):
            if frame.index in anchors:
                targets, known = token_labels(anchors[frame.index], self.ids, self.resolved.grid)
                soft[place][:, known] = targets[known].T.to(soft)
        return soft

    def _remember(self, tokens: Float[Tensor, "f s c"], soft: Float[Tensor, "f m s"], first: int) -> None:
        """Keeps the batch's tokens with their likeliest classes."""
        classes = torch.nn.functional.one_hot(soft.argmax(1), len(self.ids)).float()
        rows = Labelled(tokens.flatten(0, 1), classes.flatten(0, 1))
        self.previous = rows.sampled(self.settings.carried_tokens, (self.settings.seed, first))

    def state(self) -> dict[str, Tensor]:
        """Returns what later batches' labels depend on."""
        tensors = {
            "ids": torch.tensor(self.ids, dtype=torch.int64),
            "learned": torch.tensor(sorted(self.learned), dtype=torch.int64),
        }
        if self.usual is not None:
            tensors["usual"] = torch.tensor(self.usual, dtype=torch.float64)
        for name, rows in (("anchors", self.anchors), ("previous", self.previous)):
            if rows is not None:
                tensors |= {f"{name}.tokens": rows.tokens.cpu(), f"{name}.targets": rows.targets.cpu()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""

        def rows(name: str) -> Labelled | None:
            if f"{name}.tokens" not in tensors:
                return None
            parts = (tensors[f"{name}.{part}"].to(self.observer.backbone.device) for part in ("tokens", "targets"))
            return Labelled(*parts)

        self.ids = tuple(int(i) for i in tensors["ids"])
        self.learned = frozenset(int(i) for i in tensors["learned"])
        self.usual = float(tensors["usual"]) if "usual" in tensors else None
        self.anchors, self.previous = rows("anchors"), rows("previous")


class FramewiseLabeller(TokenLabeller):
    """Clusters frames one by one; without anchors, the numbers of two frames' clusters have nothing in common."""

    @torch.no_grad()
    def label(
        self, frames: Sequence[Frame], anchors: Mapping[int, LabelMap], *, backwards: bool = False
    ) -> CoarseBatch:
        """Returns the cluster of each token, one-hot, or its cluster's class."""
        seen = self._observe(frames)
        self.learn(frames, anchors)
        soft = torch.stack([self._labelled(tokens) for tokens in seen.tokens])
        soft = self._given(frames, anchors, soft)
        maps = soft.reshape(*soft.shape[:2], *self.resolved.grid)
        return CoarseBatch([f.index for f in frames], [f.image for f in frames], maps, self.ids)

    def _labelled(self, tokens: Float[Tensor, "s c"]) -> Float[Tensor, "m s"]:
        """Returns the labels of one frame's tokens, one-hot."""
        # A frame cannot have more clusters than tokens, and has as many then.
        count = min(self.settings.clusters, len(tokens))
        assigned = kmeans(tokens, count, seed=self.settings.seed).assigned
        if self.anchors is None:
            self.ids = tuple(range(count))
            return torch.nn.functional.one_hot(assigned, len(self.ids)).float().T
        named = self._classified(tokens[None])[0][0].T
        return majority(assigned.cpu(), named.cpu(), torch.ones(len(tokens), dtype=torch.bool))[0].to(tokens).T
