"""Many runs of one task: a table of clips, worked through by warm workers, resumed and retried as single runs are."""

from undertow.batches.estimating import BatchEstimate, estimate_batch
from undertow.batches.manifest import Row, read_manifest
from undertow.batches.running import BatchFailed, batch, run_batch
from undertow.batches.settings import BatchSettings

__all__ = [
    "BatchEstimate",
    "BatchFailed",
    "BatchSettings",
    "Row",
    "batch",
    "estimate_batch",
    "read_manifest",
    "run_batch",
]
