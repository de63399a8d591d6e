"""Where a loaded network could be read: every attention that compares visual tokens, in running order."""

from collections.abc import Iterator, Sequence

from undertow.backbones import Backbone, Site
from undertow.base import SettingsError


def candidate_sites(backbone: Backbone) -> tuple[Site, ...]:
    """Returns every site of the network at which visual tokens are compared, in running order.

    Of a UNet these are all self-attentions, whatever their stride; of a video transformer, that of every block.

    Raises:
        SettingsError: if the network has none that is known.
    """
    sites = backbone.sites()
    if not sites:
        raise SettingsError(f"'{backbone.card.name}' has no attention that is known here; give another model")
    return sites


def groups(sites: Sequence[Site], frames: int, grid_cells: int, itemsize: int, budget: int) -> Iterator[list[Site]]:
    """Yields the sites in groups of one stride whose queries and keys together fit into a budget; at least one a group.

    Args:
        sites: in running order.
        frames: seen together.
        grid_cells: image pixels of a frame; a site of stride p has 1 / p² of that many tokens.
        itemsize: bytes of a number.
        budget: in bytes.
    """
    for stride in dict.fromkeys(site.stride for site in sites):
        group: list[Site] = []
        held = 0
        for site in (site for site in sites if site.stride == stride):
            size = 2 * frames * (grid_cells // stride**2) * site.heads * site.head_dim * itemsize
            if group and held + size > budget:
                yield group
                group, held = [], 0
            group.append(site)
            held += size
        yield group
