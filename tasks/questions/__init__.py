"""Questions: what a run asks a cluster as of its slot, and how the answers are read."""
