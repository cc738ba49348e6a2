"""What a lab looks like from outside: services, addresses, jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import psutil

from rtap_lab.errors import JobError, RtapLabError, ServiceError
from rtap_lab.events.model import TICK_RECORD
from rtap_lab.events.times import instant_text
from rtap_lab.jobs.model import Run, run_key
from rtap_lab.jobs.unread import AUDITOR, Unread, unread_document
from rtap_lab.jobs.watermark import NEAR, Watermarks
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab.context import Context
from rtap_lab.lab.stack import revive
from rtap_lab.queries.standard import JOB
from rtap_lab.queries.waits import first_row, waits_ms
from rtap_lab.services.auditor import Counts, counts_document
from rtap_lab.services.site import Site, embedded_file
from rtap_lab.services.writer import foreign_document
from rtap_lab.settings import LIVE, duration_text
from rtap_lab.stack.disk import FULL_BYTES, LOW_BYTES, ROOM_BYTES, free_bytes
from rtap_lab.stack.process import Identity
from rtap_lab.stack.service import ServiceStatus
from rtap_lab.stack.supervisor import statuses_document, supervisor_beat
from rtap_lab.tables import Table
from rtap_lab.waiting import until

STANDS_MS = 15_000
"""Live answers that have not moved for so long stand still."""

SILENT_S = 10.0
"""A supervisor that said nothing for so long does not run."""

_BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")

LOOKED_AT = 12_000
"""So many records of a lag are looked at, to tell ticks from events."""


def status(context: Context) -> dict[str, Any]:
    """State, port, memory, uptime and links of the services; watermark, lag and shares of the jobs."""
    state = context.state
    supervisor = revive(state)
    if supervisor is None:
        nothing: dict[str, Any] = {"services": [], "supervisor": {"pid": None}, "addresses": {}, "jobs": []}
        return nothing | {"problems": [], "notices": [], "ok": False}
    site = context.site
    table = dict(statuses_document(state).read())
    if site.settings.store == "sqlite":
        table["store"] = ServiceStatus("ready" if embedded_file(state).exists() else "starting")
    services = [_service(name, each) for name, each in table.items()]
    away = [each["name"] for each in services if each["state"] not in ("ready", "retrying")]
    counts, unread = counts_document(state).read(), unread_document(state).read().readers
    jobs = [_job(context, site, run, counts, unread.get(run.run), away) for run in context.runs.read().values()]
    free = free_bytes(state.folder)
    problems = [words for job in jobs for words in job.pop("problems")]
    silent_s = time.clock_gettime(time.CLOCK_BOOTTIME) - supervisor_beat(state).read() if _BOOTTIME else 0.0
    if silent_s > SILENT_S:
        problems.append(f"the supervisor (pid {supervisor.pid}) has said nothing for {silent_s:.0f} s: is it stopped?")
    if free < FULL_BYTES:
        problems.append(
            f"the disk is full: {free / 1e6:.0f} MB are free where {state.folder} is; free some, services come back by themselves"
        )
    standard = run_key(JOB, LIVE)
    asked = [run.key for run in context.runs.read().values() if run.desired == "running" and run.source == LIVE]
    running = {run_key(j["name"], j["source"]) for j in jobs if j["state"] == "RUNNING"}
    notices = [words for job in jobs for words in job.pop("notices")]
    if AUDITOR in unread and unread[AUDITOR].records:
        notices.append(
            f"the auditor: {unread[AUDITOR]}: rejected and late ones among them have no content in their rows"
        )
    notices += [
        f"{topic}: {f.count} records are no rows of its query and were set aside, the first at offset {f.first}: {f.reason}"
        for topic, f in foreign_document(state).read().items()
    ]
    if FULL_BYTES <= free < LOW_BYTES:
        taking = "" if free >= ROOM_BYTES else "; no simulator, import or replay adds to it"
        notices.append(f"the disk is nearly full: {free / 1e6:.0f} MB are free where {state.folder} is{taking}")
    ok = not problems and all(each["state"] == "ready" for each in services) and running >= {standard, *asked}
    endpoints = site.endpoints
    return {
        "services": services,
        "supervisor": {"pid": supervisor.pid},
        "addresses": {
            "kafka": endpoints.kafka.address,
            "registry": endpoints.registry.address,
            "flink": endpoints.flink.address,
            "gateway": endpoints.gateway.address,
            "hub": endpoints.hub.address,
            "dashboard": f"{endpoints.dashboard}/app",
            "store": endpoints.store.address,
        },
        "profile": site.settings.profile,
        "jobs": jobs,
        "problems": problems,
        "notices": notices,
        "ok": ok,
    }


def _service(name: str, each: ServiceStatus) -> dict[str, Any]:
    memory: float | None = None
    uptime: float | None = None
    now, detail = str(each.state), each.detail
    if each.pid:
        try:
            memory = round(psutil.Process(each.pid).memory_info().rss / 1e6, 1)
            identity = Identity.of(each.pid)
            uptime = round(identity.age_s, 1) if identity else None
        except psutil.Error:  # the supervisor will say so, unless its disk is full
            now, detail = "dead", "its process is gone"
    return {
        "name": name,
        "state": now,
        "pid": each.pid,
        "port": each.port,
        "rss_mb": memory,
        "uptime_s": uptime,
        "restarts": each.restarts,
        "detail": detail,
        "links": [each.link] if each.link else [],
    }


def _job(
    context: Context, site: Site, run: Run, counts: Counts, unread: Unread | None, away: Sequence[str]
) -> dict[str, Any]:
    """A run in one entry; who is away is not asked."""
    job: dict[str, Any] = {
        "name": run.job,
        "source": run.source,
        "run": run.run,
        "job_id": run.job_id,
        "queries": [query.name for query in run.queries],
        "parameters": run.parameters.as_json(),
        "state": run.state.upper(),
        "watermark": None,
        "lag": None,
        "late_share": None,
        "rejected_share": None,
        "checkpoint_age_s": None,
        "unread": unread.records if unread else 0,
        "error": run.error or None,
        "note": run.note or None,
        "behind": None,
        "problems": [],
        "notices": [],
    }
    behind_ms: int | None = None
    try:
        if "jobmanager" in away and run.state == "running":
            raise JobError("flink: the JobManager is away; the job goes on when it is back")
        if any(name.startswith("kafka") for name in away):
            raise ServiceError("kafka is away; the job goes on when it is back")
        topics = site.topics_at_a_glance
        if run.state == "running" and run.job_id:
            found = site.flink.job(run.job_id)
            job["state"] = found["state"]
            if not run.bounded and any(vertex["status"] != "RUNNING" for vertex in found["vertices"]):
                job["state"] = "STARTING" if found["state"] == "RUNNING" else found["state"]
            watermark, moves = _watermark(site, topics, run)
            if watermark is not None and watermark < 2**53:
                job["watermark"] = instant_text(watermark)
            if not run.bounded:
                old_ms = time.time_ns() // 1_000_000 - run.parameters.bound_ms - site.settings.retention_ms // 2
                behind_ms = None if watermark and watermark > old_ms else _behind_ms(topics, run)
            job["checkpoint_age_s"], failure = _checkpoint(site, run, found["start-time"])
            if not run.bounded:
                job["problems"] = _standing(job, moves, failure)
            if job["state"] != "RUNNING" or job["problems"]:
                job["error"] = job["error"] or site.flink.root_exception(run.job_id) or failure or None
        job["lag"] = _lag(topics, run)
        if run.source == LIVE:
            read, rejected = counts.get(LIVE, {}).get("read", 0), counts.get(LIVE, {}).get("rejected", 0)
        else:
            source = context.source(run.source)
            rejected = source.refused_lines
            read = source.events + rejected
        if read:
            job["late_share"] = round(counts.get(run.run, {}).get("late", 0) / read, 6)
            job["rejected_share"] = round(rejected / read, 6)
    except (RtapLabError, OSError) as error:
        if job["state"] == "RUNNING":
            job["state"] = "UNKNOWN"  # the JobManager is away; the supervisor resubmits
        job["error"] = str(error).splitlines()[0]
    if not run.bounded:
        name, kept_ms = f"job {run.job} on {run.source}", site.settings.retention_ms
        problem, notice = behind(name, behind_ms, unread if job["unread"] else None, kept_ms=kept_ms)
        job["behind"] = problem or None
        job["problems"] += [problem] if problem else []
        job["notices"] += [notice] if notice else []
    return job


def behind(name: str, behind_ms: int | None, unread: Unread | None, *, kept_ms: int) -> tuple[str, str]:
    """A problem and a notice about a live job that reads slower than records come, or did; empty where there is none. Pure.

    Args:
        name: What the job is called.
        behind_ms: How long ago the record came that it reads next; None: not long ago, or not known.
        unread: What expired before it had read it; None: nothing.
        kept_ms: How long `events` keeps a record.
    """
    kept = duration_text(kept_ms)
    late = behind_ms is not None and behind_ms > kept_ms / 2
    lag = f"it is {duration_text(behind_ms // 1000 * 1000)} behind and records are kept for {kept}" if behind_ms else ""
    longer = f"`rtap down`, then `rtap up --retention {kept_ms * 2 // 60_000}min`"
    cure = f"send fewer events a second, or keep them for longer ({longer})"
    if unread is None:
        return "", f"{name}: {lag}: what it has not read by then is lost to it; {cure}" if late else ""
    words = f"{name}: {unread}"
    if late:
        return f"{words}; {lag}: {cure}", ""
    return "", f"{words}: its rows of that time lack them; {cure}"


def _watermark(site: Site, topics: Topics, run: Run) -> tuple[int | None, bool]:
    """A run's watermark, and whether it moves: it is new, or it moved while it was looked at."""
    if run.bounded:
        assert run.job_id is not None
        return site.flink.watermark_ms(run.job_id), True
    found: list[int | None] = []
    watermarks = Watermarks(topics)

    def is_new() -> bool:
        found.append(watermarks.upto_ms(run, watermarks.places(run)))
        old_ms = time.time_ns() // 1_000_000 - run.parameters.bound_ms - STANDS_MS
        return found[-1] is not None and found[-1] >= old_ms

    try:
        moves = until(is_new, 2, every=0.5) or found[-1] != found[0]
    finally:
        watermarks.close()
    # one whose place has expired reads on from the log's beginning: that is told apart, and by its checkpoints whether it moves
    return found[-1], moves or (found[-1] is None and _has_expired(topics, run))


def _has_expired(topics: Topics, run: Run) -> bool:
    """Whether the newest checkpoint's place lies before what the log still has."""
    done, starts = topics.committed(run.group, run.events), topics.starts([run.events])
    return any(done.get(p, start) < start for (_, p), start in starts.items())


def _behind_ms(topics: Topics, run: Run) -> int:
    """How long ago the oldest record came that its newest checkpoint has not read, of those that are left; 0: none is unread."""
    done, starts, ends = topics.committed(run.group, run.events), topics.starts([run.events]), topics.ends([run.events])
    first = {key: max(start, done.get(key[1], start)) for key, start in starts.items()}
    upto = {key: min(ends.get(key, place), place + NEAR) for key, place in first.items()}
    records = read_range(topics.kafka, first, upto, committed=False, patience=topics.patience)
    oldest = min((record.timestamp()[1] for record in records), default=None)
    return 0 if oldest is None else time.time_ns() // 1_000_000 - oldest


def _checkpoint(site: Site, run: Run, started_ms: int) -> tuple[float, str]:
    """How old a job's newest completed checkpoint is (the job, if it has none), seconds, and why the newest failed one failed."""
    assert run.job_id is not None
    latest = site.flink.checkpoints(run.job_id)["latest"]
    completed, failed = latest["completed"], latest["failed"]
    since_ms = completed["latest_ack_timestamp"] if completed else started_ms
    return round(time.time() - since_ms / 1000, 1), str((failed or {}).get("failure_message") or "")


def _standing(job: dict[str, Any], moves: bool, failure: str) -> list[str]:
    """Why the answers of a live job stand still; empty when they move."""
    name = f"job {job['name']} on {job['source']}"
    problems = []
    if not moves:
        problems.append(f"{name}: its watermark stands at {job['watermark'] or 'nothing'}: no answer moves")
    age = job["checkpoint_age_s"]
    if age * 1000 > STANDS_MS:
        problems.append(f"{name}: no checkpoint was completed for {age:.0f} s{f' ({failure})' if failure else ''}")
    return problems


def _lag(topics: Topics, run: Run) -> int:
    """Records that the job has not committed yet, ticks left out.

    Of a lag of more than `LOOKED_AT` records the newest are looked at, and the share of ticks among them is taken for all.
    """
    ends, done, starts = topics.ends([run.events]), topics.committed(run.group, run.events), topics.starts([run.events])
    begins = {(topic, p): max(start, done.get(p, start)) for (topic, p), start in starts.items()}
    behind = sum(max(0, end - begins[key]) for key, end in ends.items())
    if run.bounded or not behind:  # a recorded source has no ticks
        return behind
    newest = begins
    if behind > LOOKED_AT:
        newest = {key: max(begins[key], end - LOOKED_AT // len(ends)) for key, end in ends.items()}
    looked_at = sum(max(0, end - newest[key]) for key, end in ends.items())
    events = sum(
        record.value() != TICK_RECORD
        for record in read_range(topics.kafka, newest, ends, committed=False, patience=topics.patience)
    )
    return events if looked_at == behind else int(behind * events / looked_at)


def services_table(facts: dict[str, Any]) -> Table:
    """The services of a status."""
    rows = [
        [
            s["name"],
            s["state"],
            s["pid"],
            s["port"],
            s["rss_mb"],
            f"{s['uptime_s']:.0f} s" if s["uptime_s"] is not None else "",
            s["restarts"] or None,
            " ".join(s["links"]) or s["detail"],
        ]
        for s in facts["services"]
    ]
    return Table(("service", "state", "pid", "port", "MB", "uptime", "restarts", "link"), rows, grouped=False)


def job_words(job: dict[str, Any]) -> str:
    """A job of a status in one line, its error below."""
    shares = "".join(
        f", {name} {job[f'{name}_share']:.2%}" for name in ("late", "rejected") if job[f"{name}_share"] is not None
    )
    error = "".join(f"\n  {job[name]}" for name in ("error", "note") if job[name])
    watermark = job["watermark"] or "none yet"
    return (
        f"job {job['name']} on {job['source']}: {job['state']}, watermark {watermark}, lag {job['lag']}{shares}{error}"
    )


def next_steps(context: Context) -> list[str]:
    """What to do after `up`, and when the first rows are due."""
    lines = ["next: rtap simulate · rtap dash · rtap lab · rtap verify · rtap down"]
    run = context.runs.read().get(run_key(JOB, LIVE))
    if run is not None:
        slow = [f"{query.name}: {first_row(query.definition)}" for query in run.queries if waits_ms(query) > 60_000]
        if slow:
            lines.append(f"not at once: {'; '.join(slow)} (rtap up --gap 20s --within 30s is for a look)")
    return lines


def as_lines(facts: dict[str, Any], folder: Path) -> list[str]:
    """A status for a terminal."""
    if not facts["services"]:
        return [f"nothing is up in {folder}"]
    total = sum(s["rss_mb"] or 0 for s in facts["services"])
    return [
        str(services_table(facts)),
        *facts["problems"],
        *facts["notices"],
        f"{total:,.0f} MB resident; kafka at {facts['addresses']['kafka']}",
        *map(job_words, facts["jobs"]),
    ]


def as_shown(context: Context) -> dict[str, str]:
    """The lab as a notebook shows it, by MIME type; asked once."""
    place = str(context.state.folder)
    if not context.is_up:
        words = f"rtap lab at {place}: nothing is up"
        return {"text/plain": words, "text/html": f"<b>rtap lab</b> at <code>{escape(place)}</code>: nothing is up"}
    facts = status(context)
    jobs = "".join(f"<div>{escape(job_words(job))}</div>" for job in facts["jobs"])
    return {
        "text/plain": "\n".join(as_lines(facts, context.state.folder)),
        "text/html": f"<b>rtap lab</b>{services_table(facts)._repr_html_()}{jobs}",
    }
