"""An interrupted cell ends in one line, not in the frames of whatever was at work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isfunction, isgenerator
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or the notebook's stop button; IPython shows its one line."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def interruptible(cls: Class) -> Class:
    """Let every verb of a class end in one line when it is interrupted, and every iterator that a verb returns."""
    for name, verb in list(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isfunction(verb):
            setattr(cls, name, _guarded(name, verb))
        elif isinstance(verb, classmethod):
            setattr(cls, name, classmethod(_guarded(name, verb.__func__)))
    return cls


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let what tidies up come to its end: an impatient second Ctrl-C would leave the rest."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {name}() was stopped; the lab goes on") from None


def _guarded(name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(verb)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with _in_one_line(name):
            result = verb(*args, **kwargs)
        return _each(name, result) if isgenerator(result) else result

    return guarded


def _each(name: str, items: Iterator[Any]) -> Iterator[Any]:
    with _in_one_line(name):
        yield from items
