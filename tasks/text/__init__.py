"""Text: how times and untrusted names are written."""
