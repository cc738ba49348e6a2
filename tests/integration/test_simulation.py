"""The simulated website on the real stack: its controls, and its score against what really happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from rtap_lab.errors import NotRunningError, SettingsError
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from tests.integration.test_answers import rtap


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.long  # a minute and a half of one story
def test_controls_change_the_running_simulator_and_the_score_explains_the_rest(stack: Lab) -> None:
    shop = threading.Thread(target=stack.simulate, args=("steady",), kwargs={"rate": 100, "seed": 5})
    shop.start()
    controls = stack.simulator
    try:

        def running() -> bool:
            try:
                return bool(controls.status()["sent"] > 100)
            except NotRunningError:
                return False

        until(running, "the simulator did not begin")
        assert rtap(stack, "simulate", "set", "--rate", "300").returncode == 0
        until(lambda: controls.status()["rate"] == 300, "the rate did not change")
        assert rtap(stack, "simulate", "inject", "bots", "--seconds", "20").returncode == 0
        controls.inject("outage", seconds=30)
        until(lambda: len(stack.truths()[-1].anomalies()) == 2, "nothing was injected")
        controls.pause()
        until(lambda: controls.status()["paused"], "it did not pause")
        topics = Topics(stack.endpoints.kafka)

        def ends() -> int:
            return sum(topics.ends([LIVE_EVENTS]).values())

        still = controls.status()["sent"]

        def settled() -> bool:
            nonlocal still
            before, still = still, controls.status()["sent"]
            threading.Event().wait(0.5)
            return bool(before == still == controls.status()["sent"])

        until(settled, "it sent on while paused")
        controls.resume()
        until(lambda: controls.status()["sent"] > still, "it did not go on")
        controls.scenario("late_mobile")
        until(lambda: controls.status()["scenario"] == "late_mobile", "the scenario did not change")
        sent = controls.status()["sent"]
        until(lambda: controls.status()["sent"] > sent + 1000, "the new scenario does not play")
        with pytest.raises(SettingsError, match="runs in this lab already"):
            stack.simulate(seconds=1)
        beside = stack.start_simulator(seconds=1)
        assert not beside.own
        assert "left as it is: late_mobile" in repr(beside)
        for wrong in (
            ("set",),
            ("set", "--rate", "-1"),
            ("set", "--scenario", "nope"),
            ("inject", "rain"),
            ("inject", "bots", "--seconds", "0"),
        ):
            assert rtap(stack, "simulate", *wrong).returncode == 2, wrong
        with pytest.raises(SettingsError, match="outage, surge, bots"):
            controls.inject("flood")
    finally:
        controls.stop()
        shop.join(30)
    assert not shop.is_alive()
    assert rtap(stack, "simulate", "status").returncode == 1
    truth = stack.truths()[-1]
    assert truth.ended
    assert {each.kind for each in truth.anomalies()} == {"bots", "outage"}
    assert sum(each.bot for each in truth.visits()) > 0
    report = stack.verify()
    assert report.exact, str(report)
    score = stack.score()
    assert score.exact, str(score)
    assert {d.anomaly.kind for d in score.detections} >= {"bots", "outage"}
    arrived = sum(counts["arrived"] for counts in score.fates.values())
    assert arrived >= truth.sent


def test_a_story_shows_on_the_real_stack_and_its_slip_is_told(stack: Lab) -> None:
    fed = stack.simulate("bot_attack", rate=500, seconds=8, seed=2)
    assert fed.sent == pytest.approx(4000, rel=0.25)
    assert fed.slips.total() >= fed.sent // 10 - 1
    assert fed.slip_ms(0.5) <= fed.slip_ms(0.99) <= fed.slip_ms(1.0)
    told = list(stack.truths()[-1].messages())
    assert len(told) == fed.sent
    score = stack.score()
    assert score.exact, str(score)


def test_the_notebooks_panel_starts_changes_and_stops_it(stack: Lab) -> None:
    from rtap_lab.jupyter import simulator

    choices, story, buttons, now, said = simulator(stack).children
    scenario, rate = choices.children
    start, pause, stop = buttons.children
    assert "quick decisions" in story.value
    stop.click()
    assert "no simulator runs" in said.value
    rate.value = 150
    start.click()

    def status() -> dict[str, object]:
        try:
            return stack.simulator.status()
        except NotRunningError:
            return {}

    until(lambda: int(str(status().get("sent", 0))) > 0, "it did not start")
    start.click()
    assert "runs already" in said.value
    rate.value = 300
    until(lambda: status()["rate"] == 300, "the rate did not change")
    scenario.value = "late_mobile"
    until(lambda: status()["scenario"] == "late_mobile", "the scenario did not change")
    pause.value = True
    until(lambda: bool(status()["paused"]), "it did not pause")
    pause.value = False
    until(lambda: not status()["paused"], "it did not go on")
    for button in now.children[1:]:
        button.click()
    until(lambda: len(stack.truths()[-1].anomalies()) == 3, "nothing was injected")
    stop.click()
    until(lambda: not status(), "it did not stop")
    until(lambda: "slip p99" in said.value, "it did not say how it went")
