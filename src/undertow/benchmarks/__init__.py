"""Benchmarks: dataset layouts, baselines, a runner that resumes, tables and plots."""

from undertow.benchmarks.baselines import FLOW_BASELINES, FlowSettings, carry, copy_labels, flow_labels
from undertow.benchmarks.datasets import DATASETS, Sequence, open_dataset, select_sequences
from undertow.benchmarks.demo import DemoResult, run_demo
from undertow.benchmarks.methods import (
    BASELINES,
    Method,
    Predictor,
    baseline_method,
    make_methods,
    model_method,
)
from undertow.benchmarks.outcomes import Outcome, read_outcome, read_outcomes
from undertow.benchmarks.plots import mean_curve, write_plots
from undertow.benchmarks.protocols import PROTOCOLS, EvaluationProtocol, get_protocol
from undertow.benchmarks.report import (
    difference_table,
    markdown_report,
    method_table,
    metrics_csv,
    sequence_table,
    write_report,
)
from undertow.benchmarks.runner import run_benchmark
from undertow.benchmarks.scoring import score_folder

__all__ = [
    "BASELINES",
    "DATASETS",
    "FLOW_BASELINES",
    "PROTOCOLS",
    "DemoResult",
    "EvaluationProtocol",
    "FlowSettings",
    "Method",
    "Outcome",
    "Predictor",
    "Sequence",
    "baseline_method",
    "carry",
    "copy_labels",
    "difference_table",
    "flow_labels",
    "get_protocol",
    "make_methods",
    "markdown_report",
    "mean_curve",
    "method_table",
    "metrics_csv",
    "model_method",
    "open_dataset",
    "read_outcome",
    "read_outcomes",
    "run_benchmark",
    "run_demo",
    "score_folder",
    "select_sequences",
    "sequence_table",
    "write_plots",
    "write_report",
]
