"""The store writer: result topics to points."""

from __future__ import annotations

from rtap_lab.kafka.reader import TopicReader
from rtap_lab.services.process import ServiceProcess, own_service
from rtap_lab.services.site import Site
from rtap_lab.stack.service import Service
from rtap_lab.store.writer import Writer


def declare(site: Site) -> list[Service]:
    store = ("store",) if site.settings.store == "influxdb" else ()
    return [own_service(site, "writer", depends=(*site.kafka_names, *store))]


def main(process: ServiceProcess) -> None:
    """Write what the runs answer, until the stop."""
    store = process.site.open_store()
    reader = TopicReader(process.site.endpoints.kafka, "rtap-writer")
    job = Writer(store, reader, process.feeds)
    prepared = False

    def step() -> None:
        nonlocal prepared
        if not prepared:
            store.prepare()
            prepared = True
        try:
            job.refresh()
            job.step(0.5)
        except Exception:
            job.forget()  # from the store's own offsets again
            raise

    process.repeat(step)
    reader.close()
    store.close()
