"""Is every number right? Rows and records against what the reference engine makes of the topic, and against the truth.

    comparing scoring    pure: rows against rows, answers against what the simulated visitors did
    report               pure: what is verified, and the outcome
    verifier             reads topics and store, and compares

What is right comes from `rtap_lab.reference`, which shares nothing with the SQL.
"""
