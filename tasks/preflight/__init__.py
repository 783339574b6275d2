"""Preflight: checks to make before the first run."""
