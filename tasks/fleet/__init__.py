"""A made-up fleet of Macs and its events, for demo, tests and benchmarks."""
