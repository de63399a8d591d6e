"""What every backbone can do: conditioning, noise, observations and predictions, and refusals."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.frames import FrameModel
from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.observation import Conditioning, Images, Latents, Observation
from undertow.backbones.reading.edits import Edit, edited
from undertow.backbones.reading.prefix import ConditionedObserver
from undertow.backbones.reading.suffix import Trace
from undertow.backbones.sampling.schedule import NoiseSchedule, add_noise, ddim_inversion
from undertow.base import SettingsError

if TYPE_CHECKING:
    from undertow.backbones.adapters.autoencoder import Autoencoder
    from undertow.backbones.weights.networks import Network


class Backbone(FrameModel):
    """A frozen latent diffusion model, seen as a source of queries and keys.

    Every adapter has all of this; what a family cannot do raises SettingsError with a sentence that says so. Weights
    that were not read at loading are read when a method first needs them. Latents, noise levels and predictions are
    float32; only the networks themselves run in `dtype`. Calls from several threads take turns at the denoiser.

    For its attributes see `StoredModel`.
    """

    partners: tuple["Backbone", ...] = ()

    def __init__(
        self, card: Card, network: "Network", autoencoder: "Autoencoder", schedule: NoiseSchedule | None
    ) -> None:
        """Takes over the denoiser and the autoencoder of its latents, and checks that the sites of `card` exist.

        A network that was trained without noise has no `schedule`.

        Raises:
            SettingsError: if the card's sites are not in the denoiser.
        """
        super().__init__(card, network, autoencoder)
        self._schedule = schedule
        self._texts: dict[str, Conditioning] = {}

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise levels that the model was trained with.

        Raises:
            SettingsError: if it was trained without noise.
        """
        if self._schedule is None:
            raise SettingsError(
                f"'{self.card.name}' was trained without noise, so it cannot denoise, sample or read noisy frames; "
                "leave noising at clean, or give a diffusion model"
            )
        return self._schedule

    @abstractmethod
    def _predict(self, latents: Latents, timestep: int, conditioning: Conditioning) -> Latents:
        """Returns the prediction of one forward, float32."""

    @abstractmethod
    def sites(self, *kinds: str) -> tuple[Site, ...]:
        """Returns the attentions of some kinds in running order, by default those that compare visual tokens."""

    @torch.no_grad()
    def condition(
        self, text: str | None = None, *, images: Images | None = None, size: tuple[int, int] | None = None
    ) -> Conditioning:
        """Returns the conditioning of frames that go together, float32; those of texts are remembered.

        Args:
            text: The text; `None` for the null text.
            images: Frames of the clip, of which an image-to-video model continues the first; others do not look.
            size: (height, width) of the model's input; `None` if the images have it already.

        Raises:
            SettingsError: if the text is longer than the model reads, or it reads none.
            WeightsUnavailable: if the text encoder is needed and not there.
        """
        text = self.card.null_text if text is None else text
        if text not in self._texts:
            self._texts[text] = self._read_text(text)
        if images is None or not self.image_to_video:
            return self._texts[text]
        return self._continuing(self._texts[text], images, size)

    @abstractmethod
    def _read_text(self, text: str) -> Conditioning:
        """Returns what the model reads of a text, on its device."""

    def _continuing(self, states: Conditioning, images: Images, size: tuple[int, int] | None) -> Conditioning:
        """Returns the conditioning on a text and on the first of `images`; models that continue none see the text."""
        return states

    def observe(
        self,
        latents: Latents,
        timestep: int,
        sites: Sequence[Site],
        conditioning: Conditioning | None = None,
        *,
        features: bool = False,
        edits: Sequence[Edit] = (),
        grad: bool = False,
    ) -> Observation:
        """Returns the queries and keys of `sites` in one forward that ends at the last of them.

        Args:
            latents: At the noise level of `timestep`; of a video model those of one clip, in order, at most
                `card.chunk` of them.
            timestep: What the network is given.
            sites: Where to look; all of one stride, since an observation has one grid.
            conditioning: The same for every frame; `None` for the null text.
            features: Whether to keep hidden states too, see `Observation`.
            edits: In force during the forward.
            grad: Whether the observation can be differentiated by latents and conditioning.

        Raises:
            SettingsError: if `sites` is empty, mixes strides, or names no attention of this model, if an edit does not
                fit it, or the clip is too long.
        """
        strides = sorted({site.stride for site in sites})
        if not strides:
            raise SettingsError("no sites are given; observe one or more")
        if len(strides) > 1:
            raise SettingsError(f"sites have the strides {strides}; observe one or more sites of one stride")
        denoiser, states = self._read_for(sites), conditioning or self.condition()
        with self._turn, torch.set_grad_enabled(grad), edited(denoiser, self._fitting(edits)):
            return self._show(denoiser, latents, timestep, sites, states, features)

    @abstractmethod
    def _show(
        self,
        denoiser: Any,
        latents: Latents,
        timestep: int,
        sites: Sequence[Site],
        states: Conditioning,
        features: bool,
    ) -> Observation:
        """Returns what one forward shows at `sites`; the weights are read, and edits in force."""

    @property
    @abstractmethod
    def denoiser_width(self) -> int:
        """Channels of the denoiser's widest activation per latent cell."""

    @property
    def repeats(self) -> int:
        """How many times the network is given each latent frame."""
        return 1

    @property
    def image_to_video(self) -> bool:
        """Whether the model continues a given first frame."""
        return False

    @property
    def any_text_length(self) -> bool:
        """Whether the denoiser reads any number of text states, so that some can be left out or added."""
        return True

    def noise(self, latents: Latents, noising: Noising, frame_indices: Sequence[int]) -> Latents:
        """Returns `latents` with the Gaussian noise of their frames at `noising.timestep`."""
        return add_noise(latents.to(self.device), self.schedule, noising, frame_indices)

    def invert(self, latents: Latents, noising: Noising, conditioning: Conditioning | None = None) -> Latents:
        """Returns `latents` carried to `noising.timestep` by the reverse of deterministic sampling.

        There is no guidance: one conditional pass per step, with the null text unless `conditioning` is given.
        """
        return ddim_inversion(
            latents.to(self.device), lambda x, t: self.denoise(x, t, conditioning), self.schedule, noising
        )

    def prepare(
        self, latents: Latents, noising: Noising, frame_indices: Sequence[int], conditioning: Conditioning | None = None
    ) -> Latents:
        """Returns clean `latents` as they should be observed at `noising.timestep`, by whichever way it names."""
        if noising.kind == "invert":
            return self.invert(latents, noising, conditioning)
        if noising.kind == "noise":
            return self.noise(latents, noising, frame_indices)
        return latents.to(self.device)

    @torch.no_grad()
    def denoise(
        self, latents: Latents, timestep: int, conditioning: Conditioning | None = None, *, edits: Sequence[Edit] = ()
    ) -> Latents:
        """Returns the denoiser's prediction (noise, velocity or flow, see `card.prediction`), float32.

        Latents, conditioning and edits are those of `observe`.

        Raises:
            SettingsError: if an edit does not fit the model, or a clip is too long for it.
        """
        conditioning = conditioning or self.condition()
        with self._turn, edited(self.denoiser, self._fitting(edits)):
            return self._predict(latents, timestep, conditioning)

    def denoise_clips(
        self, latents: Float[Tensor, "b f c h w"], timestep: int, states: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions for several clips, each with the states of a text, float32; for training too.

        Raises:
            SettingsError: if the model sees no clips, or is of a kind that is not fine-tuned here.
        """
        raise SettingsError(f"the frames of '{self.card.name}' do not see each other; give a video model")

    def _fitting(self, edits: Sequence[Edit]) -> Sequence[Edit]:
        """Returns edits as the modules of this family take them."""
        return edits

    def observer(
        self,
        latents: Float[Tensor, "1 c h w"],
        timestep: int,
        sites: Sequence[Site],
        *,
        features: bool = False,
        compiled: bool = False,
        recomputed: bool = False,
    ) -> ConditionedObserver:
        """Returns queries and keys of one frame as a differentiable function of many conditionings.

        Latents are those of one frame at the noise level of `timestep`; no gradient goes into them. For the options see
        `ConditionedObserver`.

        Raises:
            SettingsError: if a site is no attention of this model, or its frames see each other.
        """
        raise SettingsError(
            f"frames of '{self.card.name}' see each other, so that none can be tuned alone; use an image model"
        )

    def trace(
        self,
        latents: Latents,
        timestep: int,
        conditioning: Conditioning | None = None,
        *,
        sites: Sequence[Site] = (),
        block: str | None = None,
    ) -> Trace:
        """Returns one forward remembered, to be run again from a block of the decoder or under its own attention.

        Latents are at the noise level of `timestep`; of a video model those of one clip. For sites and block see
        `Trace`.

        Raises:
            SettingsError: if the denoiser is no UNet, or a site or the block is not in it.
        """
        raise SettingsError(
            f"'{self.card.name}' is no UNet, and only the decoder of a UNet can be pushed; use quality turbo"
        )

    def to_x0_eps(self, prediction: Latents, latents: Latents, timestep: int) -> tuple[Latents, Latents]:
        """Returns the (clean latents, noise) that `prediction` for `latents` at `timestep` stands for."""
        return self.schedule.split(prediction, latents, self.schedule.level(timestep))
