"""What a visitor did: the event model, its JSON codec and schema, and the access-log reader. Pure.

No client library, no file, no clock belongs here. What a record's place in the log makes of an event
(late, duplicate) is in `rtap_lab.reference`.
"""
