"""Text: how times, numbers and untrusted names are written."""
