"""What runs: each flow calls tasks, in order, and decides nothing about data.

Every command and every flow run imports this package first, also in the process that a worker
starts for a flow run. So two rules for the whole process are set here: files that it writes are
closed to other users, and log records hold no secret.
"""

import os

from tasks.text.foreign import guard_logs

os.umask(0o077)
guard_logs()
