"""Finished runs in other tools' formats, and read back in Python; neither needs a model."""

from undertow.export.exporter import Exporter, ExportSettings, Plan, Shot
from undertow.export.run import Run, RunFrame, RunTracks, SoftMasks, open_run
from undertow.export.writing import FORMATS, Exported, check_format, export

__all__ = [
    "FORMATS",
    "ExportSettings",
    "Exported",
    "Exporter",
    "Plan",
    "Run",
    "RunFrame",
    "RunTracks",
    "Shot",
    "SoftMasks",
    "check_format",
    "export",
    "open_run",
]
