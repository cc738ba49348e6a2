"""The composition root: settings become a running lab. The only package that wires the others.

`Lab` is what users hold; `services`, `daemon` and `processes` are what the supervisor runs; `runs` keeps
the jobs.
"""

from rtap_lab.lab.core import Lab

__all__ = ["Lab"]
