"""What the product is about: findings, runs, hunts, coverage, costs, acknowledgements, digests."""
