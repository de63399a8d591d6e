"""From words to places in a picture: which words count, where a frozen model sees them, and masks of that."""

from undertow.grounding.grounder import Grounder, Sight, stretched, word_sites
from undertow.grounding.heat import Candidate, Peak
from undertow.grounding.proposals import HeatProposer, SegmenterProposer, make_proposer
from undertow.grounding.settings import WordSettings
from undertow.grounding.words import Expression, parse_expression

__all__ = [
    "Candidate",
    "Expression",
    "Grounder",
    "HeatProposer",
    "Peak",
    "SegmenterProposer",
    "Sight",
    "WordSettings",
    "make_proposer",
    "parse_expression",
    "stretched",
    "word_sites",
]
