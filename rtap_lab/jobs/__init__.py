"""Jobs: which queries should run on which source, and making it so, whatever was killed in between.

    model          a job and a run, pure
    documents      the files they are kept in
    reconcile      pure: what should be done now, from what is asked for and what Flink says
    checkpoints    where checkpoints are kept, and the newest to go on from
    refused        what goes from the shared topics of late and rejected records
    lifecycle      does it: submits, stops, drains, ends

What a job's SQL is, is in `rtap_lab.flink`; who calls it (commands, the supervisor) is above.
"""
