"""The adapter of ModelScope's text-to-video model: a UNet that sees clips, with temporal layers beside the spatial."""

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.base import Backbone
from undertow.backbones.adapters.unet import STAGES, ImageUNet
from undertow.backbones.observation import Conditioning, Latents
from undertow.base import SettingsError


class ClipUNet(ImageUNet):
    """A frozen text-to-video model whose frames see each other: the latents of one call are a clip."""

    observer = Backbone.observer

    def denoise_clips(
        self, latents: Float[Tensor, "b f c h w"], timestep: int, states: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions for several clips, see `Backbone.denoise_clips`."""
        clips, texts = (each.to(self.device, self.dtype) for each in (latents, states))
        output: Tensor = self.denoiser(clips.movedim(1, 2), timestep, texts, return_dict=False)[0]
        return output.float().movedim(1, 2)

    def _predict(self, latents: Latents, timestep: int, conditioning: Conditioning) -> Latents:
        if not 1 <= len(latents) <= self.card.chunk:
            raise SettingsError(
                f"{len(latents)} frames are given, and '{self.card.name}' sees 1 to {self.card.chunk} together; "
                "split the clip"
            )
        states = conditioning.tensor.to(self.device, self.dtype)[None]
        clip = latents.to(self.device, self.dtype).movedim(0, 1)[None]
        output: Tensor = self._network.module(clip, timestep, states, return_dict=False)[0]
        return output[0].float().movedim(0, 1)

    def _predict_copies(self, copies: Latents, clip: int, timestep: int, states: Conditioning) -> Latents:
        return torch.cat([self._predict(each, timestep, states) for each in copies.split(clip)])

    def _place(self, name: str) -> tuple[float, ...]:
        """Returns the stage of a module and its block: spatial and temporal layers of a block take turns."""
        first, *rest = name.split(".")
        stage = STAGES.get(first, 0)
        return (stage,) if stage in (0, 4) else (stage, 0 if first == "mid_block" else int(rest[0]))
