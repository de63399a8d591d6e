"""Semantic segmentation of video from one labelled frame, or none (VidSeg, EmerDiff)."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.parsing.parser import Parser, parse
    from undertow.parsing.protocols import CoarseBatch, ParseResult, Sharpener
    from undertow.parsing.settings import Modulation, ParseSettings, ResolvedParse, resolve_parse

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CoarseBatch",
    "Modulation",
    "ParseResult",
    "ParseSettings",
    "Parser",
    "ResolvedParse",
    "Sharpener",
    "parse",
    "resolve_parse",
]
