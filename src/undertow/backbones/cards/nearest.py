"""Cards for models that have none: that of a known network of the same shape, or one that reads a likely place."""

from collections.abc import Sequence
from dataclasses import replace

from undertow.backbones.cards.card import Card, Family, Prediction, Site
from undertow.backbones.cards.card_file import get_card, list_cards
from undertow.backbones.cards.features import feature_card
from undertow.backbones.cards.transformers import GRID, IMAGE_GRID, transformer_card
from undertow.base import SettingsError

# Frames that REM lets a text-to-video UNet see together; the network itself takes any number.
CLIP = 72


def nearest_card(
    name: str,
    family: Family,
    prediction: Prediction,
    latent_stride: int,
    sites: Sequence[Site],
    size: tuple[int, int] | None = None,
    *,
    images: bool = False,
) -> Card:
    """Returns a card called `name` for a model that has none.

    It is a copy of the first known card of the same family, prediction type and latent stride whose sites are all in
    the network with the same heads. For other networks it reads one site: of a UNet the first self-attention of the
    last decoder block that has one, of a transformer the middle block. `sites` are all attentions of the network in
    running order, `latent_stride` is image pixels per side of a latent cell, and `size` is the (height, width) in
    latent cells that the network was trained at, if it says so. With `images` a transformer is of an image model.

    Raises:
        SettingsError: if the network has no self-attention to match with.
    """
    shapes = {(site.path, site.heads, site.head_dim) for site in sites}
    for card in list_cards():
        fits = (card.family, card.prediction, card.latent_stride) == (family, prediction, latent_stride)
        if fits and (family != "dit" or images == (card.chunk == 1)):
            # Where all attentions are the same, so are the blocks.
            own = [site for places in card.sites.values() for site in places if site.kind != "block"]
            if all((site.path, site.heads, site.head_dim) in shapes for site in own):
                return read_like(card, name)
    if family == "dit":
        card = _of_transformer(name, prediction, latent_stride, sites, size, IMAGE_GRID if images else GRID)
        return replace(card, chunk=1) if images else card
    card = _of_unet(name, prediction, latent_stride, sites, size or (64, 64))
    if family == "unet-video":
        known = get_card("svd")
        return replace(card, family=family, noising=known.noising, chunk=known.chunk)
    if family == "unet-clip":
        return replace(card, family=family, chunk=CLIP, notes="ModelScope: made for REM, see `undertow train rem`")
    return card


def of_features(name: str, sites: Sequence[Site]) -> Card:
    """Returns a card called `name` for a vision transformer that has none, read as the known ones are."""
    attention = next(site for site in reversed(sites) if site.kind == "self")
    return feature_card(name, (), attention, sites[-1], "its last block is read")


def read_like(card: Card, name: str) -> Card:
    """Returns a card called `name` for a model of unknown origin that is read like that of `card`."""
    own = replace(card, name=name, hub_ids=(), sha256={}, embedded="", untrained=False, calibrated=())
    return replace(own, licence="unknown", notes=f"read like {card.name}")


def _of_unet(
    name: str, prediction: Prediction, latent_stride: int, sites: Sequence[Site], size: tuple[int, int]
) -> Card:
    decoder = [site for site in sites if site.kind == "self" and site.path.startswith("up_blocks.")]
    if not decoder:
        raise SettingsError("the denoiser has no self-attention in its decoder, so there is nothing to match with")
    last = decoder[-1].path.split(".")[1]
    site = next(each for each in decoder if each.path.split(".")[1] == last)
    height, width = (max(1, side * latent_stride // site.stride) for side in size)
    return Card(
        name=name,
        hub_ids=(),
        licence="unknown",
        prediction=prediction,
        token_budget=height * width,
        latent_stride=latent_stride,
        sites={"track": (site,)},
        # DRIFT's window of 14 tokens on a grid of 96.
        window_radius=max(1, round(width * 14 / 96)),
        window_grid=(height, width),
        notes="no known model has these sites: the last decoder self-attention is read",
    )


def _of_transformer(
    name: str,
    prediction: Prediction,
    latent_stride: int,
    sites: Sequence[Site],
    size: tuple[int, int] | None,
    usual: tuple[int, int],
) -> Card:
    matching = [site for site in sites if site.kind != "cross"]
    site = matching[len(matching) // 2]
    patch = site.stride // latent_stride
    grid = (size[0] // patch, size[1] // patch) if size else usual
    notes = "no known model has these blocks: the middle one is read"
    # The last of 50 steps.
    card = transformer_card(name, (), "unknown", prediction, site, 19, notes)
    return replace(
        card,
        token_budget=grid[0] * grid[1],
        window_grid=grid,
        window_radius=max(1, round(grid[1] * 14 / 96)),
        latent_stride=latent_stride,
    )
