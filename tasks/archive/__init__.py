"""The archive: every run and day as files that are never rewritten, and the pages that lead there.

    <archive>/index.html                       the last two months
    <archive>/months/2026-11.html              one for each month
    <archive>/<hunt>/<cluster>/latest.html     leads to the newest run's report
    <archive>/<hunt>/<cluster>/2026/11/24/0600Z-<run id>/{report.html,findings.json,...}
    <archive>/daily/<destination>/2026/11/24/0705Z-<digest id>.{html,json}
    <archive>/schema/findings-1.json

Nobody ever reads half of a file: in a folder it is written under a temporary name and renamed, in
an object store it appears whole. A run's `run.json` comes last; without it a folder does not count.
"""

from tasks.archive.folder import check_writable
from tasks.archive.index import write_index
from tasks.archive.pruning import prune_archive
from tasks.archive.steps import discard, store, store_daily, write_index_page
from tasks.archive.verification import Difference, verify_archive
from tasks.archive.writing import write_daily, write_run

__all__ = [
    "Difference",
    "check_writable",
    "discard",
    "prune_archive",
    "store",
    "store_daily",
    "verify_archive",
    "write_daily",
    "write_index",
    "write_index_page",
    "write_run",
]
