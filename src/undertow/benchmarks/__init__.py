"""Benchmarks: dataset layouts, baselines, a runner that resumes, tables and plots."""

from undertow.benchmarks.baselines import FLOW_BASELINES, FlowSettings, carry, copy_labels, flow_labels
from undertow.benchmarks.datasets import DATASETS, Dataset, check_dataset, get_dataset, open_dataset, select_samples
from undertow.benchmarks.demo import DemoResult, run_demo
from undertow.benchmarks.engines.shards import parse_shard
from undertow.benchmarks.manifest import read_manifest
from undertow.benchmarks.methods import (
    BASELINES,
    Baseline,
    Method,
    Predictor,
    baseline_method,
    make_methods,
    model_method,
    register_baseline,
)
from undertow.benchmarks.outcomes import Outcome, read_outcome, read_outcomes
from undertow.benchmarks.point_baselines import still_points
from undertow.benchmarks.protocols import PROTOCOLS, EvaluationProtocol, get_protocol
from undertow.benchmarks.refer_baselines import everything, nothing
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
from undertow.benchmarks.submissions import SUBMISSIONS, write_submission
from undertow.benchmarks.tasks import TASKS, Finding, Task, get_task

__all__ = [
    "BASELINES",
    "DATASETS",
    "FLOW_BASELINES",
    "PROTOCOLS",
    "SUBMISSIONS",
    "TASKS",
    "Baseline",
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
    "everything",
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
    "nothing",
    "open_dataset",
    "parse_shard",
    "published_rows",
    "read_manifest",
    "read_outcome",
    "read_outcomes",
    "register_baseline",
    "run_benchmark",
    "run_demo",
    "score_folder",
    "select_samples",
    "sequence_table",
    "still_points",
    "write_plots",
    "write_report",
    "write_submission",
]
