"""From words to places in a picture: which words count, where a frozen model sees them, and masks of that."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.grounding.asking import Asker, Part, finder_of
    from undertow.grounding.deeds import Said, does, said_of
    from undertow.grounding.grounder import Grounder, Sight, stretched
    from undertow.grounding.heat import Candidate, Peak
    from undertow.grounding.proposals import HeatProposer, SegmenterProposer, make_proposer
    from undertow.grounding.readers import frames_of, reader_of, tell_limits, word_sites
    from undertow.grounding.settings import WordSettings
    from undertow.grounding.words import Expression, parse_expression

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Asker",
    "Candidate",
    "Expression",
    "Grounder",
    "HeatProposer",
    "Part",
    "Peak",
    "Said",
    "SegmenterProposer",
    "Sight",
    "WordSettings",
    "does",
    "finder_of",
    "frames_of",
    "make_proposer",
    "parse_expression",
    "reader_of",
    "said_of",
    "stretched",
    "tell_limits",
    "word_sites",
]
