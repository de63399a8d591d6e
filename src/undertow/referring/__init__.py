"""Referring: masks of what a sentence names, without training (RefAM, arXiv 2509.22650)."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.referring.finding import Finding
    from undertow.referring.sequence import refer
    from undertow.referring.settings import ReferSettings

__getattr__, __dir__ = on_demand(__name__)

__all__ = ["Finding", "ReferSettings", "refer"]
