"""What the answers should be: queries as values, the fate of each record, and the reference engine.

Pure: no I/O, no client, no clock. It shares no code with the Flink SQL it checks.

    queries                     the standard queries' names and columns
    conditions windows          what queries are made of, as values
    aggregates patterns
    windowing matching          the two operators of the engine: Windowed -> rows, Matched -> rows
    fates watermarks engine     records -> fates, watermark, rows
    standard                    the standard queries, defined for the engine
"""
