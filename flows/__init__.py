"""What runs: each flow calls tasks, in order, and decides nothing about data."""

from tasks.text.foreign import guard_logs

guard_logs()  # Here, because a worker starts with the import of a flow.
