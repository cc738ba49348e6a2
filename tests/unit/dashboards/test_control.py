"""What the dashboard's process answers about its lab, and who may make it do something."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application

from rtap_lab.dashboards import access
from rtap_lab.dashboards.control import routes
from rtap_lab.errors import JobError
from rtap_lab.live.access import issue, viewing
from rtap_lab.queries.query import Query
from rtap_lab.stack.process import free_port

SECRET = "secret"


class Fake:
    """A lab of which it is counted how often it was looked at."""

    def __init__(self) -> None:
        self.looked = 0
        self.done: list[str] = []
        self.acts = {"run": self.run, "fail": self.fail, "rate": lambda rate: f"{float(rate):g}"}

    def facts(self) -> dict[str, Any]:
        self.looked += 1
        return {"ok": True}

    def queries(self) -> list[Query]:
        return []

    def run(self, name: str) -> str:
        self.done.append(name)
        return "begun"

    def fail(self) -> None:
        raise JobError("flink: 100 % of it is away")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    monkeypatch.setenv("RTAP_DASHBOARD_SECRET", SECRET)
    fake, port, ready = Fake(), free_port(), threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        HTTPServer(Application(routes(fake))).listen(port, "127.0.0.1")  # type: ignore[arg-type]
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    base = f"http://127.0.0.1:{port}"

    def client(secret: str | None) -> httpx.Client:
        cookies = {f"rtap-{port}": issue(secret, time.time())} if secret else {}
        return httpx.Client(base_url=base, cookies=cookies, trust_env=False)

    yield SimpleNamespace(
        fake=fake, owner=client(SECRET), viewer=client(viewing(SECRET)), nobody=client(None), base=base
    )
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_who_looks_shares_one_look_and_only_the_owner_may_act(served: SimpleNamespace) -> None:
    assert served.nobody.get("/control/facts").status_code == 403
    assert served.viewer.get("/control/facts").json() == {"ok": True, "may_act": False}
    assert served.owner.get("/control/facts").json() == {"ok": True, "may_act": True}
    assert served.fake.looked == 1
    for client in (served.nobody, served.viewer):
        answer = client.post("/control/act", json={"act": "run", "name": "x"})
        assert (answer.status_code, "only shows" in answer.json()["error"]) == (403, True)
    assert served.fake.done == []
    assert served.owner.post("/control/act", json={"act": "run", "name": "x"}).json() == {"done": "begun"}
    assert served.fake.done == ["x"]
    served.owner.get("/control/facts")
    assert served.fake.looked == 2, "after an act it is looked again"


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        ('{"act": "run", "name": "x"}', {"Content-Type": "text/plain"}, 415),
        ('{"act": "run", "name": "x"}', {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ('{"act": "run", "name": "x"}', {"Origin": "http://evil.example"}, 403),
        ('{"act": "run", "name": "x"}', {"Origin": "http://127.0.0.1:1"}, 403),
        ('{"act": "run", "name": "x"}', {"Host": "evil.example"}, 403),
        ('{"act": "run"}', {}, 400),
        ('{"act": "run", "name": "x", "more": 1}', {}, 400),
        ('{"act": "__class__"}', {}, 400),
        ('{"act": ["run"]}', {}, 400),
        ("[]", {}, 400),
        ("{", {}, 400),
        ("[" * 100_000, {}, 400),
        ('{"act": "rate", "rate": "fast"}', {}, 400),
        ('{"act": "rate", "rate": {}}', {}, 400),
    ],
)
def test_what_is_not_asked_properly_does_nothing(
    served: SimpleNamespace, body: str, headers: dict[str, str], code: int
) -> None:
    answer = served.owner.post("/control/act", content=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == code, answer.text
    assert answer.json()["error"]
    assert served.fake.done == []


def test_what_goes_wrong_is_said(served: SimpleNamespace) -> None:
    answer = served.owner.post("/control/act", json={"act": "fail"})
    assert (answer.status_code, answer.json()["error"]) == (409, "flink: 100 % of it is away")


def test_a_viewers_token_is_none_of_an_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTAP_DASHBOARD_SECRET", SECRET)
    assert access._who(issue(SECRET, time.time())) == access.OWNER
    assert access._who(issue(viewing(SECRET), time.time())) == access.VIEWER
    assert access._who(issue(viewing(viewing(SECRET)), time.time())) is None
    assert access._who("") is None


@pytest.mark.parametrize(
    ("address", "origin", "is_it"),
    [
        ("https://hub.example.org/user/me/proxy/8050", "https://hub.example.org", True),
        ("https://hub.example.org/user/me/proxy/8050", "http://hub.example.org", False),
        ("https://hub.example.org/user/me/proxy/8050", "https://evil.example", False),
        ("https://hub.example.org/user/me/proxy/8050", "null", False),
        ("https://hub.example.org/user/me/proxy/8050", None, False),
        ("http://127.0.0.1:8050", "http://127.0.0.1:9999", False),
        ("", "null", False),
        ("", "", False),
    ],
)
def test_only_the_proxys_own_pages_are_of_the_proxy(
    monkeypatch: pytest.MonkeyPatch, address: str, origin: str | None, is_it: bool
) -> None:
    monkeypatch.setenv("RTAP_DASHBOARD_ADDRESS", address)
    assert access.is_proxy(origin) is is_it
