"""The simulator's panel for a notebook: start a website, change its pace and story, let something happen."""

from __future__ import annotations

import threading
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from rtap_lab.errors import NotRunningError, RtapLabError
from rtap_lab.lab.scenarios import list_scenarios, load_scenario
from rtap_lab.lab.simulator import INJECTED, pace_words

if TYPE_CHECKING:
    from rtap_lab.lab import Lab


def simulator(lab: Lab) -> Any:
    """An ipywidgets panel that starts a simulated website and controls it; its buttons say what went wrong."""
    scenario = widgets.Dropdown(options=list_scenarios(), value="brisk", description="scenario")
    rate = widgets.BoundedIntText(value=200, min=1, max=1_000_000, description="per second")
    start = widgets.Button(description="start", icon="play")
    pause = widgets.ToggleButton(description="pause", icon="pause")
    stop = widgets.Button(description="stop", icon="stop")
    story, said = widgets.HTML(), widgets.HTML()

    def say(words: str) -> None:
        said.value = escape(words)

    def tell(_: Any = None) -> None:
        story.value = f"<i>{escape(load_scenario(scenario.value).story)}</i>"

    def trying(action: Any) -> Any:
        def act(*args: Any) -> None:
            try:
                action(*args)
            except RtapLabError as error:
                say(str(error))

        return act

    def running() -> bool:
        try:
            lab.simulator.status()
        except NotRunningError:
            return False
        return True

    def play() -> None:
        try:
            fed = lab.simulate(scenario.value, rate=rate.value, on_note=say)
            say(f"{fed.sent} messages in {fed.seconds:.0f} s, slip p99 {fed.slip_ms(0.99):.2f} ms")
        except RtapLabError as error:
            say(str(error))

    @trying
    def on_start(_: Any) -> None:
        if running():
            say("a simulator runs already: change it, or stop it first")
            return
        lab.endpoints  # noqa: B018  (says so when nothing is up)
        threading.Thread(target=play, name="simulator", daemon=True).start()
        pause.value = False
        say(f"{scenario.value} is running, {pace_words(load_scenario(scenario.value), rate.value)}")

    @trying
    def on_scenario(change: Any) -> None:
        tell()
        if running():
            lab.simulator.scenario(change["new"])
            say(f"now {change['new']}")

    @trying
    def on_rate(change: Any) -> None:
        if running():
            lab.simulator.rate(change["new"])
            rate_of = load_scenario(scenario.value).rate
            say(f"now {change['new']} a second, {change['new'] / rate_of:.2g}x story time")

    @trying
    def on_pause(change: Any) -> None:
        if running():
            (lab.simulator.pause if change["new"] else lab.simulator.resume)()
            say("paused" if change["new"] else "goes on")

    @trying
    def on_stop(_: Any) -> None:
        lab.simulator.stop()

    def injecting(kind: str) -> Any:
        button = widgets.Button(description=kind, tooltip=f"{kind} now, for a minute of the scenario")

        @trying
        def on_click(_: Any) -> None:
            lab.simulator.inject(kind, seconds=60)
            say(f"{kind} for a minute of the scenario")

        button.on_click(on_click)
        return button

    start.on_click(on_start)
    stop.on_click(on_stop)
    scenario.observe(on_scenario, names="value")
    rate.observe(on_rate, names="value")
    pause.observe(on_pause, names="value")
    tell()
    now = widgets.HBox([widgets.Label("let happen now:"), *map(injecting, INJECTED)])
    return widgets.VBox([widgets.HBox([scenario, rate]), story, widgets.HBox([start, pause, stop]), now, said])
