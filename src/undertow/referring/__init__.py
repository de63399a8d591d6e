"""Referring: masks of what a sentence names, without training (RefAM, arXiv 2509.22650)."""

from undertow.referring.finding import Finding
from undertow.referring.settings import ReferSettings

__all__ = ["Finding", "ReferSettings"]
