"""What the answers should be: the standard queries as values, the fate of each record, and the
reference that recomputes every row. Pure: no I/O, no client, no clock.

It shares no code with the Flink SQL it checks.
"""
