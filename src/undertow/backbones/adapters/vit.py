"""The adapter of vision transformers, such as DINO: patch tokens in; queries, keys, values and hidden states out.

It cannot denoise, sample or read a text, and takes frames as they are, without noise.

Sites have names of their own, the same for every class of transformers: `blocks.3.attn` is an attention, whose queries
and keys are those that it compares (rotated, where positions are); `blocks.3` the hidden states that leave a block;
`blocks.3.query`, `blocks.3.key` and `blocks.3.value` the projections with all heads side by side; `norm` what the last
block gives after the final norm. All are of the patch tokens: class and register tokens, which stand before these, are
left out.
"""

import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import transformers
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.base import Backbone
from undertow.backbones.adapters.pixels import Pixels
from undertow.backbones.cards.card import Card, Site
from undertow.backbones.observation import Conditioning, Latents, Observation
from undertow.backbones.reading.capture import SeenAll, until_seen
from undertow.backbones.reading.edits import Edit
from undertow.backbones.weights.networks import Network, StoredWeights, quiet
from undertow.base import SettingsError, WeightsUnavailable

# What config.json calls the networks that are read, and the classes of transformers that run them.
KINDS = {
    "vit": "ViT",
    "dinov2": "Dinov2",
    "dinov2_with_registers": "Dinov2WithRegisters",
    "dinov3_vit": "DINOv3ViT",
    "radio": "Radio",
}
# What versions of transformers call the projections.
PROJECTIONS = {"query": ("q_proj", "query"), "key": ("k_proj", "key"), "value": ("v_proj", "value")}
_BLOCK = re.compile(r"(?:^|\.)(?:layers?|blocks)\.(\d+)(?:\.|$)")


class VisionTransformer(Backbone):
    """A frozen vision transformer; frames of a batch do not see each other."""

    def __init__(self, card: Card, network: Network, pixels: Pixels) -> None:
        """Takes over the network, and what frames are normalised by, as every `Backbone` does."""
        self._blocks = next(each for each in network.module.modules() if isinstance(each, torch.nn.ModuleList))
        super().__init__(card, network, pixels, None)

    @property
    def multiple(self) -> int:
        """Pixels per side of a patch: positions fit any number of these."""
        return int(self._network.module.config.patch_size)

    @property
    def denoiser_width(self) -> int:
        """Channels of the widest activation, that of a feed-forward layer, per pixel."""
        return -(-4 * int(self._network.module.config.hidden_size) // self.multiple**2)

    def sites(self, *kinds: str) -> tuple[Site, ...]:
        """Returns the sites of `kinds` ("self", "block") in running order, by default "self", which are attentions."""
        found = vit_sites(self._network.module)
        return tuple(site for site in found if site.kind in (kinds or ("self",)))

    def _read_text(self, text: str) -> Conditioning:
        if text != self.card.null_text:
            raise SettingsError(f"'{self.card.name}' sees images and no text; give a model of images and text")
        return Conditioning(torch.zeros(1, 1), "null", text)

    def _predict(self, latents: Latents, timestep: int, conditioning: Conditioning) -> Latents:
        # What it has none of says so.
        return self.to_x0_eps(latents, latents, timestep)[0]

    def _fitting(self, edits: Sequence[Edit]) -> Sequence[Edit]:
        if edits:
            raise SettingsError(f"'{self.card.name}' is no diffusion model, and its forward cannot be changed")
        return ()

    def _place(self, name: str) -> tuple[float, ...]:
        """Returns when a weight or site is used: patches and positions, then block after block, then the last norm."""
        if found := _BLOCK.search(name):
            return (1, int(found[1]))
        return (2,) if name.split(".")[0] in ("norm", "layernorm", "pooler") else (0,)

    def _module_at(self, site: Site) -> Any:
        """Returns the attention, block, projection or norm of a site."""
        block, _, part = site.path.removeprefix("blocks.").partition(".")
        found: Any = None
        if site.path == "norm":
            found = _final_norm(self._network.module)
        elif site.path.startswith("blocks.") and block.isdecimal() and int(block) < len(self._blocks):
            layer: Any = self._blocks[int(block)]
            own = {"": layer, "attn": layer.attention}
            own |= {name: _projection(layer.attention, name) for name in PROJECTIONS}
            found = own.get(part)
        if found is None or (site.kind == "self") != (part == "attn"):
            raise SettingsError(f"'{self.card.name}' has no site '{site.path}' of kind {site.kind}; check the site")
        config = self._network.module.config
        heads = int(config.num_attention_heads) if site.kind == "self" else 1
        expected = (heads, int(config.hidden_size) // heads)
        if (site.heads, site.head_dim) != expected:
            raise SettingsError(
                f"site {site.path} has {expected[0]} heads of {expected[1]} in this model, "
                f"not {site.heads} of {site.head_dim}"
            )
        return found

    def _show(
        self,
        denoiser: Any,
        latents: Latents,
        timestep: int,
        sites: Sequence[Site],
        states: Conditioning,
        features: bool,
    ) -> Observation:
        grid = latents.shape[2] // self.multiple, latents.shape[3] // self.multiple
        tokens = grid[0] * grid[1]
        queries: dict[str, Float[Tensor, "f a s d"]] = {}
        keys: dict[str, Float[Tensor, "f a s d"]] = {}
        hidden: dict[str, Float[Tensor, "f s c"]] = {}
        known, wanted = set[str](), {site.path for site in sites}

        def know(path: str) -> None:
            known.add(path)
            if known == wanted:
                raise SeenAll

        with ExitStack() as stack:
            for site in sites:
                module = self._module_at(site)
                if site.kind == "self":

                    def attend(
                        attention: Any, args: tuple[Tensor, ...], named: Mapping[str, Any], site: Site = site
                    ) -> None:
                        seen = args[0] if args else named["hidden_states"]
                        projected = [_projection(attention, each)(seen) for each in ("query", "key")]
                        heads = [_split(each, site.head_dim) for each in projected]
                        if (turns := named.get("position_embeddings")) is not None:
                            heads = _rotated(attention, *heads, *turns)
                        queries[site.path], keys[site.path] = (each[:, :, -tokens:] for each in heads)
                        know(site.path)

                    if features:
                        block = self._blocks[int(site.path.split(".")[1])]

                        def enter(_: Any, args: tuple[Tensor, ...], path: str = site.path) -> None:
                            hidden[path] = args[0][:, -tokens:]

                        stack.callback(block.register_forward_pre_hook(enter).remove)
                    stack.callback(module.register_forward_pre_hook(attend, with_kwargs=True).remove)
                else:

                    def leave(_: Any, __: Any, output: Tensor, path: str = site.path) -> None:
                        hidden[path] = output[:, -tokens:]
                        know(path)

                    stack.callback(module.register_forward_hook(leave).remove)
            options = {"interpolate_pos_encoding": True} if denoiser.config.model_type == "vit" else {}
            until_seen(lambda: denoiser(latents.to(self.device, self.dtype), **options), wanted, known)
        return Observation(queries, keys, hidden, grid, self.multiple)


def vit_sites(module: Any) -> list[Site]:
    """Returns every site of a vision transformer in running order."""
    config = module.config
    heads, width, patch = int(config.num_attention_heads), int(config.hidden_size), int(config.patch_size)
    sites = []
    for block in range(int(config.num_hidden_layers)):
        sites.append(Site(f"blocks.{block}.attn", "self", heads, width // heads, patch))
        parts = [*(f".{name}" for name in PROJECTIONS), ""]
        sites += [Site(f"blocks.{block}{part}", "block", 1, width, patch) for part in parts]
    if _final_norm(module) is not None:
        sites.append(Site("norm", "block", 1, width, patch))
    return sites


def vit_network(
    config: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    find: Callable[[Any], StoredWeights] | None = None,
    where: str = "",
) -> Network:
    """Returns the network that a configuration describes: random, or one of which nothing has been read yet.

    Its weights are what `find` returns for the network without them; errors call their origin `where`.

    Raises:
        SettingsError: if it is of another kind than the adapter reads.
        WeightsUnavailable: if it cannot be built.
    """
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise SettingsError(f"{where} holds a network of type '{kind}'; undertow reads {', '.join(KINDS)}")
    if not isinstance(config.get("patch_size", 16), int):
        raise SettingsError(f"{where} has patches that are not square; give a model with square ones")
    options = {"add_pooling_layer": False} if kind == "vit" else {}
    try:
        settings = getattr(transformers, f"{KINDS[kind]}Config")(**config)
        with quiet(), torch.device("meta") if find else device:
            module = getattr(transformers, f"{KINDS[kind]}Model")(settings, **options)
    except Exception as error:  # a configuration can be wrong in as many ways as the libraries have lines
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 160)
        raise WeightsUnavailable(
            f"{where} describes no network that can be built ({reason}); give another model"
        ) from error
    # Angles are float32 whatever the weights are.
    module._keep_in_fp32_modules = ("rope_embeddings", "input_conditioner")
    if find is None:
        return Network(module, device, dtype)
    stored = find(module)
    _restore(module, stored)
    return Network(module, device, dtype, stored, where)


def _restore(module: Any, stored: StoredWeights) -> None:
    """Makes what no file holds: tables of rotation, and scales that a class has and its models do not."""
    for part in module.modules():
        for name, table in [*part.named_buffers(recurse=False)]:
            if table.is_meta and name in part._non_persistent_buffers_set:
                setattr(part, name, getattr(type(part)(module.config), name))
    for pattern in module._keys_to_ignore_on_load_missing or ():
        for name, weight in [*module.named_parameters()]:
            if re.search(pattern, name) and name not in stored:
                owner, _, own = name.rpartition(".")
                value = torch.full(weight.shape, float(module.config.layerscale_value))
                setattr(module.get_submodule(owner), own, torch.nn.Parameter(value))


def _final_norm(module: Any) -> Any:
    return getattr(module, "norm", None) or getattr(module, "layernorm", None)


def _projection(attention: Any, name: str) -> Any:
    wanted = PROJECTIONS[name]
    return next(part for path, part in attention.named_modules() if path.rpartition(".")[2] in wanted)


def _split(projected: Float[Tensor, "f s c"], head_dim: int) -> Float[Tensor, "f a s d"]:
    return projected.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def _rotated(attention: Any, *heads_and_turns: Tensor) -> list[Tensor]:
    """Returns queries and keys turned by the function that the attention itself uses."""
    return list(sys.modules[type(attention).__module__].apply_rotary_pos_emb(*heads_and_turns))
