"""A believable website: visitors, arrivals and named scenarios. Pure and seeded.

The same seed gives the same events, whatever the pace or the machine. Sending them is in
`rtap_lab.kafka.feeder`.
"""
