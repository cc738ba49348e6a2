"""The composition root: what a person does with a lab, one file a noun, and `Lab`, one line a verb.

facade                                         `Lab`
bound                                          a query in a lab: previewed, checked, run, charted
diagnosis                                      why a query has no rows
previews sql                                   what a query, or SQL, answers over what is there now
offline                                        the same nouns in one process, on the reference engine
status slices simulator queries looks answers checking
jobs sources subjects pieces                   subjects: a run as the verifier takes it; pieces: what a look reads
stack                                          up, down, reset
migration context                              an earlier version's state folder; this one's, and clients of what runs
protocol                                       what both labs share
rows truth scenarios interrupts                rows for people, ground truth on disk, stories, Ctrl-C in one line
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtap_lab.lab.facade import Lab

__all__ = ["Lab"]


def __getattr__(name: str) -> Any:
    if name == "Lab":
        from rtap_lab.lab.facade import Lab

        return Lab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
