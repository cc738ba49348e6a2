"""How it is doing, and whether it is right: verification, the ledger, latency, the doctor.

Here is what looks at the other parts from outside; nothing of the pipeline needs it to run.
"""
