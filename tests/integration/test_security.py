"""No page and no other user: what a browser or another uid of this machine can send to each port, and that it is refused.

A page cannot show a certificate that it does not have, nor make a browser trust ours; so the corpus goes to every port of
Flink's in plain text, over TLS without a certificate and over TLS with somebody else's, under the headers that a page can
make a browser send (foreign Origin, a rebound Host, `text/plain`, which asks for no preflight).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rtap_lab.flink.rest import FlinkRest
from rtap_lab.lab import Lab
from rtap_lab.live.access import LIFE_S, issue, viewing
from rtap_lab.live.protocol import UNAUTHORIZED, authorize
from rtap_lab.stack.certificate import certificate_of
from rtap_lab.stack.ports import ports_document
from rtap_lab.stack.state import State
from rtap_lab.waiting import until

NOBODY = 65_534
TO_HTTPS = "301 b''"
"""All that Flink says to plain HTTP: that it speaks TLS here."""
STATEMENTS = (
    "SELECT 1",
    "ADD JAR 'file:///tmp/evil.jar'",
    "CREATE TABLE t (line STRING) WITH ('connector' = 'filesystem', 'path' = '/etc/passwd', 'format' = 'raw')",
    "CREATE FUNCTION f AS 'java.lang.Runtime' USING JAR 'file:///tmp/evil.jar'",
    "SET 'pipeline.jars' = 'file:///tmp/evil.jar'",
    "CREATE TABLE t WITH ('connector' = 'filesystem', 'path' = '/tmp/out', 'format' = 'json') AS SELECT * FROM events",
    "EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1; END",
    "STOP JOB 'x'",
)
FLINK = (
    ("GET", "/overview"),
    ("GET", "/jobs/overview"),
    ("GET", "/jobmanager/config"),
    ("GET", "/jobs/0123456789abcdef0123456789abcdef/yarn-cancel"),
    ("POST", "/jars/upload"),
    ("POST", "/jobs"),
    ("PATCH", "/jobs/0123456789abcdef0123456789abcdef?mode=cancel"),
    ("DELETE", "/cluster"),
)
INTERNAL = ("flink-rpc", "flink-blob", "taskmanager-data")
HEADERS = (
    {"Origin": "https://evil.example", "Content-Type": "text/plain"},
    {"Origin": "null", "Content-Type": "application/json"},
    {"Host": "evil.example", "Content-Type": "application/x-www-form-urlencoded"},
    {"Host": "127.0.0.1.evil.example", "Origin": "http://127.0.0.1.evil.example", "Content-Type": "text/plain"},
)


def strangers_context(certificate: tuple[str, str] | None) -> ssl.SSLContext:
    """A client that trusts anybody, and shows a certificate of its own or none."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def ask(
    port: int, method: str, path: str, *, tls: ssl.SSLContext | None, headers: dict[str, str], body: str = ""
) -> str:
    """What a port answers: "refused" (it closed the connection), "silent", or the status and the beginning of the answer."""
    connection: http.client.HTTPConnection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=tls)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    )
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        return f"{answer.status} {answer.read(200)!r}"
    except TimeoutError:
        return "silent"
    except ConnectionRefusedError:
        return "nobody listens"
    except (OSError, http.client.HTTPException):
        return "refused"
    finally:
        connection.close()


def corpus(gateway: int, flink: int) -> Iterator[tuple[int, str, str, dict[str, str], str]]:
    """Port, method, path, headers and body of each request."""
    for headers in HEADERS:
        yield gateway, "POST", "/v3/sessions", headers, "{}"
        yield gateway, "POST", "/v4/sessions", headers, json.dumps({"properties": {"execution.target": "remote"}})
        for number, statement in enumerate(STATEMENTS):
            path = f"/v{1 + number % 4}/sessions/0f0f0f0f-0000-0000-0000-000000000000/statements"
            yield gateway, "POST", path, headers, json.dumps({"statement": statement})
        for method, path in FLINK:
            yield flink, method, path, headers, "x" if method == "POST" else ""


def met(port: int, tls: ssl.SSLContext | None) -> str:
    """How a port that speaks no HTTP meets a client: "open" (it waits for what comes next), "refused", or what else it did."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as raw:
            if tls is None:
                raw.sendall(b"\0\0\0\1" * 64)
                raw.settimeout(5)
                said = raw.recv(16)
                return "refused" if said[:1] in (b"", b"\x15") else f"said {said!r}"  # 21: an alert of TLS
            with tls.wrap_socket(raw) as connection:
                connection.settimeout(2)
                said = connection.recv(16)  # TLS 1.3: a certificate is judged after the client believes to be in
                return f"said {said!r}"
    except TimeoutError:
        return "open"
    except (ssl.SSLError, ConnectionError):
        return "refused"


def as_nobody(attempt: Callable[[], list[str]]) -> list[str]:
    """What an attempt finds, made by a process of another user where this one may become one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        found = ["the attempt itself failed"]
        try:
            os.close(reader)
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            found = attempt()
        finally:
            os.write(writer, json.dumps(found).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found = json.loads(pipe.read())
    os.waitpid(child, 0)
    return list(found)


@pytest.fixture(scope="module")
def foreign_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate of another lab: made alike, and not ours."""
    other = State(tmp_path_factory.mktemp("other") / "state")
    other.create()
    tls = certificate_of(other)
    return tls.certificate, tls.key


def test_no_request_of_the_corpus_is_answered_by_flink_whoever_sends_it(
    stack: Lab, foreign_certificate: tuple[str, str]
) -> None:
    ports = ports_document(stack.state).read()
    contexts = {
        "plain": None,
        "no certificate": strangers_context(None),
        "another lab's certificate": strangers_context(foreign_certificate),
    }

    def attempt() -> list[str]:
        answered = []
        for kind, tls in contexts.items():
            for port, method, path, headers, body in corpus(ports["gateway"], ports["flink"]):
                answer = ask(port, method, path, tls=tls, headers=headers, body=body)
                if answer != "refused" and not (tls is None and answer == TO_HTTPS):
                    answered.append(f"{kind}, {method} {path} {headers}: {answer}")
            for name in INTERNAL:
                if (how := met(ports[name], tls)) != "refused":
                    answered.append(f"{kind}: {name}: {how}")
        return answered

    tls = certificate_of(stack.state)
    owners = strangers_context((tls.certificate, tls.key))
    assert {name: met(ports[name], owners) for name in INTERNAL} == dict.fromkeys(INTERNAL, "open"), "for its owner"
    assert as_nobody(attempt) == []
    assert stack.status()["ok"], "and the product works as ever"
    assert stack.sql("SELECT 1 AS answer").answer == [{"answer": 1}]


def test_another_user_can_read_none_of_the_labs_files(stack: Lab) -> None:
    secret = stack.state.folder / "secrets"
    wanted = [str(p) for p in secret.rglob("*")] + [str(stack.state.folder / "flink" / "conf" / "config.yaml")]
    for path in map(Path, wanted):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path

    def attempt() -> list[str]:
        readable = []
        for path in wanted:
            try:
                with open(path, "rb"):
                    readable.append(path)
            except OSError:
                continue
        return readable

    if os.getuid() == 0:  # else there is no other user to try it as, and the modes above are what holds
        assert as_nobody(attempt) == []
    commands = " ".join(
        Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        for pid in (each["pid"] for each in stack.status()["services"])
        if pid
    )
    for path in (p for p in secret.rglob("*") if p.is_file() and p.suffix not in (".p12", ".pem")):
        assert path.read_text() not in commands, f"{path.name} is shown to all by `ps`"


def test_another_user_gets_nothing_from_hub_dashboard_and_store(stack: Lab) -> None:
    """The ports are open to every user of the machine; what they serve asks for a token, and files are their owner's."""
    if os.getuid() != 0:
        return  # there is no other user to try it as: that nobody is served without a token is tried below
    hub, dashboard = stack.endpoints.hub, stack.endpoints.dashboard
    files = [str(path) for path in stack.state.folder.rglob("*") if path.is_file()]
    assert any(path.endswith("points.sqlite") for path in files)

    def attempt() -> list[str]:
        got = [path for path in files if os.access(path, os.R_OK) or os.access(path, os.W_OK)]
        for page in ("/app", "/control/facts", "/flink/jobs/overview"):
            status = httpx.get(f"{dashboard}{page}", trust_env=False).status_code
            if status not in (302, 403):
                got.append(f"{page}: {status}")
        act = httpx.post(f"{dashboard}/control/act", json={"act": "verify"}, trust_env=False).status_code
        if act != 403:
            got.append(f"an act: {act}")
        with connect(hub.address, proxy=None) as socket_:
            socket_.send(authorize("guessed"))
            with contextlib.suppress(ConnectionClosed):
                got.append(f"the hub: {socket_.recv(timeout=10)!r}")
        return got

    assert as_nobody(attempt) == []


def test_the_hub_tells_nothing_without_a_token(stack: Lab) -> None:
    hub = stack.endpoints.hub
    assert hub.secret
    now = time.time()
    good = issue(hub.secret, now)
    spoilt = good[:-1] + ("0" if good[-1] != "0" else "1")
    later = f"{int(good.split('.')[0]) + 9}.{good.split('.')[1]}"
    firsts = (
        authorize(issue("guessed", now)),
        authorize(issue(hub.secret, now - LIFE_S - 1)),
        authorize(spoilt),
        authorize(later),
        authorize(""),
        '{"type": "authorize", "token": 7}',
        '{"type": "subscribe", "channel": "sessions"}',
        "[" * 60_000,
        "no JSON",
    )
    for first in firsts:
        with connect(hub.address, proxy=None) as socket_:
            socket_.send(first)
            with pytest.raises(ConnectionClosed) as closed:
                socket_.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == UNAUTHORIZED, first
    with connect(hub.address, proxy=None) as socket_:
        socket_.send(authorize(good))
        assert "hello" in str(socket_.recv(timeout=10))
    with pytest.raises(InvalidStatus):
        connect(hub.address, origin="http://evil.example", proxy=None)  # type: ignore[arg-type]


def test_the_dashboard_and_flinks_ui_open_to_a_token_and_to_this_machines_name_only(stack: Lab) -> None:
    port = int(urlsplit(stack.endpoints.dashboard.address).port or 0)
    secret = stack.endpoints.dashboard.secret or ""
    token = issue(secret, time.time())

    def whole(path: str, method: str = "GET", **headers: str) -> tuple[int, str, str, str]:
        """Status, Set-Cookie, Location and text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, answer.headers.get("Set-Cookie", ""), answer.headers.get("Location", ""), text

    hub = stack.endpoints.hub.address
    for page in ("/app", "/flink/jobs/overview", "/app/autoload.js?bokeh-autoload-element=x&bokeh-absolute-url=y"):
        status, _, to, text = whole(page)
        assert (status, "login" in to) == (302, True), page
        assert hub not in text
    for wrong in ("guessed", secret, issue("guessed", time.time()), issue(secret, time.time() - LIFE_S - 1), ""):
        status, _, _, text = whole(f"/login?token={wrong}")
        assert (status, "rtap dash" in text) == (403, True)
        assert whole("/app", Cookie=f"rtap-{port}={wrong}")[0] == 302
    for page in (
        "/../elsewhere",
        "//evil.example",
        "/%09/evil.example",
        "/%5Cevil.example",
        "https://evil.example",
        "/app%0d%0aX:y",
    ):
        status, _, to, _ = whole(f"/login?token={token}&next={page}")
        assert (status, to) == (302, "./app"), page
    status, cookie, _, _ = whole(f"/login?token={token}&next=/app")
    assert status == 302
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert secret not in cookie
    cookie = cookie.split(";")[0]
    status, _, _, text = whole("/app", Cookie=cookie)
    assert status == 200
    assert secret not in text
    status, _, _, text = whole("/flink/jobs/overview", Cookie=cookie)
    assert status == 200
    job = next(each["jid"] for each in json.loads(text)["jobs"] if each["state"] == "RUNNING")
    for act in ("yarn-cancel", "yarn-stop"):
        doubly = act.replace("-", "%252D")
        for path in (
            act,
            f"{act}/",
            f"{act}//",
            f"{act}%3Fx",
            f"{act}%23",
            doubly,
            f"{act}%09",
            f"{act[:5]}%0A{act[5:]}",
        ):
            assert whole(f"/flink/jobs/{job}/{path}", Cookie=cookie)[0] == 405, path
    assert whole(f"/flink/jobs/{job}", Cookie=cookie)[0] == 200
    assert FlinkRest(stack.endpoints.flink).job(job)["state"] == "RUNNING"
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", ""):
        for page in ("/app", "/flink/jobs/overview"):
            assert whole(page, Cookie=cookie, Host=host)[0] in (302, 400), (host, page)
        assert whole(f"/login?token={token}", Host=host)[0] in (403, 400), host
    for method in ("POST", "PATCH", "DELETE"):
        assert whole("/flink/jobs", method, Cookie=cookie)[0] in (403, 405), method


def test_a_page_gets_no_answer_from_the_registry_and_none_from_kafka(stack: Lab) -> None:
    ports = ports_document(stack.state).read()
    trusting = certificate_of(stack.state).context()
    for name, path in (("registry", "/apis/ccompat/v7/subjects"), ("registry-management", "/health")):
        assert ask(ports[name], "GET", path, tls=trusting, headers={}).startswith("200"), "it is there, for its owner"
    for headers in HEADERS:
        for method, path in (("GET", "/apis/ccompat/v7/subjects"), ("POST", "/apis/ccompat/v7/subjects/x/versions")):
            for name in ("registry", "registry-management"):
                assert ask(ports[name], method, path, tls=None, headers=headers, body="{}") == "refused"
        assert ask(ports["kafka"], "POST", "/", tls=None, headers=headers, body="x" * 4096) == "refused"
        assert ask(ports["controller"], "POST", "/", tls=None, headers=headers) == "refused"
    browsers = ssl.create_default_context()  # trusts public authorities, as a browser does
    assert ask(ports["registry"], "GET", "/", tls=browsers, headers={}) == "refused"


def test_the_dashboards_controls_obey_the_owner_and_name_no_file(stack: Lab) -> None:
    dashboard = stack.endpoints.dashboard
    secret = dashboard.secret or ""

    def client(token: str) -> httpx.Client:
        cookies = {f"rtap-{urlsplit(dashboard.address).port}": token}
        return httpx.Client(base_url=dashboard.address, cookies=cookies, trust_env=False, timeout=60)

    owner, viewer = client(issue(secret, time.time())), client(issue(viewing(secret), time.time()))
    assert client("guessed").get("/control/facts").status_code == 403
    assert not viewer.get("/control/facts").json()["may_act"]
    facts = owner.get("/control/facts").json()
    assert facts["may_act"]
    assert "standard" in [job["name"] for job in facts["jobs"]]
    savepoint = {"act": "job_savepoint", "name": "standard"}
    assert viewer.post("/control/act", json=savepoint).status_code == 403
    assert owner.post("/control/act", json=savepoint, headers={"Origin": "http://evil.example"}).status_code == 403
    assert owner.post("/control/act", content=json.dumps(savepoint)).status_code == 415
    for scenario in ("/etc/passwd.yaml", "../x.yml", "nothing"):
        refused = owner.post("/control/act", json={"act": "simulate", "scenario": scenario})
        assert (refused.status_code, "is not known" in refused.json()["error"]) == (409, True), scenario
    assert owner.post("/control/act", json=savepoint).json() == {"done": "begun"}

    def taken() -> bool:
        told = owner.get("/control/facts").json()
        return "savepoint standard" not in told["working"] and told["ended"].get("savepoint standard") == ""

    until(taken, 60, lambda: AssertionError(str(owner.get("/control/facts").json()["ended"])))
