"""Slack: a digest as a message, and the channel that it is posted to."""
