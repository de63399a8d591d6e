"""EmerDiff's coarse labels: every frame is clustered by itself; with anchors, each cluster is named by theirs.

Source: EmerDiff (Namekata et al., 2024) as VidSeg compares with it. How clusters of a video's frames were named there
is not published; here a cluster has the class that most of its tokens would have of their nearest anchor tokens.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.masks import LabelMap
from undertow.parsing.anchors import majority
from undertow.parsing.clusters import kmeans
from undertow.parsing.counting import count_clusters
from undertow.parsing.labellers.vidseg import TokenLabeller
from undertow.parsing.protocols import CoarseBatch
from undertow.video import Frame


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
        wanted, seed = self.settings.clusters, self.settings.seed
        # A frame cannot have more clusters than tokens, and has as many then.
        count = count_clusters(tokens, seed=seed) if wanted == "auto" else min(wanted, len(tokens))
        assigned = kmeans(tokens, count, seed=seed).assigned
        if self.anchors is None:
            # Frames may have different numbers of clusters, but a batch has one number of channels.
            self.ids = tuple(range(max(len(self.ids), 40 if wanted == "auto" else count)))
            return torch.nn.functional.one_hot(assigned, len(self.ids)).float().T
        named = self._classified(tokens[None])[0][0].T
        return majority(assigned.cpu(), named.cpu(), torch.ones(len(tokens), dtype=torch.bool))[0].to(tokens).T
