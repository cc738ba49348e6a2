"""Pictures of queries, as SVG: a pattern as its state machine with counts, a window on the time line. Pure text.

They take their colours from the page around them (`currentColor`), so that they are right in the dark, too: as HTML, not as
an image, which has no page around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from rtap_lab.queries.expression import condition_text
from rtap_lab.queries.patterns import Step
from rtap_lab.queries.query import Definition, PatternQuery, WindowQuery
from rtap_lab.queries.waits import span_text
from rtap_lab.queries.windows import AlignedWindow, CumulateWindow, HopWindow, SessionWindow

_STEP_PX = 190
_HEIGHT_PX = 178
_WIDTH_PX = 640


def _svg(width: int, height: int, title: str, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" style="max-width:100%;height:auto" role="img" '
        f'font-family="sans-serif" font-size="12" fill="currentColor" stroke="none"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle", opacity: float = 1.0) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" opacity="{opacity:g}">{escape(words)}</text>'


def _short(words: str, most: int = 30) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


def _line(x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False, width: float = 1.2) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="currentColor" stroke-width="{width:g}"{dash}/>'
    )


def _arrow(x1: float, x2: float, y: float, *, dashed: bool) -> str:
    return (
        _line(x1, y, x2 - 6, y, dashed=dashed)
        + f'<path d="M{x2 - 8:g},{y - 4:g} L{x2:g},{y:g} L{x2 - 8:g},{y + 4:g} z"/>'
    )


def picture_of(definition: Definition) -> str:
    """A query's picture: a pattern's state machine, or its windows on the time line."""
    return pattern_svg(definition) if isinstance(definition, PatternQuery) else window_svg(definition)


# --- patterns ---------------------------------------------------------------------------------------


def pattern_svg(query: PatternQuery, counts: Mapping[str, str] | None = None, *, outcome: str = "") -> str:
    """A pattern as its state machine.

    A solid arrow is strict contiguity (`next`), a dashed one lets other events lie between (`followed_by`).

    Args:
        query: The pattern query.
        counts: What is said under each state, by step.
        outcome: What is said under the end.
    """
    pattern, counts = query.pattern, counts or {}
    states = [*pattern.steps]
    width = _STEP_PX * (len(states) + 1 + bool(pattern.absence)) - 20
    parts, y = [], 84
    for n, step in enumerate(states):
        x = 60 + n * _STEP_PX
        if n:
            parts.append(_arrow(x - _STEP_PX + 28, x - 28, y, dashed=step.relaxed))
            if step.unless is not None:
                parts.append(
                    _text(x - _STEP_PX / 2, y + 16, f"unless {_short(condition_text(step.unless), 22)}", size=10)
                )
        parts.append(f'<circle cx="{x}" cy="{y}" r="26" fill="none" stroke="currentColor" stroke-width="1.6"/>')
        if step.is_run or step.least > 1:
            parts.append(
                f'<path d="M{x - 12},{y - 24} C{x - 30},{y - 58} {x + 30},{y - 58} {x + 12},{y - 24}" fill="none" '
                'stroke="currentColor" stroke-width="1.2"/>'
            )
        parts.append(_text(x, y + 4, _short(step.name, 8)))
        parts.append(_text(x, y - 58, _short(f"{_times(step)}{condition_text(step.condition)}"), size=10, opacity=0.8))
        parts += [
            _text(x, y + 46 + 14 * k, words, size=11) for k, words in enumerate(counts.get(step.name, "").split("\n"))
        ]
    end = 60 + len(states) * _STEP_PX
    if pattern.absence is not None:
        parts.append(_arrow(end - _STEP_PX + 28, end - 28, y, dashed=True))
        parts.append(
            f'<path d="M{end - 26},{y} L{end},{y - 24} L{end + 26},{y} L{end},{y + 24} z" fill="none" stroke="currentColor" stroke-width="1.6"/>'
        )
        parts.append(_text(end, y + 4, "not", size=11))
        words = f"within {span_text(pattern.absence.within_ms)}: {condition_text(pattern.absence.condition)}"
        parts.append(_text(end, y - 58, _short(words, 34), size=10, opacity=0.8))
        end += _STEP_PX
    parts.append(_arrow(end - _STEP_PX + 28, end - 20, y, dashed=False))
    parts.append(f'<circle cx="{end}" cy="{y}" r="18" fill="none" stroke="currentColor" stroke-width="1.6"/>')
    parts.append(f'<circle cx="{end}" cy="{y}" r="13" fill="none" stroke="currentColor" stroke-width="1.6"/>')
    parts += [_text(end, y + 46 + 14 * k, words, size=11) for k, words in enumerate(outcome.split("\n"))]
    if pattern.within_ms:
        parts.append(_text(4, 14, f"all within {span_text(pattern.within_ms)}", size=11, anchor="start"))
    return _svg(width, _HEIGHT_PX, "the pattern as its state machine", parts)


def _times(step: Step) -> str:
    if (step.least, step.most) == (1, 1):
        return ""
    if step.most is None:
        return f"{step.least}+ × "
    return f"{step.least} × " if step.least == step.most else f"{step.least}–{step.most} × "


# --- windows ----------------------------------------------------------------------------------------


def window_svg(query: WindowQuery) -> str:
    """A query's windows on the time line: which of them an event falls into."""
    window = query.window
    words, bars, span = (_sessions if isinstance(window, SessionWindow) else _aligned)(window)  # type: ignore[arg-type]
    scale = (_WIDTH_PX - 40) / span
    height = 52 + 16 * len(bars)
    parts = [_text(20, 14, words, anchor="start")]
    for n, (begin, end, label) in enumerate(bars):
        y = 24 + 16 * n
        parts.append(
            f'<rect x="{20 + begin * scale:.1f}" y="{y}" width="{max(2.0, (end - begin) * scale - 2):.1f}" height="12" rx="3" '
            'fill="currentColor" opacity="0.25"/>'
        )
        parts.append(_text(20 + (begin + end) / 2 * scale, y + 10, label, size=9))
    axis = height - 22
    parts.append(_line(20, axis, _WIDTH_PX - 20, axis))
    if isinstance(window, SessionWindow):
        parts += [f'<circle cx="{20 + at * scale:.1f}" cy="{axis}" r="4"/>' for at in _VISITS]
        parts.append(_text(_WIDTH_PX - 20, height - 6, "one key's events", size=10, anchor="end"))
    else:
        for n in range(5):
            at = span * n / 4
            parts.append(_line(20 + at * scale, axis - 3, 20 + at * scale, axis + 3))
            parts.append(_text(20 + at * scale, height - 6, span_text(round(at)) if n else "0", size=10))
    return _svg(_WIDTH_PX, height, words, parts)


_VISITS = (0.3, 0.7, 1.2, 3.4, 3.9)
"""One key's events, in gaps: two sessions."""


def _sessions(window: SessionWindow) -> tuple[str, list[tuple[float, float, str]], float]:
    words = f"a session ends when nothing comes for {span_text(window.gap_ms)}"
    return words, [(0.3, 2.2, "one session, gap included"), (3.4, 4.9, "the next")], 5.2


def _aligned(window: AlignedWindow) -> tuple[str, list[tuple[float, float, str]], float]:
    size = window.size_ms
    if isinstance(window, HopWindow):
        each = size // window.slide_ms
        shown = min(each, 6)
        bars = [
            (float(n * window.slide_ms), float(n * window.slide_ms + size), span_text(size) if not n else "")
            for n in range(shown)
        ]
        words = f"{span_text(size)} long, a new one every {span_text(window.slide_ms)}: an event is in {each}"
        return words, bars, float(size + (shown - 1) * window.slide_ms)
    if isinstance(window, CumulateWindow):
        each = size // window.step_ms
        shown = min(each, 6)
        bars = [(0.0, float((n + 1) * window.step_ms), "") for n in range(shown)]
        words = f"from the beginning of each {span_text(size)}, told anew every {span_text(window.step_ms)}"
        return words, bars, float(shown * window.step_ms if each > shown else size)
    bars = [(float(n * size), float((n + 1) * size), span_text(size)) for n in range(4)]
    return f"{span_text(size)} long, one after the other: an event is in one", bars, float(4 * size)
