"""The engine: SQL text (pure), the SQL Gateway and cluster REST clients, PyFlink.

    text compile statements properties    queries and jobs as SQL, and Flink's configuration; pure
    gateway rest savepoints               statements, jobs, and what a savepoint says
    session                               the only module that imports pyflink: it starts a JVM in this process

Flink is reached over REST, so all else needs no JVM. Which job should run, and since when, is decided in `rtap_lab.jobs`.
"""
