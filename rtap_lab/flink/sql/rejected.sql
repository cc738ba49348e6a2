SELECT '${source}', '${run}', source_partition, source_offset, event_id, unfit, arrival
FROM events_raw WHERE unfit <> 'tick'
