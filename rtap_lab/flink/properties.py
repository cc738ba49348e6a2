"""Pure: Flink's configuration of a session: of a job, of a look, of a PyFlink program; and the states of a job."""

from __future__ import annotations

from rtap_lab.settings import DEDUPLICATION_MS, JobParameters

CHECKPOINT_MS = {"exactly_once": 150, "low_latency": 1000}
"""How often a live job takes a checkpoint: in `exactly_once` results wait for it."""

TERMINAL = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")
"""States of a job that has ended."""

COMMON = {"execution.runtime-mode": "streaming", "table.local-time-zone": "UTC"}
"""What every session has."""


def look_properties() -> dict[str, str]:
    """Of a query that somebody looks at and that ends: state on the heap, no checkpoints."""
    return COMMON | {"parallelism.default": "1", "state.backend.type": "hashmap"}


def job_properties(
    parameters: JobParameters,
    *,
    name: str,
    bounded: bool,
    checkpoints: str,
    restore: str | None,
    parallelism: int | None = None,
) -> dict[str, str]:
    """Flink's configuration of one run of a job.

    Args:
        parameters: What the run varies.
        name: The job's name.
        bounded: A recorded source: state on the heap (MATCH_RECOGNIZE catches up quadratically on
            RocksDB), no expiry.
        checkpoints: Where its checkpoints go (a URI).
        restore: The checkpoint or savepoint to continue from.
        parallelism: None: 2 for a recorded source, 1 live.
    """
    every = 2000 if bounded else CHECKPOINT_MS[parameters.delivery]
    properties = COMMON | {
        "pipeline.name": name,
        # one Deduplicate and one late split for all branches, so that they cannot disagree
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
        "table.exec.state.ttl": "0" if bounded else f"{DEDUPLICATION_MS} ms",
        "pipeline.object-reuse": "true",
        "parallelism.default": str(parallelism or (2 if bounded else 1)),
        "pipeline.auto-watermark-interval": "200 ms" if bounded else "50 ms",
        "execution.buffer-timeout.interval": "100 ms" if bounded else "1 ms",
        "execution.checkpointing.interval": f"{every} ms",
        "execution.checkpointing.min-pause": "10 ms",
        "execution.checkpointing.timeout": "2 min",
        "execution.checkpointing.dir": checkpoints,
        "state.backend.type": "hashmap" if bounded else "rocksdb",
    }
    if restore:
        properties["execution.state-recovery.path"] = restore
        properties["execution.state-recovery.claim-mode"] = "NO_CLAIM"
    return properties
