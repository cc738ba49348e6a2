"""Watching a lab: how long an answer takes, and whether the machine is fit. Whether answers are right: `verification`."""
