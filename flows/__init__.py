"""What runs: each flow calls tasks, in order, and decides nothing about data."""
