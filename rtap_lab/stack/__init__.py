"""The machinery: what the stack is made of, and how its processes start, live and stop.

Here: the pinned components, the declared services and their order, readiness, the supervisor, the
state folder. Not here: what a service does (that is `kafka`, `flink`, `store`, `live`), nor which
services there are (`rtap_lab.services`). The only package that starts processes.
"""
