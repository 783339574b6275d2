"""Questions: the ES|QL queries of a run as of its slot, and the reading of their answers."""
