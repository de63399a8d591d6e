"""Benchmarks: dataset layouts, baselines, a runner that resumes, tables and plots."""

from undertow.benchmarks.baselines import FLOW_BASELINES, FlowSettings, carry, copy_labels, flow_labels
from undertow.benchmarks.datasets import DATASETS, Dataset, check_dataset, get_dataset, open_dataset, select_samples
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
from undertow.benchmarks.protocols import PROTOCOLS, EvaluationProtocol, get_protocol
from undertow.benchmarks.report import (
    difference_table,
    markdown_report,
    mean_curve,
    method_table,
    metrics_csv,
    published_rows,
    sequence_table,
    write_plots,
    write_report,
)
from undertow.benchmarks.runner import run_benchmark
from undertow.benchmarks.samples import MaskSample, Sample
from undertow.benchmarks.scoring import score_folder
from undertow.benchmarks.tasks import TASKS, Finding, Task, get_task

__all__ = [
    "BASELINES",
    "DATASETS",
    "FLOW_BASELINES",
    "PROTOCOLS",
    "TASKS",
    "Dataset",
    "DemoResult",
    "EvaluationProtocol",
    "Finding",
    "FlowSettings",
    "MaskSample",
    "Method",
    "Outcome",
    "Predictor",
    "Sample",
    "Task",
    "baseline_method",
    "carry",
    "check_dataset",
    "copy_labels",
    "difference_table",
    "flow_labels",
    "get_dataset",
    "get_protocol",
    "get_task",
    "make_methods",
    "markdown_report",
    "mean_curve",
    "method_table",
    "metrics_csv",
    "model_method",
    "open_dataset",
    "published_rows",
    "read_outcome",
    "read_outcomes",
    "run_benchmark",
    "run_demo",
    "score_folder",
    "select_samples",
    "sequence_table",
    "write_plots",
    "write_report",
]
