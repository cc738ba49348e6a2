"""Pure: Flink's configuration of a session: of a job, of a look, of a PyFlink program; and the states of a job."""

from __future__ import annotations

from rtap_lab.endpoints import Tls
from rtap_lab.settings import JobParameters, Settings

CHECKPOINT_MS = 2000
"""How often a live job takes a checkpoint by itself. In `exactly_once` results are committed by checkpoints, and the service
`checkpointer` asks for one as soon as a row waits: this is for a lab that is idle, and a net under that service."""

BOUNDED_CHECKPOINT_MS = 10_000
"""How often a job on a recorded source takes one: state on the heap is written whole each time, and a restart loses so much work
at most.
"""

MIN_PAUSE_MS = 100
"""Between two checkpoints that Flink takes by itself at least."""

TERMINAL = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")
"""States of a job that has ended."""

FIXED_JOB_ID = "$internal.pipeline.job-id"
"""The id of the next job, 32 hexadecimal digits; the JobManager refuses a second one of an id (PipelineOptionsInternal)."""

COMMON = {"execution.runtime-mode": "streaming", "table.local-time-zone": "UTC"}
"""What every session has."""


def look_properties() -> dict[str, str]:
    """Of a query that somebody looks at and that ends: state on the heap, no checkpoints."""
    return COMMON | {"parallelism.default": "1", "state.backend.type": "hashmap"}


_DEFAULTS = Settings()


def job_properties(
    parameters: JobParameters,
    *,
    name: str,
    bounded: bool,
    checkpoints: str,
    restore: str | None,
    parallelism: int | None = None,
    settings: Settings = _DEFAULTS,
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
        settings: The lab's: how long an event_id is remembered.
    """
    properties = COMMON | {
        "pipeline.name": name,
        # one Deduplicate and one late split for all branches, so that they cannot disagree
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
        "table.exec.state.ttl": "0" if bounded else f"{settings.deduplication_ms} ms",
        "pipeline.object-reuse": "true",
        "parallelism.default": str(parallelism or (2 if bounded else 1)),
        "pipeline.auto-watermark-interval": "200 ms" if bounded else "10 ms",
        "execution.buffer-timeout.interval": "100 ms" if bounded else "5 ms",
        "execution.checkpointing.interval": f"{BOUNDED_CHECKPOINT_MS if bounded else CHECKPOINT_MS} ms",
        "execution.checkpointing.min-pause": f"{MIN_PAUSE_MS} ms",
        "execution.checkpointing.timeout": "2 min",
        "execution.checkpointing.dir": checkpoints,
        "state.backend.type": parameters.state_backend or ("hashmap" if bounded else "rocksdb"),
    }
    if restore:
        properties["execution.state-recovery.path"] = restore
        properties["execution.state-recovery.claim-mode"] = "NO_CLAIM"
    return properties


def mutual_tls(tls: Tls) -> dict[str, str]:
    """Flink's values for mutual TLS (pure): who does not show the lab's certificate is refused, on every port of Flink.

    What answers there executes what it is sent, and answers any web page (`Access-Control-Allow-Origin: *`). One cipher
    suite of TLS 1.3: Flink's default suites are gone in newer Javas (FLINK-39022).
    """
    stores = {
        f"security.ssl.{where}.{what}": value
        for where in ("rest", "internal")
        for what, value in {
            "enabled": "true",
            "keystore": tls.store,
            "keystore-password": tls.password,
            "key-password": tls.password,
            "keystore-type": "PKCS12",
            "truststore": tls.trust,
            "truststore-password": tls.password,
            "truststore-type": "PKCS12",
        }.items()
    }
    return stores | {
        "security.ssl.rest.authentication-enabled": "true",
        "security.ssl.protocol": "TLSv1.3",
        "security.ssl.algorithms": "TLS_AES_128_GCM_SHA256",
        "security.ssl.verify-hostname": "true",
    }
