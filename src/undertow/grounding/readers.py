"""Which model reads words for a task, in which of its attentions, and how it is shown frames."""

import logging
from collections.abc import Sequence

from undertow.backbones import Backbone, Site, load
from undertow.base import SettingsError
from undertow.grounding.words import Expression
from undertow.observing.settings import FrameSettings

log = logging.getLogger(__name__)

READER = "tiny-refer"


def reader_of(backbone: Backbone) -> Backbone:
    """Returns the model that reads words for a tracker: itself, or `tiny-refer` if it is embedded and grounds none."""
    if not backbone.card.embedded or "refer" in backbone.card.sites:
        return backbone
    return load(READER, device=str(backbone.device), sites="refer")


def tell_limits(reader: Backbone) -> None:
    """Warns of how little an embedded model has learned of the world."""
    if reader.card.embedded:
        log.warning(
            "'%s' knows colours, shapes and places of simple things and little else; look at its masks first",
            reader.card.name,
        )


def tell_unknown(reader: Backbone, expression: Expression, spans: Sequence[tuple[int, int]]) -> None:
    """Warns of a word that an embedded model has never read.

    Args:
        reader: The model.
        expression: What is asked for.
        spans: Where in its text the tokens are that the model reads, ends excluded.
    """
    if not reader.card.embedded:
        return
    for word in expression.words:
        # Large tokenizers split words that they know well; one of a few hundred words spells what it never saw.
        if word.role == "kept" and sum(start < word.end and end > word.start for start, end in spans) > 1:
            log.warning("'%s' does not know the word '%s'", reader.card.name, word.text)
            return


def word_sites(backbone: Backbone) -> tuple[Site, ...]:
    """Returns the attentions in which words are read: those of the card, or else the later half of what there is.

    Raises:
        SettingsError: if the model cannot read text.
    """
    if "refer" in backbone.card.sites:
        return backbone.card.sites["refer"]
    found = backbone.sites("cross") or backbone.sites("joint")
    if not found:
        raise SettingsError(f"'{backbone.card.name}' compares no text with pictures; choose a model that reads text")
    decoder = tuple(site for site in found if site.path.startswith("up_blocks."))
    return decoder or found[len(found) // 2 :]


def by_stride(sites: Sequence[Site]) -> list[tuple[Site, ...]]:
    """Returns sites grouped by stride, since one observation has one grid."""
    strides = dict.fromkeys(site.stride for site in sites)
    return [tuple(site for site in sites if site.stride == stride) for stride in strides]


def frames_of(settings: FrameSettings, *, own: bool) -> FrameSettings:
    """Returns how a reader sees frames: as a task does if it is the task's `own` model, or else its own way."""
    if not own:
        return FrameSettings(cache=settings.cache)
    return FrameSettings(
        tokens=settings.tokens, size=settings.size, detail=settings.detail, seed=settings.seed, cache=settings.cache
    )
