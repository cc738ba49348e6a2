"""The store writer: result topics to points."""

from __future__ import annotations

from rtap_lab.kafka.reader import TopicReader
from rtap_lab.services.process import ServiceProcess, log, own_service
from rtap_lab.services.site import Site
from rtap_lab.stack.service import Service
from rtap_lab.stack.state import Document, State
from rtap_lab.store.writer import Foreign, Writer


def foreign_document(state: State) -> Document[dict[str, Foreign]]:
    """What was set aside of the result topics, for the status; the writer is its only writer."""
    return Document(state, "foreign", dict[str, Foreign], dict)


def declare(site: Site) -> list[Service]:
    store = ("store",) if site.settings.store == "influxdb" else ()
    return [own_service(site, "writer", depends=(*site.kafka_names, *store))]


def main(process: ServiceProcess) -> None:
    """Write what the runs answer, until the stop."""
    store = process.site.open_store()
    reader = TopicReader(process.site.endpoints.kafka, "rtap-writer")
    document = foreign_document(process.state)
    job = Writer(store, reader, process.feeds, document.read())
    prepared, noted = False, job.foreign

    def step() -> None:
        nonlocal prepared, noted
        if not prepared:
            store.prepare()
            prepared = True
        try:
            job.refresh()
            job.step(0.5)
            if job.foreign != noted:
                document.write(dict(job.foreign))
                noted = job.foreign
                log.warning("set aside: %s", noted)
        except Exception:
            job.forget()  # from the store's own offsets again
            raise

    process.repeat(step)
    reader.close()
    store.close()
