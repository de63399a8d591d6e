"""The report of a benchmark: tables, charts, and one self-contained page."""

from undertow.benchmarks.report.charts import curve, mean_curve
from undertow.benchmarks.report.published import PUBLISHED, Published, published_rows
from undertow.benchmarks.report.tables import (
    Table,
    difference_table,
    method_table,
    metrics_csv,
    published_table,
    sequence_table,
)
from undertow.benchmarks.report.worst import WorstFrame, worst_frames
from undertow.benchmarks.report.writing import markdown_report, write_plots, write_report

__all__ = [
    "PUBLISHED",
    "Published",
    "Table",
    "WorstFrame",
    "curve",
    "difference_table",
    "markdown_report",
    "mean_curve",
    "method_table",
    "metrics_csv",
    "published_rows",
    "published_table",
    "sequence_table",
    "worst_frames",
    "write_plots",
    "write_report",
]
