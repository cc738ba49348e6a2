"""The store: results as points, behind one port with two adapters, and the writer that fills it.

Points are a pure function of result rows, so writing one again changes nothing. The only package that
imports influxdb_client. Live clients never read from here: they are fed from the topics.
"""
