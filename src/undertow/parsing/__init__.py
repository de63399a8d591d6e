"""Semantic segmentation of video from one labelled frame, or none (VidSeg, EmerDiff)."""

from undertow.parsing.modulation import Modulation
from undertow.parsing.parser import Parser, parse
from undertow.parsing.protocols import CoarseBatch, ParseResult, Sharpener
from undertow.parsing.settings import ParseSettings, ResolvedParse, resolve_parse

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
