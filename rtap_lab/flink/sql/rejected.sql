SELECT '${source}', '${run}', source_partition, source_offset, SUBSTRING(event_id FROM 1 FOR ${most_text}), unfit, arrival
FROM events_raw WHERE unfit <> 'tick'
