"""Traffic in the background: a simulator in a thread of this process, beside whatever else it does."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Any

from rtap_lab.simulator.fed import Fed


class Traffic:
    """A simulated website that sends in the background, see `Lab.start_simulator`.

    Args:
        words: What it is, in a line.
        simulate: Sends until the event is set; None when another simulator runs and was left as it is.
    """

    def __init__(self, words: str, simulate: Callable[[threading.Event], Fed] | None) -> None:
        self.words = words
        self.error: BaseException | None = None
        self._fed: Fed | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if simulate is not None:
            self._thread = threading.Thread(target=self._run, args=(simulate,), name="simulator", daemon=True)
            self._thread.start()

    def _run(self, simulate: Callable[[threading.Event], Fed]) -> None:
        try:
            self._fed = simulate(self._over)
        except BaseException as error:  # told to whoever waits
            self.error = error

    @property
    def own(self) -> bool:
        """Whether it was started here; a simulator that ran before goes on whatever is asked of this one."""
        return self._thread is not None

    def wait(self, timeout: float | None = None) -> Fed | None:
        """Wait until it has ended.

        Args:
            timeout: Seconds; for ever when left out.

        Returns:
            What was sent; None when it goes on, or was not started here.

        Raises:
            RtapLabError: What ended it early.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        if self.error is not None:
            raise self.error
        return self._fed

    def stop(self) -> Fed | None:
        """End it, and wait until it has; one that was not started here goes on."""
        self._over.set()
        return self.wait()

    def __repr__(self) -> str:
        if self._fed is not None:
            return f"{self.words}: {self._fed.sent} messages sent, ended"
        return f"{self.words}: {self.error}" if self.error is not None else self.words

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": f"<p>{html.escape(repr(self))}</p>"}
