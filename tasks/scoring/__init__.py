"""Evidence of a beacon, and the priority that follows from it."""
