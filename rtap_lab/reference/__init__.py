"""The reference engine: what the answers should be, recomputed in one process. Pure.

It shares no code with the SQL it checks (`flink`), only the queries as values (`queries`).

    fates watermarks           records -> the one fate of each, and how far time has certainly come
    conditions accumulators    evaluating what queries are made of
    windowing matching         the two operators: window queries -> rows, pattern queries -> rows
    engine                     records -> fates, watermark, rows
"""
