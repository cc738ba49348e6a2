"""An interrupted cell ends in one line, not in the frames of whatever was at work."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or the notebook's stop button; IPython shows its one line."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def interruptible(cls: Class) -> Class:
    """Let every verb of a class end in one line when it is interrupted."""
    for name, verb in list(vars(cls).items()):
        if not name.startswith("_") and isfunction(verb):
            setattr(cls, name, _guarded(name, verb))
    return cls


def _guarded(name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(verb)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return verb(*args, **kwargs)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted: {name}() was stopped; the lab goes on") from None

    return guarded
