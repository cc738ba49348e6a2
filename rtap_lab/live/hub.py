"""The hub's logic: channels, views of them, and how far each client is. Pure, not thread-safe; time is passed in.

A client has no queue: it has a place in each view that it follows, and gets what came after it when it can take it. So one
that is slow costs nothing, and what it gets is never older than it must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from msgspec import structs

from rtap_lab.errors import LiveError
from rtap_lab.live.protocol import (
    Message,
    Notice,
    Ping,
    Pong,
    Position,
    Row,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    hello,
)
from rtap_lab.live.views import Asked, Channel, View
from rtap_lab.queries.schema import Schema

SUBSCRIPTIONS = 128
"""Views that one client may follow."""

VIEWS = 2_000
"""Views that there may be; each holds up to 2,000 rows that it shares with its channel."""

IDLE_S = 15.0
"""Seconds without a row after which a client is told how far it is, with the checksum."""

FASTEST = 50.0
"""Updates a second that a client may ask for at most."""

Place = tuple[str, str]
"""Channel and source."""


def _channel_of(schema: Schema) -> Channel:
    return Channel(list(schema.columns), schema.identity, schema.time_column)


@dataclass
class _Subscription:
    view: View
    rate: float
    answer: Subscribed | None
    """What is said before everything else."""
    asks: Position | None = None
    """From where the client wants to go on."""
    seq: int | None = None
    """How far the client is; None: a snapshot is due."""
    reason: str = ""
    """Why the snapshot is due, where it is not the first."""
    due_s: float = 0.0
    """When it may get the next update."""
    idle_s: float = 0.0
    """When it is told that nothing came, with the checksum."""
    told: dict[type, Message] = field(default_factory=dict)
    """Its channel's notices that it knows, by kind."""


@dataclass
class _Client:
    subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    said: list[Message] = field(default_factory=list)
    greet: bool = True


class Hub:
    """Channels and clients.

    Args:
        name: Names this process, for people.
        channels: The queries' rows by name; `set_channels` changes them.
    """

    def __init__(self, name: str, channels: Mapping[str, Schema] | None = None) -> None:
        self.name = name
        self._schemas: dict[str, Schema] = dict(channels or {})
        self._channels: dict[Place, Channel] = {}
        self._views: dict[Asked, View] = {}
        self._clients: dict[object, _Client] = {}

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self._clients)

    # --- what comes from the topics --------------------------------------------------------------

    def set_channels(self, channels: Mapping[str, Schema]) -> set[object]:
        """Queries came or went: clients are reached with a new greeting; what is gone is forgotten.

        Args:
            channels: By name; a run that answers may have other columns (`begin`).
        """
        came, went = channels.keys() - self._schemas.keys(), self._schemas.keys() - channels.keys()
        self._schemas = dict(channels)
        if not came and not went:
            return set()
        self._forget({place for place in self._channels if place[0] in went})
        for client in self._clients.values():
            client.greet = True
        return set(self._clients)

    def _forget(self, places: Set[Place]) -> None:
        """Channels go, and their views; clients are told."""
        for place in places:
            del self._channels[place]
        self._views = {
            asked: view for asked, view in self._views.items() if (asked.channel, asked.source) not in places
        }
        for client in self._clients.values():
            for ref, each in list(client.subscriptions.items()):
                if (each.view.asked.channel, each.view.asked.source) in places:
                    del client.subscriptions[ref]
                    client.said.append(Message(Unsubscribed(ref)))

    def begin(
        self,
        channel: str,
        source: str,
        epoch: str,
        seq: int,
        *,
        schema: Schema | None = None,
        provisional: bool = False,
        first_row: str = "",
        first_row_ms: int = 0,
        due_ms: int = 0,
        bound_ms: int = 0,
        begins: int | None = None,
    ) -> set[object]:
        """A run answers from now on; nothing of it is shown before `loaded`.

        Args:
            channel: The query's name.
            source: The source's.
            epoch: The run.
            seq: The place after which its rows are read.
            schema: Of its rows, where they may differ from what its job asks by now.
            provisional: Whether rows may come again after a failure.
            first_row: When its first row can be there, in words.
            first_row_ms: And as a time, milliseconds since the epoch, if events came since the run began; 0: not known.
            due_ms: How long after its time a row is due.
            bound_ms: The run's lateness bound.
            begins: The place after which its first row can be; `seq` when left out.

        Returns:
            Clients that may have something to read.
        """
        place = (channel, source)
        found = self._channel(place)
        told: set[object] = set()
        if schema is not None and (found.columns, found.identity) != (list(schema.columns), schema.identity):
            told = self._followers(place)
            self._forget({place})
            found = self._channels[place] = _channel_of(schema)
        found.begin(epoch, seq, seq if begins is None else begins)
        found.provisional, found.loaded = provisional, False
        found.due_ms, found.bound_ms = due_ms, bound_ms
        found.first_row, found.first_row_ms = first_row, first_row_ms
        for view in self._views_of(place):
            view.renew()
        return told | self._behind(place, "another run answers now")

    def loaded(self, channel: str, source: str) -> set[object]:
        """What was there has been read: clients are served."""
        found = self._channels.get((channel, source))
        if found is None:  # its query went
            return set()
        found.loaded = True
        return self._followers((channel, source))

    def end(self, channel: str, source: str) -> set[object]:
        """No run answers any more."""
        found = self._channels.get((channel, source))
        if found is None or not found.epoch:
            return set()
        self.begin(channel, source, "", 0)
        return self.loaded(channel, source)

    def publish(
        self, channel: str, source: str, rows: Sequence[tuple[int, Row]], *, appended_ms: int, received_ms: int
    ) -> set[object]:
        """Rows came, each with its place in the topic.

        Returns:
            Clients that may have something to read.
        """
        found = self._channels.get((channel, source))
        if found is None:  # its query went
            return set()
        found.appended_ms, found.received_ms = appended_ms, received_ms
        new = found.put(rows)
        for view in self._views_of((channel, source)):
            view.put(new)
        return self._followers((channel, source))

    def notify(self, told: Notice) -> set[object]:
        """Something became known of a run beside its rows: its followers are told, and who comes later.

        Args:
            told: Of another run than answers now nothing is told.

        Returns:
            Clients that may have something to read.
        """
        place, kind = (told.channel, told.source), type(told)
        found = self._channels.get(place)
        if found is None or found.epoch != told.epoch:
            return set()
        if kind in found.notices and found.notices[kind].said == told:
            return set()
        found.notices[kind] = Message(told)
        return self._followers(place)

    # --- what comes from the clients -------------------------------------------------------------

    def connect(self, client: object) -> None:
        """A client came; it is greeted."""
        self._clients[client] = _Client()

    def disconnect(self, client: object) -> None:
        """A client left."""
        gone = self._clients.pop(client, None)
        for each in gone.subscriptions.values() if gone else ():
            self._unfollow(client, each.view)

    def request(self, client: object, request: Subscribe | Unsubscribe | Ping) -> None:
        """A client asked for something.

        Raises:
            LiveError: When there is no such channel or column, or it follows too much.
        """
        mine = self._clients[client]
        match request:
            case Ping():
                if len(mine.said) < SUBSCRIPTIONS:  # one that reads nothing needs no answer
                    mine.said.append(Message(Pong()))
            case Unsubscribe(ref):
                gone = mine.subscriptions.pop(ref, None)
                if gone:
                    self._unfollow(client, gone.view)
            case Subscribe():
                self._subscribe(client, mine, request)

    def _subscribe(self, key: object, client: _Client, request: Subscribe) -> None:
        schema = self._schemas.get(request.channel)
        if schema is None:
            known = ", ".join(sorted(self._schemas))
            raise LiveError(f"channel {request.channel!r} is not known: one of {known}")
        channel = self._channels.get((request.channel, request.source)) or _channel_of(schema)
        unknown = sorted({*request.where, *request.columns, *request.latest_by} - set(channel.columns))
        if unknown:
            raise LiveError(f"{request.channel} has no column {unknown[0]!r}: {', '.join(channel.columns)}")
        if not 0 <= request.rate <= FASTEST:
            raise LiveError(f"rate {request.rate:g}: up to {FASTEST:g} updates a second, or 0 for each as it comes")
        if len(request.source) > 40 or len(request.ref) > 2_000:
            raise LiveError("source and ref are names")
        ref = request.ref or f"{request.channel}/{request.source}"
        before = client.subscriptions.get(ref)
        if before is None and len(client.subscriptions) >= SUBSCRIPTIONS:
            raise LiveError(f"a client may follow {SUBSCRIPTIONS} views; unsubscribe from some")
        asked = Asked.by(request)
        view = self._views.get(asked)
        if view is None and len(self._views) >= VIEWS:
            raise LiveError(f"there are {VIEWS} views already; follow whole channels, and filter what comes")
        if view is None:
            view = self._views[asked] = View(asked, self._channel((request.channel, request.source)))
        twice = next((name for name, each in client.subscriptions.items() if each.view is view and name != ref), None)
        if twice is not None:  # what is sent names the view, not who asked
            raise LiveError(f"{asked.name} is followed already, as {twice!r}: one of them is enough")
        latest_by = list(asked.latest_by)
        answer = Subscribed(
            ref, view.asked.name, view.columns, latest_by, channel.identity, channel.time, False, "", 0
        )  # whether it is recovered, and where the channel is, is known when it is said
        client.subscriptions[ref] = _Subscription(view, request.rate, answer, request.resume)
        view.followers.add(key)
        if before is not None and before.view is not view:
            self._unfollow(key, before.view)

    # --- what clients are sent -------------------------------------------------------------------

    def take(self, client: object, now_s: float) -> list[Message]:
        """What a client should be sent now."""
        mine = self._clients.get(client)
        if mine is None:
            return []
        found = [self._greeting()] if mine.greet else []
        mine.greet = False
        found += mine.said
        mine.said = []
        for each in mine.subscriptions.values():
            found += self._news(each, now_s)
        return found

    def due_s(self, client: object) -> float | None:
        """When a client may get what a rate holds back; None: nothing is."""
        mine, due = self._clients.get(client), None
        for each in mine.subscriptions.values() if mine else ():  # asked after each frame: no list, no generator
            if each.view.channel.loaded and self._has_news(each) and (due is None or each.due_s < due):
                due = each.due_s
        return due

    def idle(self, now_s: float) -> set[object]:
        """Clients that nothing was said to for so long that they are told how far they are."""
        return {
            key
            for key, client in self._clients.items()
            if any(each.idle_s <= now_s and each.answer is None for each in client.subscriptions.values())
        }

    @staticmethod
    def _has_news(mine: _Subscription) -> bool:
        return mine.seq is None or mine.view.has_news(mine.seq)

    def _news(self, mine: _Subscription, now_s: float) -> list[Message]:
        if not mine.view.channel.loaded:
            return []
        found = self._rows(mine, now_s)
        for kind, notice in mine.view.channel.notices.items():
            if mine.told.get(kind) is not notice:
                mine.told[kind] = notice
                found.append(notice)
        return found

    @staticmethod
    def _rows(mine: _Subscription, now_s: float) -> list[Message]:
        view, channel = mine.view, mine.view.channel
        found = []
        if mine.answer is not None:
            if mine.asks is not None:
                mine.seq, mine.reason = mine.asks.seq, view.goes_on(mine.asks.epoch, mine.asks.seq)
            recovered = mine.asks is not None and not mine.reason
            answer = structs.replace(mine.answer, recovered=recovered, epoch=channel.epoch, head=channel.seq)
            found.append(Message(answer))
            mine.answer = mine.asks = None
            mine.idle_s = now_s + IDLE_S
        elif mine.seq is not None and not mine.reason:
            mine.reason = view.goes_on(channel.epoch, mine.seq)
        if mine.seq is None or mine.reason:
            found.append(view.snapshot(mine.reason))
        elif (view.has_news(mine.seq) and now_s >= mine.due_s) or (now_s >= mine.idle_s and mine.seq <= channel.seq):
            found.append(view.update(mine.seq))
        else:
            if now_s >= mine.idle_s:  # the client is ahead: another hub had read more than this one has so far
                mine.idle_s = now_s + IDLE_S
            return found
        mine.seq, mine.reason = channel.seq, ""
        mine.due_s = now_s + 1 / mine.rate if mine.rate else 0.0
        mine.idle_s = now_s + IDLE_S
        return found

    def _greeting(self) -> Message:
        heads = {
            f"{name}/{source}": {"epoch": channel.epoch, "head": channel.seq}
            for (name, source), channel in sorted(self._channels.items())
            if channel.loaded and channel.epoch
        }
        return hello(self.name, heads, list(self._schemas))

    # --- which is which --------------------------------------------------------------------------

    def _channel(self, place: Place) -> Channel:
        found = self._channels.get(place)
        if found is None:
            schema = self._schemas[place[0]]
            found = self._channels[place] = _channel_of(schema)
        return found

    def _views_of(self, place: Place) -> list[View]:
        return [view for asked, view in self._views.items() if (asked.channel, asked.source) == place]

    def _followers(self, place: Place) -> set[object]:
        return set[object]().union(*(view.followers for view in self._views_of(place)))

    def _behind(self, place: Place, reason: str) -> set[object]:
        followers = self._followers(place)
        for key in followers:
            for each in self._clients[key].subscriptions.values():
                if (each.view.asked.channel, each.view.asked.source) == place and each.answer is None:
                    each.reason = reason
        return followers

    def _unfollow(self, key: object, view: View) -> None:
        """A client follows a view no longer, unless by another name; what nobody follows is forgotten."""
        client = self._clients.get(key)
        if client is None or all(each.view is not view for each in client.subscriptions.values()):
            view.followers.discard(key)
        if not view.followers and self._views.get(view.asked) is view:
            del self._views[view.asked]
            place = (view.asked.channel, view.asked.source)
            if not view.channel.epoch and self._channels.get(place) is view.channel and not self._views_of(place):
                del self._channels[place]
