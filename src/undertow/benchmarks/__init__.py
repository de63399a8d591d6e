"""Benchmarks: dataset layouts, baselines, a runner that resumes, tables and plots."""

from undertow.benchmarks.datasets import (
    DATASETS,
    Dataset,
    check_dataset,
    dataset_of,
    get_dataset,
    open_dataset,
    select_samples,
)
from undertow.benchmarks.demo import DemoResult, run_demo
from undertow.benchmarks.engines.shards import parse_shard
from undertow.benchmarks.manifest import read_manifest
from undertow.benchmarks.masks.baselines import FLOW_BASELINES, FlowSettings, carry, copy_labels, flow_labels
from undertow.benchmarks.methods import (
    BASELINES,
    TASK_METHODS,
    Baseline,
    Method,
    Predictor,
    baseline_method,
    make_methods,
    model_method,
    register_baseline,
    simplest_baseline,
)
from undertow.benchmarks.outcomes import Outcome, read_outcome, read_outcomes
from undertow.benchmarks.parse.anchors import with_anchors
from undertow.benchmarks.parse.baselines import ColourSettings, colour_labels
from undertow.benchmarks.parse.methods import WAYS, parse_method, parse_ways
from undertow.benchmarks.points.baselines import still_points
from undertow.benchmarks.points.flow import carry_points
from undertow.benchmarks.points.methods import point_method
from undertow.benchmarks.protocols import PROTOCOLS, EvaluationProtocol, get_protocol
from undertow.benchmarks.refer.baselines import everything, nothing
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
    "TASK_METHODS",
    "WAYS",
    "Baseline",
    "ColourSettings",
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
    "carry_points",
    "check_dataset",
    "colour_labels",
    "copy_labels",
    "dataset_of",
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
    "parse_method",
    "parse_shard",
    "parse_ways",
    "point_method",
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
    "simplest_baseline",
    "still_points",
    "with_anchors",
    "write_plots",
    "write_report",
    "write_submission",
]
