"""What tuning optimises and what it is judged by: a frame's masks carried within the frame, and to altered copies."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones import Backbone, Conditioning
from undertow.base import SettingsError
from undertow.masks import LabelMap, soft_one_hot
from undertow.tracking.settings import ResolvedSettings, observer_of
from undertow.tracking.tuning.attention import carry_per_head
from undertow.tracking.tuning.fused import CLAMP as CLAMP
from undertow.tracking.tuning.fused import cross_entropy, self_loss
from undertow.tracking.tuning.settings import TuningSettings
from undertow.tracking.tuning.views import altered_views, soft_iou


class FrameView:
    """A frame, or an altered copy, with its masks on the token grid: queries and keys under any conditioning.

    Args:
        backbone: The model.
        image: At its native size.
        index: Frame number, which seeds the noise.
        masks: Soft label of each object per token.
        resolved: The run's settings.
        compiled: Whether the network's blocks are compiled.
        recomputed: Whether they trade time for memory.

    Attributes:
        reached: Whether the conditioning can change the queries and keys.
        heads: Number of heads, those of all sites side by side.
    """

    def __init__(
        self,
        backbone: Backbone,
        image: UInt8[np.ndarray, "h w 3"],
        index: int,
        masks: Float[Tensor, "o s"],
        resolved: ResolvedSettings,
        *,
        compiled: bool = False,
        recomputed: bool = False,
    ) -> None:
        source = resolved.preset.source
        if source not in ("attention", "features"):
            raise SettingsError(f"preset '{resolved.preset.name}' uses no model, so nothing can be tuned; use drift")
        self._hidden = source == "features"
        observer = observer_of(backbone, resolved)
        noisy = observer.noise(observer.encode([image], [index]), [index])
        self._sites = observer.sites
        self._observer = backbone.observer(
            noisy,
            resolved.noising.timestep,
            observer.sites,
            features=self._hidden,
            compiled=compiled,
            recomputed=recomputed,
        )
        self.masks = masks.to(backbone.device, torch.float32)
        self.reached = self._observer.reached
        self.heads = 1 if self._hidden else sum(site.heads for site in self._sites)

    def see(self, states: Float[Tensor, "o tokens dim"]) -> tuple[Float[Tensor, "o a s d"], Float[Tensor, "o a s d"]]:
        """Returns the frame's queries and keys under each conditioning, float32."""
        seen = self._observer(states)
        if self._hidden:
            values = seen.features[self._sites[0].path].float()[:, None]
            return values, values
        queries, keys = (
            torch.cat([each[site.path] for site in self._sites], dim=1).float() for each in (seen.queries, seen.keys)
        )
        return queries, keys


class Objective:
    """The masks of one frame as a loss and, from altered copies, as a score.

    Args:
        backbone: The model.
        image: The frame.
        index: Its number.
        labels: Its label map.
        ids: The objects to tune.
        resolved: The run's settings.
        settings: How to tune.
    """

    def __init__(
        self,
        backbone: Backbone,
        image: UInt8[np.ndarray, "h w 3"],
        index: int,
        labels: LabelMap,
        ids: Sequence[int],
        resolved: ResolvedSettings,
        settings: TuningSettings,
    ) -> None:
        self.resolved, self.settings = resolved, settings
        masks = soft_one_hot(labels, ids, resolved.grid, mode=resolved.first_labels)[1:].flatten(1)
        how = {"compiled": settings.compiled, "recomputed": settings.recomputed}
        self.frame = FrameView(backbone, image, index, masks, resolved, **how)
        count = len(masks) if settings.together is None and backbone.device.type != "cpu" else settings.together
        self._together = count or 1
        self._views: list[FrameView] = []
        if settings.held_out:
            whole = torch.stack([torch.from_numpy(labels == object_id).float() for object_id in ids])
            for picture, seen in altered_views(image, whole, settings.seed):
                small = functional.adaptive_avg_pool2d(seen, resolved.grid).flatten(1)
                self._views.append(FrameView(backbone, picture, index, small, resolved))

    def heads(self, states: Float[Tensor, "o tokens dim"]) -> Float[Tensor, "o a s"]:
        """Returns every head's self-propagated masks under each object's conditioning."""
        queries, keys = self.frame.see(states)
        return carry_per_head(
            queries,
            keys,
            self.frame.masks[:, None],
            self.resolved.kernel,
            exclude_self=self.settings.exclude_self,
        )[:, :, 0]

    def losses(self, per_head: Float[Tensor, "o a s"], head_weights: Float[Tensor, "o a"]) -> Float[Tensor, "o"]:
        """Returns each object's binary cross-entropy: heads mixed, averaged over tokens (DRIFT, equations 4 and 5)."""
        return cross_entropy((per_head * head_weights[..., None]).sum(1), self.frame.masks)

    def descend(
        self, states: Float[Tensor, "o tokens dim"], head_weights: Float[Tensor, "o a"]
    ) -> tuple[Float[Tensor, "o"], tuple[Float[Tensor, "o tokens dim"], Float[Tensor, "o a"]]]:
        """Returns the losses of `heads` under each object's conditioning, and their gradients by both, some at a time.

        Objects do not influence each other, so a few in memory give the same as all at once.
        """
        parts = []
        for place in range(0, len(states), self._together):
            rows = slice(place, place + self._together)
            mine, weights = (each[rows].detach().requires_grad_() for each in (states, head_weights))
            with torch.enable_grad():
                losses = self.losses_of(mine, weights, self.frame.masks[rows])
                found = torch.autograd.grad(losses.sum(), (mine, weights), allow_unused=True, materialize_grads=True)
            parts.append((losses.detach(), *found))
        losses, to_states, to_weights = (torch.cat(each) for each in zip(*parts, strict=True))
        return losses, (to_states, to_weights)

    def losses_of(
        self,
        states: Float[Tensor, "o tokens dim"],
        head_weights: Float[Tensor, "o a"],
        masks: Float[Tensor, "o s"] | None = None,
    ) -> Float[Tensor, "o"]:
        """Returns the losses of `heads` under each object's conditioning, in one sweep with their gradients.

        Args:
            states: Of the objects.
            head_weights: Of the objects.
            masks: Of the objects, if they are not all.
        """
        queries, keys = self.frame.see(states)
        masks = self.frame.masks if masks is None else masks
        kernel, exclude_self = self.resolved.kernel, self.settings.exclude_self
        return self_loss(queries, keys, masks, head_weights, kernel, exclude_self=exclude_self)

    @torch.no_grad()
    def held_out(self, states: Float[Tensor, "o tokens dim"], head_weights: Float[Tensor, "o a"]) -> Float[Tensor, "o"]:
        """Returns how well the frame's masks are carried to its altered copies: soft IoU, averaged over these.

        Copies in which an object is hardly to be seen say nothing of it.
        """
        _, keys = self.frame.see(states)
        scores, counts = torch.zeros(2, len(states), device=states.device)
        for view in self._views:
            queries, _ = view.see(states)
            per_head = carry_per_head(queries, keys, self.frame.masks[:, None], self.resolved.kernel)[:, :, 0]
            found = (per_head * head_weights[..., None]).sum(1)
            shown = (view.masks.sum(-1) >= 0.25 * self.frame.masks.sum(-1)).float()
            scores, counts = scores + shown * soft_iou(found, view.masks), counts + shown
        return scores / counts.clamp(min=1)


def stacked(
    start: Conditioning | Sequence[Conditioning], count: int, device: torch.device
) -> Float[Tensor, "o tokens dim"]:
    """Returns the states of one conditioning once per object, or of one for each, as numbers of their own."""
    each = [start] * count if isinstance(start, Conditioning) else start
    return torch.stack([one.tensor.to(device, torch.float32) for one in each])
