"""Messages to JSON: each text is joined from encoded pieces, columns at a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rtap_lab.simulator.draws import Ints
from rtap_lab.simulator.site import PRODUCTS, says
from rtap_lab.simulator.trace import MALFORMED, Trace
from rtap_lab.simulator.visits import Columns

LANDING = 1
"""The step of a visit at which it lands on a page; the one before is its start."""

# made when they are first needed: pyarrow imports pandas for its first array, which nobody should wait for who only
# wants a status


@cache
def _millis() -> pa.Array:
    return pa.array([f".{ms:03d}Z" for ms in range(1000)])


@cache
def _cents() -> pa.Array:
    return pa.array([f".{cents:02d}" for cents in range(100)])


class Encoder:
    """Encodes the messages of one trace.

    Args:
        trace: Whose messages.
        run: Goes into every event_id, so that the same seed can run twice on one topic.
    """

    def __init__(self, trace: Trace, run: str = "") -> None:
        self.trace = trace
        self.prefix = f'{{"event_id":"{run}{"-" if run else ""}{trace.seed}-'
        self._nodes = pa.array(
            [self._node(node, product) for node in range(len(trace.visitors.nodes)) for product in range(len(PRODUCTS))]
        )

    def _node(self, node: int, product: int) -> str:
        """What an event of a node says, without its value."""
        facts = zip(("event_type", "name", "page"), says(self.trace.visitors.nodes, node, product), strict=True)
        return "".join(f',"{name}":{json.dumps(said)}' for name, said in facts if said is not None)

    def encode(self, messages: Columns, event_ms: Ints) -> pa.Array:
        """The messages' bytes.

        Args:
            messages: Of the trace.
            event_ms: The time each event says, milliseconds since the epoch.

        Returns:
            A binary array, one value for each message.
        """
        if not len(event_ms):
            return pa.array([], pa.binary())
        visitors = self.trace.visitors
        stream = pa.array([stream_name(n) for n in range(len(visitors.streams))])
        visit = [stream.take(pa.array(messages["stream"])), _text(messages["number"])]
        seconds, at = np.unique(event_ms // 1000, return_inverse=True)
        instants = pa.array(
            [f'","event_time":"{datetime.fromtimestamp(s, UTC):%Y-%m-%dT%H:%M:%S}' for s in seconds.tolist()]
        )
        value = messages["cents"]
        worth = pc.if_else(
            pa.array(value > 0),
            pc.binary_join_element_wise(',"value":', _text(value // 100), _cents().take(pa.array(value % 100)), ""),
            "",
        )
        node = messages["node"] * len(PRODUCTS) + messages["product"]
        joined = pc.binary_join_element_wise(
            self.prefix,
            *visit,
            "-",
            _text(messages["step"]),
            instants.take(pa.array(at)),
            _millis().take(pa.array(event_ms % 1000)),
            '","visitor_id":"v',
            _padded(messages["visitor"]),
            '","session_id":"',
            *visit,
            '"',
            self._nodes.take(pa.array(node)),
            worth,
            self._who(messages),
            self._fields(messages),
            "}",
            "",
        ).cast(pa.binary())
        bad = np.flatnonzero(messages["bad"])
        if not len(bad):
            return joined
        spoilt = [
            spoil(text, MALFORMED[kind - 1])
            for text, kind in zip(joined.take(pa.array(bad)).to_pylist(), messages["bad"][bad].tolist(), strict=True)
        ]
        return pc.replace_with_mask(joined, pa.array(messages["bad"] > 0), pa.array(spoilt, pa.binary()))

    def _who(self, messages: Columns) -> pa.Array:
        """Device, country, campaign and, up to the landing, referrer: there are few combinations."""
        visitors = self.trace.visitors
        referrer = np.where(messages["step"] <= LANDING, messages["referrer"], 0)
        sizes = [len(x) for x in (visitors.devices, visitors.countries, visitors.campaigns, visitors.referrers)]
        code = np.ravel_multi_index((messages["device"], messages["country"], messages["campaign"], referrer), sizes)
        found, at = np.unique(code, return_inverse=True)
        texts = []
        for device, country, campaign, came in zip(*np.unravel_index(found, sizes), strict=True):
            facts = {"device": visitors.devices[device], "country": visitors.countries[country]}
            if campaign:
                facts["campaign"] = visitors.campaigns[campaign]
            if came:
                facts["referrer"] = visitors.referrers[came]
            texts.append("," + json.dumps(facts, separators=(",", ":"))[1:-1])
        return pa.array(texts).take(pa.array(at))

    def _fields(self, messages: Columns) -> pa.Array:
        """The new optional field, from when it is there."""
        texts = [""] + [
            f',"properties":{json.dumps({c.name: c.page}, separators=(",", ":"))}' if c.kind == "field" else ""
            for c in self.trace.changes
        ]
        return pa.array(texts).take(pa.array(messages["field"]))


def stream_name(number: int) -> str:
    """What the visits of a stream begin their numbers with: a, b, …, z, a1, …; no digit runs into theirs."""
    return f"{chr(97 + number % 26)}{f'{number // 26}.' if number >= 26 else ''}"


def _text(numbers: Ints) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _padded(numbers: Ints) -> pa.Array:
    """Numbers below 10**9 as nine digits."""
    return pc.utf8_lpad(_text(numbers), 9, "0")


def spoil(text: bytes, reason: str) -> bytes:
    """A record as a broken tracker would send it, so that it is rejected for one of the reasons."""
    if reason == "parse":
        return text[: len(text) // 2]
    event = json.loads(text)
    if reason == "missing":
        del event["visitor_id"]
    elif reason == "type":
        event["value"] = "twelve"
    elif reason == "event_type":
        event["event_type"] = "pageview"
    elif reason == "time":
        event["event_time"] = "yesterday"
    else:
        event["event_time"] = "2999" + event["event_time"][4:]
    return json.dumps(event, separators=(",", ":")).encode()


def keys(messages: Columns) -> list[str]:
    """The messages' keys: their visitors' ids."""
    return list(map("v%09d".__mod__, messages["visitor"].tolist()))
