"""The weights of a model, of which only what is needed is read, and what tells them from others."""

import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from undertow.backbones.cards.card import Card, Site
from undertow.backbones.reading.capture import attention_at

if TYPE_CHECKING:
    from torch import Tensor

    from undertow.backbones.adapters.autoencoder import Autoencoder
    from undertow.backbones.fine_tuning import FineTuning
    from undertow.backbones.weights.networks import Network

# Numbers of each tensor that a fingerprint is made of.
HEAD = 1000


class StoredModel(ABC):
    """A denoiser, read as far as its sites are asked for, and its autoencoder.

    Attributes:
        card: What is known of the model.
        device: Where the weights are.
        dtype: Number type of the weights.
        autoencoder: Of the denoiser's latents.
        partners: Further models whose similarities are added to this one's, see `undertow.tracking.fusion`.
        projection: The principal directions of its hidden states, see `undertow.backbones.projection`; `None` if it has
            none.
        fine_tuning: How it was fine-tuned to answer with masks; `None` if it was not.
    """

    partners: tuple["StoredModel", ...] = ()
    projection: "Tensor | None" = None
    fine_tuning: "FineTuning | None" = None
    fine_tuned_digest = ""

    # Beginnings of the names of weights that no fingerprint looks at.
    _unprinted: tuple[str, ...] = ()

    def __init__(self, card: Card, network: "Network", autoencoder: "Autoencoder") -> None:
        self.card = card
        self.device, self.dtype = network.device, network.dtype
        self.autoencoder, self._network = autoencoder, network
        self._turn = threading.RLock()
        # How far the denoiser has been read, as `_place` counts.
        self._loaded: tuple[float, ...] = (-2,)
        for site in (site for sites in card.sites.values() for site in sites):
            self._module_at(site)

    @abstractmethod
    def _place(self, name: str) -> tuple[float, ...]:
        """Returns when a weight or module of the denoiser is first used, in an order that compares."""

    def _module_at(self, site: Site) -> Any:
        """Returns the module of the denoiser that a site is.

        Raises:
            SettingsError: if there is none, or it differs from its description.
        """
        return attention_at(self._network.module, site)

    @property
    def denoiser(self) -> Any:
        """The network that holds the attentions by their site paths, with all of its weights."""
        self.read()
        return self._network.module

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self.autoencoder.channels

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        return self.autoencoder.stride

    @property
    def encoder_width(self) -> int:
        """Channels of the autoencoder at full resolution, the widest activation of an observation per pixel."""
        return self.autoencoder.width

    def parts(self, sites: Sequence[Site] | None = None) -> Mapping[str, int]:
        """Returns the bytes of the weights that are loaded now, by network; of the denoiser what `sites` take."""
        last = None if sites is None else self._reach(sites)
        denoiser = self._network.nbytes(None if last is None else lambda name: self._place(name) <= last)
        partners = {f"partner {each.card.name}": sum(each.parts().values()) for each in self.partners}
        return {"denoiser": denoiser, "autoencoder": self.autoencoder.network.nbytes(), **partners}

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that tell this model's weights from others, however much of it is loaded.

        They are of the first thousand numbers of every tensor: quick for gigabytes, and enough to notice other
        training, another precision or another model. Of tensors that are not loaded only these numbers are read.
        """
        learned = "" if self.fine_tuning is None else f"{self.fine_tuning} {self.fine_tuned_digest}"
        digest = hashlib.sha256((self._identity() + learned).encode())
        for network in (self._network, self.autoencoder.network):
            for name, shape, dtype, head in network.heads(HEAD):
                if name.startswith(self._unprinted):
                    continue
                digest.update(f"{name} {shape} {dtype}".encode())
                digest.update(head.double().cpu().numpy().tobytes())
        for partner in self.partners:
            digest.update(partner.fingerprint().encode())
        return digest.hexdigest()[:16]

    def _identity(self) -> str:
        """Returns what else than weights makes another model of this one."""
        return ""

    def read(self, sites: Sequence[Site] | None = None) -> None:
        """Reads the weights that observing `sites` needs, or all of the denoiser's, unless they were read before.

        Raises:
            SettingsError: if a site is no attention of this model.
            WeightsUnavailable: if they are missing, damaged or not finite.
        """
        wanted = (inf,) if sites is None else self._reach(sites)
        with self._turn:
            if wanted > self._loaded:
                self._network.read(lambda name: self._place(name) <= wanted)
                self._loaded = wanted

    def _reach(self, sites: Sequence[Site]) -> tuple[float, ...]:
        """Returns the place of the last of `sites`."""
        for site in sites:
            self._module_at(site)
        return max((self._place(site.path) for site in sites), default=(-1,))

    def _read_for(self, sites: Sequence[Site]) -> Any:
        """Returns the denoiser with the weights that observing `sites` needs."""
        self.read(sites)
        return self._network.module
