"""The engine: SQL text (pure), the SQL Gateway and cluster REST clients, the standard job.

Flink is reached over REST, so nothing here needs a JVM in this process; PyFlink, where SQL does not
reach, is imported by `session` alone. Which run a job belongs to is decided in `rtap_lab.lab`.
"""
