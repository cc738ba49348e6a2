"""The command line without a stack."""

from __future__ import annotations

import stat
from html import escape
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from rtap_lab import __version__
from rtap_lab.cli import app
from rtap_lab.errors import SettingsError
from rtap_lab.queries.catalogue import packaged
from rtap_lab.services import daemon
from rtap_lab.services.site import settings_document
from rtap_lab.settings import Settings
from rtap_lab.stack.ports import choose_ports
from rtap_lab.stack.state import State
from rtap_lab.store.embedded import EmbeddedStore
from rtap_lab.store.points import point

RUNNER = CliRunner()
VERBS = [
    "up",
    "down",
    "status",
    "reset",
    "logs",
    "doctor",
    "fetch",
    "simulate",
    "import",
    "sources",
    "jobs",
    "results",
    "sql",
    "verify",
    "score",
    "slices",
    "watch",
    "hub",
    "dash",
    "lab",
    "bench",
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_verb_helps(verb: str, option: str) -> None:
    assert RUNNER.invoke(app, [verb, option]).exit_code == 0


def test_the_version_and_completion_are_there() -> None:
    assert RUNNER.invoke(app, ["--version"]).stdout == f"rtap {__version__}\n"
    assert "--install-completion" in RUNNER.invoke(app, ["--help"]).stdout


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("results tr", ["traffic_by_source", "traffic_cumulate", "traffic_hop"]),
        ("query check page", ["page_views_1m"]),
        ("jobs stop ", ["audience", "standard", "watchlist"]),
        ("logs k", ["kafka"]),
        ("verify --source ", ["live"]),
        ("simulate --scenario chec", ["checkout_outage"]),
        ("bench run star", ["start_up"]),
        ("slices show ", []),
    ],
)
def test_the_shell_completes_names_without_a_stack(
    typed: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path / "lab")
    state.create()
    state.log("kafka").touch()
    monkeypatch.setenv("RTAP_STATE", str(state.folder))
    words = f"rtap {typed}"
    shell = {"_RTAP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = RUNNER.invoke(app, [], prog_name="rtap", env=shell)
    assert done.stdout.split() == names


@pytest.fixture
def down_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab whose stack is down, with three rows in its store."""
    state = State(tmp_path / "lab")
    state.create()
    settings_document(state).write(Settings())
    choose_ports(state, daemon.port_names(Settings()), {})
    store = EmbeddedStore(state.folder / "store" / "points.sqlite")
    store.prepare()
    rows = [{"window_start": n, "window_end": n + 60_000, "views": n, "visitors": 1} for n in (1000, 2000, 3000)]
    store.write([point(packaged()["traffic_hop"], "live", row) for row in rows], {})
    store.close()
    monkeypatch.setenv("RTAP_STATE", str(state.folder))


@pytest.mark.usefixtures("down_lab")
def test_results_from_the_store_first_last_and_none() -> None:
    whole = RUNNER.invoke(app, ["results", "traffic_hop", "--format", "csv"])
    assert whole.exit_code == 0
    assert len(whole.stdout.splitlines()) == 4
    assert "nothing is up" in whole.stderr
    first = RUNNER.invoke(app, ["results", "traffic_hop", "--format", "csv", "--limit", "1"])
    assert first.stdout.splitlines()[1].endswith(",1000,1")
    assert "1 of 3 rows" in first.stderr
    last = RUNNER.invoke(app, ["results", "traffic_hop", "--format", "csv", "--tail", "1"])
    assert last.stdout.splitlines()[1].endswith(",3000,1")
    none = RUNNER.invoke(app, ["results", "sessions", "--format", "json"])
    assert none.stdout == "[]\n"
    assert "no rows yet: " in none.stderr
    for wrong in (["--limit", "0"], ["--tail", "-1"], ["--format", "xml"]):
        assert isinstance(RUNNER.invoke(app, ["results", "sessions", *wrong]).exception, SettingsError)


@pytest.mark.parametrize("option", [[], ["--flink"]])
def test_dash_prints_an_address_and_gives_a_browser_a_file_of_its_owners(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    state = State(tmp_path / "lab")
    state.create()
    state.secret("dashboard.secret")
    address = f"http://127.0.0.1:1/login?token=t&next={'/flink/' if option else '/app'}"
    lab = SimpleNamespace(state=state, dashboard=address, flink_ui=address)
    monkeypatch.setattr("rtap_lab.cli.stack.open_lab", lambda: lab)
    monkeypatch.setattr("webbrowser.open", lambda page: opened.append(page) or True)
    for display in ("", ":0"):
        monkeypatch.setenv("DISPLAY", display)
        done = RUNNER.invoke(app, ["dash", *option])
        assert (done.exit_code, done.stdout) == (0, address + "\n"), done.exception
    page = Path(opened[-1].removeprefix("file://"))
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert escape(address) in page.read_text()
    assert "token" not in opened[-1], "arguments can be read by everybody"
