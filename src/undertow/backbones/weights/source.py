"""What finding weights needs to know of a model, whatever else its card says."""

from collections.abc import Mapping
from typing import Protocol


class Origin(Protocol):
    """Where the weights of a model come from; every card of a model says at least this."""

    @property
    def name(self) -> str:
        """What users call the model."""

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """The (repository, revision) pairs of the hub that hold the weights, best first; `None` is the newest."""

    @property
    def sha256(self) -> Mapping[str, str]:
        """Digests of weight files by their path in the repository."""

    @property
    def embedded(self) -> str:
        """Folder of this package that holds the weights; empty if they are not shipped."""
