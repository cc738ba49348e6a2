"""What tests and campaigns are made of: random streams and random queries, from a seed. Pure."""
