"""The doctor's look at a lab that is up, beside the machine it runs on; and what it puts right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtap_lab.errors import RtapLabError, ServiceError
from rtap_lab.jobs.model import run_key
from rtap_lab.jobs.unread import AUDITOR, unread_document
from rtap_lab.kafka.names import writer_of
from rtap_lab.kafka.transactions import Transaction
from rtap_lab.lab.context import Context
from rtap_lab.monitoring.doctor import Finding
from rtap_lab.monitoring.doctor import examine as examine_machine

OLD_S = 60.0
"""A job commits with every checkpoint: what is open for longer is not in order."""


@dataclass(frozen=True)
class Owned:
    """An open transaction, and whose it is."""

    transaction: Transaction
    owner: str | None
    """In words; None: nobody's, its writer is gone for good."""


def open_transactions(context: Context) -> list[Owned]:
    """All open transactions of the lab's Kafka, the oldest first."""
    return [Owned(each, _owner(context, each)) for each in context.topics.open_transactions()]


def _owner(context: Context, transaction: Transaction) -> str | None:
    writer = writer_of(transaction.id)
    if writer is None:
        return "another program"
    job, source = writer
    if job is not None:
        run = context.runs.read().get(run_key(job, source))
        # one that is stopped goes on from its checkpoint, which may have promised to commit this
        return f"job {job} on {source}" if run and run.state not in ("finished", "drained") else None
    try:
        with context.state.lock(f"source-{source}", timeout=0):
            return None
    except ServiceError:
        return f"an import or replay into {source}"


def examine(context: Context, *, repair: bool = False) -> list[Finding]:
    """Look at everything a lab needs; with `repair`, end the transactions that belong to nobody."""
    findings = examine_machine(context.state)
    if context.is_up:
        try:
            if repair:
                orphans = {each.transaction.id for each in open_transactions(context) if each.owner is None}
                context.topics.abort(lambda transaction: transaction.id in orphans)
            findings += _transactions(context)
            findings += _unread(context)
        except RtapLabError as error:
            findings.append(Finding("FAIL", "transactions", error.message, error.hint or ""))
    return findings


def _transactions(context: Context) -> list[Finding]:
    found = open_transactions(context)
    findings = [
        Finding(
            "WARN",
            "transactions",
            f"{each.transaction.id} is open for {each.transaction.age_s:.0f} s and belongs to {each.owner or 'nobody'}: "
            f"it hides what came after it in {', '.join(each.transaction.topics) or 'no topic yet'}",
            "`rtap doctor --repair` ends it" if each.owner is None else "`rtap status` shows how its owner fares",
        )
        for each in found
        if each.owner is None or each.transaction.age_s > OLD_S
    ]
    return findings or [Finding("OK", "transactions", _at_work(found))]


def _unread(context: Context) -> list[Finding]:
    """Whether records expired before somebody had read them."""
    unread = unread_document(context.state).read().readers
    names = {run.run: f"job {run.job} on {run.source}" for run in context.runs.read().values()} | {
        AUDITOR: "the auditor"
    }
    longer = context.site.settings.retention_ms * 2 // 60_000
    findings = [
        Finding(
            "FAIL",
            "retention",
            f"{names[key]}: {each}: "
            + (
                "the rows about those that were rejected or late have no content"
                if key == AUDITOR
                else "its rows of that time lack them"
            ),
            f"send fewer events a second, or keep them for longer: `rtap down`, then `rtap up --retention {longer}min`",
        )
        for key, each in unread.items()
        if each.records and key in names
    ]
    return findings or [Finding("OK", "retention", "whatever expired had been read before")]


def _at_work(found: Sequence[Owned]) -> str:
    """Who has how many open, and for how long."""
    ages: dict[str, list[float]] = {}
    for each in found:
        ages.setdefault(str(each.owner), []).append(each.transaction.age_s)
    whose = [f"{owner}: {len(open_)}, the oldest for {max(open_):.0f} s" for owner, open_ in sorted(ages.items())]
    return f"{len(found)} open" + (f", each of somebody at work ({'; '.join(whose)})" if whose else "")
