SELECT '${source}', '${run}', source_partition, source_offset, event_id, lateness, event_time, arrival
FROM judged_events WHERE lateness IS NOT NULL
