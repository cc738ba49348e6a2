"""The pattern debugger: how far attempts of a pattern come, where they end and why, by the reference engine.

It reads a piece of a source and, when asked again, what has come since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from rtap_lab.dashboards.pictures import pattern_svg
from rtap_lab.errors import SettingsError
from rtap_lab.lab.context import Context
from rtap_lab.lab.pieces import Piece, Since, counted_of, piece_of, records_of
from rtap_lab.lab.previews import piece_for
from rtap_lab.queries.query import PatternQuery, Query
from rtap_lab.reference.attempts import Attempts, story, told_attempt, why
from rtap_lab.reference.engine import Engine
from rtap_lab.reference.fates import Event
from rtap_lab.reference.matching import Matching, Traced
from rtap_lab.settings import LIVE
from rtap_lab.tables import Table


@dataclass(frozen=True)
class Totals:
    """What became of all attempts so far."""

    begun: int
    """Attempts that took a row for the first step."""
    matches: int
    """Rows that the query has: complete, and not followed by what must not."""
    open: int
    """Attempts that wait for their next step."""
    pending: int
    """Complete ones that something may still spoil."""
    spoilt: int
    """Complete ones that were followed by what must not."""
    timed_out: int
    failed: int


class PatternDebugger:
    """A pattern's attempts over a piece of a source; `refresh` reads what has come since.

    Args:
        context: The lab.
        query: A pattern query.
        source: "live" or a recorded source.
        since: Which events are looked at; the newest minutes of the live source when left out.

    Raises:
        SettingsError: When the query is no pattern.
    """

    def __init__(self, context: Context, query: Query, source: str, since: Since | None) -> None:
        if not isinstance(query.definition, PatternQuery):
            raise SettingsError(
                f"{query.name} is no pattern: there are no attempts to look at",
                hint="a window: .preview(), .diagnose()",
            )
        self._context = context
        self.query = query
        self.definition: PatternQuery = query.definition
        self.source = source
        self.piece: Piece = piece_for(context, query, source, since)
        self._read_to = dict(self.piece.starts)
        self._engine = Engine(
            {query.name: self.definition}, bound_ms=context.lateness_bound_ms(source), partitions=self.piece.ends
        )
        self._attempts = Attempts(self.definition)
        self._rows: list[dict[str, Any]] = []
        self._matching.on_end = self._attempts.note
        self._take(self.piece.ends)

    @property
    def _matching(self) -> Matching:
        operator = self._engine.operators[self.query.name]
        assert isinstance(operator, Matching)
        return operator

    def refresh(self) -> PatternDebugger:
        """Read what has come since."""
        self._take(piece_of(self._context, self.source, None).ends)
        return self

    def _take(self, ends: Mapping[int, int]) -> None:
        _, rows = self._engine.process(records_of(self._context, self.piece, self._read_to, ends))
        self._rows += rows[self.query.name]
        if self.source != LIVE:  # all of it is there
            self._rows += self._matching.close()
        self._read_to = dict(ends)

    # --- what became of them ---------------------------------------------------------------------

    @property
    def totals(self) -> Totals:
        """What became of all attempts so far."""
        found, waiting = self._attempts, self._matching.partial()
        ended = {how: sum(n for (each, _), n in found.ended.items() if each == how) for how in ("timed_out", "failed")}
        pending = self._matching.pending
        return Totals(
            begun=found.matched + sum(found.ended.values()) + len(waiting),
            matches=len(self._rows),
            open=len(waiting),
            pending=pending,
            spoilt=found.matched - len(self._rows) - pending,
            timed_out=ended["timed_out"],
            failed=ended["failed"],
        )

    def states(self) -> list[dict[str, Any]]:
        """By step: how many attempts reached it, stand there now, failed there, and timed out there."""
        waiting = self._matching.partial()
        found = []
        for n, step in enumerate(self.definition.pattern.steps):
            here = sum(each.attempt.step == n for each in waiting)
            passed = sum(bool(each.attempt.rows.get(step.name)) for each in waiting)
            found.append(
                {
                    "step": step.name,
                    "reached": self._attempts.reached[step.name] + passed,
                    "open": here,
                    "failed": self._attempts.ended["failed", step.name],
                    "timed_out": self._attempts.ended["timed_out", step.name],
                }
            )
        return found

    def partial(self) -> list[dict[str, Any]]:
        """The attempts that are open now: key, steps taken, and what each waits for."""
        return [
            dict(zip(self.definition.keys, each.key, strict=True))
            | {"rows": each.attempt.taken, "waits": why(self.definition, each)}
            for each in self._matching.partial()
        ]

    def visitor(self, *key: Any) -> Story:
        """What became of one key's attempts, told step by step.

        Args:
            key: The values of the query's keys, such as a visitor_id.

        Raises:
            SettingsError: When the query has another number of keys.
        """
        if len(key) != len(self.definition.keys):
            keys = ", ".join(self.definition.keys)
            raise SettingsError(f"{self.query.name} is by {keys}: give {len(self.definition.keys)} values")
        return Story(story(self.definition, self._counted(), key, watermark=self._matching.watermark))

    def nearest_miss(self) -> Story:
        """The attempt that came furthest without becoming a row; one that was followed by what must not, before all others."""
        events = self._counted() if self.definition.pattern.absence else []
        spoilt = self._spoilt(events)
        nearest = spoilt or self._attempts.nearest
        if nearest is None:
            return Story(["no attempt has ended without a match"])
        return Story(told_attempt(self.definition, nearest, self._of(nearest.key, events)))

    def _spoilt(self, events: list[Event]) -> Traced | None:
        """The latest complete attempt that was followed by what must not."""
        if self.definition.pattern.absence is None or not self.totals.spoilt:
            return None
        found: list[Traced] = []
        runs = Matching(self.definition, on_end=lambda each: found.append(each) if each.ended == "matched" else None)
        runs.add(events)
        runs.close()
        of_key: dict[tuple[Any, ...], list[Event]] = {}
        for event in events:
            of_key.setdefault(runs.key_of(event), []).append(event)
        told = (each for each in reversed(found) if why(self.definition, each, of_key[each.key]).startswith("no match"))
        return next(told, None)

    def _of(self, key: tuple[Any, ...], events: list[Event]) -> list[Event]:
        return [event for event in events if self._matching.key_of(event) == key]

    def _counted(self) -> list[Event]:
        return counted_of(self._context, self.piece, self._read_to)

    # --- shown -----------------------------------------------------------------------------------

    @property
    def words(self) -> str:
        """What became of all attempts, in one sentence."""
        totals = self.totals
        parts = [f"{totals.begun:,} attempts", f"{totals.matches:,} matches", f"{totals.failed:,} failed"]
        parts += [f"{totals.timed_out:,} timed out", f"{totals.open:,} open"]
        if self.definition.pattern.absence:
            parts += [f"{totals.spoilt:,} followed by what must not", f"{totals.pending:,} may still be"]
        read = sum(end - self.piece.starts.get(partition, 0) for partition, end in self._read_to.items())
        return f"{', '.join(parts)}; {read:,} records of {self.source} read"

    def svg(self) -> str:
        """The pattern as its state machine, with counts under each state."""
        under = {
            each[
                "step"
            ]: f"{each['reached']:,} reached\n{each['open']:,} here now\n{each['failed']:,} failed, {each['timed_out']:,} timed out"
            for each in self.states()
        }
        totals = self.totals
        outcome = f"{totals.matches:,} matches"
        if self.definition.pattern.absence:
            outcome += f"\n{totals.spoilt:,} spoilt\n{totals.pending:,} may still be"
        return pattern_svg(self.definition, under, outcome=outcome)

    def as_json(self) -> dict[str, Any]:
        return {"query": self.query.name, "states": self.states(), "words": self.words}

    def __repr__(self) -> str:
        columns = ["step", "reached", "open", "failed", "timed_out"]
        return f"{Table.of(columns, self.states())}\n{self.words}"

    def _repr_html_(self) -> str:
        return f"{self.svg()}<p>{escape(self.words)}</p>"


class Story:
    """What became of one key's attempts, a sentence a line."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
