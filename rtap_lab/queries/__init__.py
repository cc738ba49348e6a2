"""Queries as values: what is asked, over which windows or patterns, and what its rows look like. Pure.

    schema                                  the columns of a query's rows, and what time and identity they have
    conditions windows aggregates patterns  what queries are made of
    query                                   `WindowQuery`, `PatternQuery`; `Query`, a named one; `Catalog`, queries by name
    builders                                the same, said as the question is asked
    standard                                the seven packaged queries
    waits                                   when the first row can be there

`flink` says them in SQL and `reference` recomputes them; neither knows the other. No I/O belongs here, and no evaluation.
"""
