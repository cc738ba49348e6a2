"""What a verification takes, measured in a process of its own: memory that another one left behind is not its."""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rtap_lab.lab import Lab
from rtap_lab.verification.report import Report

Verified = tuple[Report, float, float, float, float]
"""The verdict, seconds, processor seconds, resident MB before, and the most of it."""


def verify_apart(state: str | Path, source: str, *, full: bool = True) -> Verified:
    """Verify a source in a fresh process, from the beginning or from where the verification before ended."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_verify, str(state), source, full).result()


def _verify(state: str, source: str, full: bool) -> Verified:
    lab = Lab(state)
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    began, cpu = time.monotonic(), time.process_time()
    report = lab.verify(source, full=full)
    seconds, spent = time.monotonic() - began, time.process_time() - cpu
    return report, seconds, spent, before_mb, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
