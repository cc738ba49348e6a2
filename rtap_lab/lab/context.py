"""One lab as seen from a command or a notebook: its state folder, and one client of each service. Starts nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from rtap_lab.endpoints import Endpoints
from rtap_lab.errors import NotRunningError, SourceError
from rtap_lab.jobs.documents import jobs_document, runs_document, sources_document
from rtap_lab.jobs.lifecycle import Lifecycle
from rtap_lab.jobs.model import catalog, run_of, runs_on
from rtap_lab.kafka.topics import Topics
from rtap_lab.queries.query import Catalog, Query
from rtap_lab.recordings.sources import Source
from rtap_lab.services.site import Site, schema_document, settings_document
from rtap_lab.settings import LIVE, JobParameters, Settings
from rtap_lab.stack.ports import Ports, ports_document
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import find_services, find_supervisor
from rtap_lab.store.port import Store


@dataclass
class SqlSession:
    """What a person's statements leave for the later ones of the same `Lab`, as a session of Flink's keeps it."""

    views: dict[str, str] = field(default_factory=dict)
    """Temporary views: by name, the statement that makes them."""
    settings: dict[str, str] = field(default_factory=dict)


class Context:
    """What everything that a person does with a lab needs.

    Args:
        state: The lab's state folder.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.sql_session = SqlSession()
        self.runs = runs_document(state)
        self.jobs = jobs_document(state)
        self.sources = sources_document(state)
        self._site: tuple[Ports, Settings, Site] | None = None

    # --- what runs -------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether services of this lab run, with or without their supervisor."""
        return self.state.exists and (find_supervisor(self.state) is not None or bool(find_services(self.state.folder)))

    @property
    def site(self) -> Site:
        """The lab's services and one client of each, for as long as ports and settings stay as they are.

        Raises:
            NotRunningError: When nothing is up.
        """
        if not self.is_up:
            raise NotRunningError(f"no stack is up in {self.state.folder}", hint="start it: rtap up")
        ports, settings = ports_document(self.state).read(), settings_document(self.state).read()
        if self._site is None or self._site[:2] != (ports, settings):
            self._site = (ports, settings, Site(self.state))
        return self._site[2]

    @property
    def endpoints(self) -> Endpoints:
        return self.site.endpoints

    @property
    def topics(self) -> Topics:
        return self.site.topics

    @property
    def lifecycle(self) -> Lifecycle:
        return self.site.lifecycle

    def open_store(self) -> Store:
        """The lab's store, for reading; close it after use. The embedded one is there without a stack too.

        Raises:
            NotRunningError: When there is none.
        """
        embedded = self.state.exists and settings_document(self.state).read().store == "sqlite"
        if embedded and not self.is_up and ports_document(self.state).read():
            return Site(self.state).open_store()
        return self.site.open_store()

    @property
    def schema_id(self) -> int | None:
        """The registered schema's id."""
        return schema_document(self.state).read()

    # --- what is known ---------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """Every query that the lab knows."""
        return catalog(self.jobs.read())

    def query(self, name: str, source: str = LIVE) -> Query:
        """A query as it runs on a source; as it would run where it does not.

        Raises:
            SettingsError: When there is none of that name.
        """
        run = run_of(self.runs.read(), name, source)
        if run is not None:
            return next(query for query in run.queries if query.name == name)
        return self.catalog[name]

    def source(self, name: str) -> Source:
        """A recorded source.

        Raises:
            SourceError: When there is none of that name.
        """
        found = self.sources.read().get(name)
        if found is None:
            raise SourceError(f"there is no recorded source {name!r}", hint="`rtap sources list`")
        return found

    def check_source(self, name: str) -> None:
        """Refuse what is neither "live" nor a recorded source.

        Raises:
            SourceError: When it is neither.
        """
        if name != LIVE:
            self.source(name)

    def lateness_bound_ms(self, source: str) -> int:
        """The bound under which a source's events are judged: its run's, else the one that a run would have.

        Raises:
            SourceError: When there is no such source.
        """
        runs = runs_on(self.runs.read(), source)
        if runs:
            return runs[0].parameters.bound_ms
        return JobParameters().bound_ms if source == LIVE else self.source(source).lateness_bound_ms
