"""What a lab looks like from outside: services, addresses, jobs."""

from __future__ import annotations

import html
import shutil
import time
from typing import TYPE_CHECKING, Any

import psutil

from rtap_lab.errors import NotRunningError, RtapLabError
from rtap_lab.events.times import instant_text
from rtap_lab.kafka.topics import Topics, events_topic
from rtap_lab.lab import control
from rtap_lab.lab.addresses import Addresses, known
from rtap_lab.lab.runs import LIVE, Runs, group
from rtap_lab.stack.supervisor import running

if TYPE_CHECKING:
    from rtap_lab.lab.core import Lab

FULL_BYTES = 100_000_000
"""With less free space than this, a broker or a checkpoint fails soon."""


def status(lab: Lab) -> dict[str, Any]:
    """State, port, memory, uptime and links of the services; watermark, lag and shares of the jobs."""
    state = lab.state
    if not state.exists or control.revive(state) is None:
        return {"services": [], "supervisor": {"pid": None}, "addresses": {}, "jobs": [], "problems": [], "ok": False}
    addresses = known(state)
    chosen = state.read("settings") or {}
    table: dict[str, dict[str, Any]] = state.read("services") or {}
    if chosen.get("store", "sqlite") == "sqlite":
        ready = (state.folder / "store" / "points.sqlite").exists()
        table["store"] = {"state": "ready" if ready else "starting", "pid": None, "port": None}
    services = [_service(name, each) for name, each in table.items()]
    supervisor = running(state)
    jobs = _jobs(lab, addresses)
    store = (
        addresses.url("store") if chosen.get("store") == "influxdb" else str(state.folder / "store" / "points.sqlite")
    )
    free = shutil.disk_usage(state.folder).free
    problems = []
    if free < FULL_BYTES:
        problems.append(
            f"the disk is full: {free / 1e6:.0f} MB are free where {state.folder} is; free some, services come back by themselves"
        )
    ok = (
        not problems
        and all(s["state"] == "ready" for s in services)
        and any(j["source"] == LIVE and j["state"] == "RUNNING" for j in jobs)
    )
    return {
        "services": services,
        "supervisor": {"pid": supervisor.pid if supervisor else None},
        "addresses": {
            "kafka": addresses.kafka,
            "registry": addresses.url("registry"),
            "flink": addresses.url("flink"),
            "gateway": addresses.url("gateway"),
            "hub": addresses.hub,
            "dashboard": f"{addresses.url('dashboard')}/app",
            "store": store,
        },
        "profile": chosen.get("profile"),
        "jobs": jobs,
        "problems": problems,
        "ok": ok,
    }


def _service(name: str, each: dict[str, Any]) -> dict[str, Any]:
    memory: float | None = None
    uptime: float | None = None
    now, detail = each["state"], each.get("detail", "")
    if each.get("pid"):
        try:
            process = psutil.Process(each["pid"])
            memory = round(process.memory_info().rss / 1e6, 1)
            uptime = round(time.time() - process.create_time(), 1)
        except psutil.Error:  # the supervisor will say so, unless its disk is full
            now, detail = "dead", "its process is gone"
    return {
        "name": name,
        "state": now,
        "pid": each.get("pid"),
        "port": each.get("port"),
        "rss_mb": memory,
        "uptime_s": uptime,
        "restarts": each.get("restarts", 0),
        "detail": detail,
        "links": [each["link"]] if each.get("link") else [],
    }


def _jobs(lab: Lab, addresses: Addresses) -> list[dict[str, Any]]:
    runs = Runs(lab.state, addresses)
    topics = Topics(addresses.kafka)
    counts = lab.state.read("audit") or {}
    jobs = []
    for source, run in runs.all().items():
        job: dict[str, Any] = {
            "name": "standard",
            "source": source,
            "run": run["run"],
            "job_id": run["job_id"],
            "parameters": run["parameters"],
            "state": run["state"].upper(),
            "watermark": None,
            "lag": None,
            "late_share": None,
            "rejected_share": None,
            "error": run.get("error") or None,
        }
        try:
            if run["state"] == "running" and run["job_id"]:
                found = runs.rest.job(run["job_id"])
                job["state"] = found["state"]
                watermark = runs.rest.watermark_ms(run["job_id"])
                if watermark is not None and watermark < 2**53:
                    job["watermark"] = instant_text(watermark)
            topic = events_topic(None if source == LIVE else source)
            ends, done = topics.ends([topic]), topics.committed(group(source), topic)
            job["lag"] = sum(max(0, end - done.get(p, 0)) for (_, p), end in ends.items() if end)
            if source == LIVE:
                read = counts.get("live", {}).get("read", 0)
                rejected = counts.get("live", {}).get("rejected", 0)
            else:
                files = lab.sources().get(source, {"files": {}})["files"].values()
                read, rejected = sum(f["read"] for f in files), sum(f["rejected"] for f in files)
            if read:
                job["late_share"] = round(counts.get(run["run"], {}).get("late", 0) / read, 6)
                job["rejected_share"] = round(rejected / read, 6)
        except (RtapLabError, OSError) as error:
            if job["state"] == "RUNNING":
                job["state"] = "UNKNOWN"  # the JobManager is away; the supervisor resubmits
            job["error"] = str(error).splitlines()[0]
        jobs.append(job)
    return jobs


def as_html(lab: Lab) -> str:
    """The lab as a notebook shows it."""
    try:
        facts = status(lab)
    except NotRunningError:
        facts = {"services": [], "jobs": []}
    if not facts["services"]:
        return f"<b>rtap lab</b> at <code>{html.escape(str(lab.state.folder))}</code>: nothing is up"

    def links(each: dict[str, Any]) -> str:
        return " ".join(
            f'<a href="{u}" target="_blank">{html.escape(u)}</a>' if u.startswith("http") else html.escape(u)
            for u in each["links"]
        )

    services = "".join(
        f"<tr><td>{s['name']}</td><td>{s['state']}</td><td>{s['rss_mb'] or ''}</td><td>{links(s)}</td></tr>"
        for s in facts["services"]
    )
    jobs = "".join(
        f"<tr><td>{j['name']} on {html.escape(j['source'])}</td><td>{j['state']}</td>"
        f"<td>lag {j['lag']}</td><td>watermark {j['watermark'] or 'none yet'}</td></tr>"
        for j in facts["jobs"]
    )
    head = "<tr><th>service</th><th>state</th><th>MB</th><th>link</th></tr>"
    return f"<b>rtap lab</b><table>{head}{services}{jobs}</table>"
