"""Asking a fine-tuned generator: frames and a text in, how surely every pixel is what the text names out.

One forward of the whole denoiser, without a sampler and without guidance, says what the latents of the masks are; the
decoder makes a picture of them (REM, arXiv 2410.23287).
"""

import logging

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones import Backbone, Noising
from undertow.backbones.fine_tuning import FineTuning
from undertow.backbones.observation import Images, Latents
from undertow.backbones.reading.sizes import resize
from undertow.base import SettingsError

log = logging.getLogger(__name__)


class MaskGenerator:
    """A fine-tuned model at work on windows of one video.

    Attributes:
        about: How the model was fine-tuned.
        size: (height, width) in pixels that frames are shown at.
    """

    def __init__(self, backbone: Backbone, size: tuple[int, int], seed: int = 0) -> None:
        """Takes a model that was fine-tuned to answer with masks.

        Raises:
            SettingsError: if it was not.
        """
        if backbone.fine_tuning is None:
            raise SettingsError(
                f"'{backbone.card.name}' was not fine-tuned to answer with masks; give a folder that "
                "`undertow train rem` made, or use --method refam"
            )
        self.about: FineTuning = backbone.fine_tuning
        self.size = size
        self._backbone, self._seed = backbone, seed

    @torch.no_grad()
    def encode(self, images: Images) -> Latents:
        """Returns the clean latents of a window; the last frame is repeated until the model reads as many.

        Args:
            images: RGB frames of one size.
        """
        autoencoder = self._backbone.autoencoder
        missing = -(len(images) - 1) % autoencoder.frames_per_latent
        shown = images if images.shape[1:3] == self.size else resize(images, self.size)
        pixels = torch.tensor(shown, device=self._backbone.device).movedim(-1, 1).float()
        pixels = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
        return autoencoder.encode_clip(pixels / 127.5 - 1)

    def read(self, text: str) -> Float[Tensor, "n d"]:
        """Returns the states of a text as they were in training; says so where a text is too long and is cut."""
        states, cut = self.about.fitted(self._backbone.condition(text).tensor)
        if cut:
            log.warning("'%s' is longer than the %d tokens that are read; the rest is cut off", text, len(states))
        return states

    @torch.no_grad()
    def answer(self, video: Latents, states: Float[Tensor, "n d"], first: int = 0) -> Latents:
        """Returns the latents of the masks of one text.

        Args:
            video: Latents of a window.
            states: Of the text.
            first: Number of the window's first frame, which the noise of the latents depends on, if they get any.
        """
        given = noised(self._backbone, self.about, video, range(first, first + len(video)), self._seed)
        prediction = predicted(self._backbone, self.about, given[None], states[None])[0]
        return self.about.masks_of(prediction, video)

    @torch.no_grad()
    def scores(self, masks: Latents, frames: int) -> Float[Tensor, "t h w"]:
        """Returns how far each pixel is from outside (0) to inside (1), see `FineTuning.threshold`.

        Args:
            masks: Latents of the masks of a window.
            frames: Frames of the window; those that were repeated are skipped.
        """
        return self.about.scores_of(self._backbone.autoencoder.decode_clip(masks)[:frames])


def predicted(
    backbone: Backbone, about: FineTuning, video: Float[Tensor, "b f c h w"], states: Float[Tensor, "b n d"]
) -> Float[Tensor, "b f c h w"]:
    """Returns what a fine-tuned denoiser predicts for some windows of equal length, one for each text.

    On a sheet, a clip of fewer frames than the model was trained on is filled up with its last one; a single frame is a
    picture as it is.
    """
    if not about.sheet:
        return backbone.denoise_clips(video, about.timestep, states)
    frames = video.shape[1]
    if 1 < frames < about.window:
        video = torch.cat([video, video[:, -1:].expand(-1, about.window - frames, -1, -1, -1)], dim=1)
    sheet = video.transpose(1, 2).flatten(2, 3)[:, None]
    # Every frame brings a text of its own, or the picture's tokens would outnumber it in the softmax.
    predictions = backbone.denoise_clips(sheet, about.timestep, states.repeat(1, video.shape[1], 1))[:, 0]
    return torch.stack(predictions.chunk(video.shape[1], dim=2), dim=1)[:, :frames]


def noised(backbone: Backbone, about: FineTuning, video: Latents, numbers: range, seed: int) -> Latents:
    """Returns latents with the noise of timestep 0, if the model was trained with it; `numbers` are the latents'."""
    if about.t0_noise == "none":
        return video
    return backbone.noise(video, Noising(kind="noise", timestep=0, steps_grid=(0,), seed=seed), list(numbers))
