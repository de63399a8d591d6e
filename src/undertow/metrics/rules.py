"""What an evaluator of video object segmentation does, as settings, and the presets of those in use.

All of them measure J and F alike. They differ in which frames of which objects enter the tally, in what void means and
in how the means are taken.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MaskRules:
    """The rules of one evaluator; the defaults are those of DAVIS 2017 with given first masks.

    Attributes:
        start: from where on an object is scored. "sequence": from the sequence's first scored frame. "object": from the
            frame after the first one on which the annotation has it; it is not scored before. "seen": from the first
            scored frame on which the annotation or the prediction has it, that frame included.
        first: whether the first annotated frame is scored; with start "object" it never is.
        last: whether the last annotated frame is scored.
        void: "background", so that a prediction is wrong there, or "ignored": cleared from both maps first.
        merged: whether everything that is not zero counts as one object, whose id is 1.
        proposals: the highest id that a prediction may have if its ids are its own and are to be matched with the
            annotated objects; `None` if ids mean the same on both sides.
        average: what counts once in the dataset's mean: "objects", "sequences", or "splits" (seen and unseen
            categories, see `YouTubeVosSummary`).
    """

    start: Literal["sequence", "object", "seen"] = "sequence"
    first: bool = False
    last: bool = False
    void: Literal["background", "ignored"] = "background"
    merged: bool = False
    proposals: int | None = None
    average: Literal["objects", "sequences", "splits"] = "objects"

    def __post_init__(self) -> None:
        if self.proposals is not None and self.proposals < 1:
            raise ValueError(f"proposals is {self.proposals}; give a number from 1 on, or None")
        if self.proposals is not None and (self.merged or self.start != "sequence"):
            raise ValueError("proposals are matched over whole sequences of several objects; leave start and merged")


#: Rules by name.
#:
#: - "davis-2017": davis2017-evaluation, semi-supervised task: ids 1 to the largest of the first frame (`davis_ids`),
#:   all annotated frames but the first and the last. A higher id in a prediction stops that evaluator: whoever reads
#:   the files has to refuse it, a `SequenceEvaluator` takes it for background.
#: - "davis-2016": the same frames of one object, mean over sequences.
#: - "davis-unsupervised": davis2017-evaluation, unsupervised task: all frames, void ignored, at most 20 proposals.
#: - "youtube-vos": the frames that the YouTube-VOS server scores: each object after its own first mask, to the end. The
#:   server's script is not public, so that how it averages inside a split is not known; here every object counts once.
#: - "long-videos": DAVIS 2017 on the annotated frames alone, so that the first and last of those are dropped.
#: - "late": DAVIS 2017 with objects that enter late: each from the frame after its first mask, not to the last frame.
#:   Where every object is there from the first frame on, it equals "davis-2017".
#: - "once-seen": vos-benchmark: an object counts from when it has been seen on either side, and is averaged only if
#:   the annotation has it on a scored frame. On DAVIS it equals "davis-2017".
MASK_RULES = {
    "davis-2017": MaskRules(),
    "davis-2016": MaskRules(merged=True, average="sequences"),
    "davis-unsupervised": MaskRules(first=True, last=True, void="ignored", proposals=20),
    "youtube-vos": MaskRules(start="object", last=True, average="splits"),
    "long-videos": MaskRules(),
    "late": MaskRules(start="object"),
    "once-seen": MaskRules(start="seen"),
}
