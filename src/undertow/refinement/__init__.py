"""Better masks from the frame itself: promptable segmenters, and refinement with them after propagation."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.refinement.loading import (
        SegmenterCard,
        cuts_out,
        get_segmenter_card,
        list_segmenter_cards,
        load_segmenter,
        locate_segmenter,
        refinement_settings,
        segmenter_at_hand,
    )
    from undertow.refinement.prompts import ObjectCue, PointCue, segment, segment_grabcut
    from undertow.refinement.sam import Refined, SamRefiner, SoftFrame
    from undertow.refinement.segmenter import (
        Embedding,
        Fit,
        OneFrame,
        Prediction,
        Sam2Segmenter,
        SamSegmenter,
        Segmenter,
        normalise,
    )
    from undertow.refinement.settings import SamSettings

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Embedding",
    "Fit",
    "ObjectCue",
    "OneFrame",
    "PointCue",
    "Prediction",
    "Refined",
    "Sam2Segmenter",
    "SamRefiner",
    "SamSegmenter",
    "SamSettings",
    "Segmenter",
    "SegmenterCard",
    "SoftFrame",
    "cuts_out",
    "get_segmenter_card",
    "list_segmenter_cards",
    "load_segmenter",
    "locate_segmenter",
    "normalise",
    "refinement_settings",
    "segment",
    "segment_grabcut",
    "segmenter_at_hand",
]
