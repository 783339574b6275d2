"""The archive: write-once files for every run and day, and the pages that link to them.

    <archive>/index.html                       the last two months
    <archive>/months/2026-11.html              a page for every month
    <archive>/<hunt>/<cluster>/latest.html     redirects to the newest run's report
    <archive>/<hunt>/<cluster>/2026/11/24/0600Z-<run id>/{report.html,findings.json,...}
    <archive>/daily/<destination>/2026/11/24/0705Z-<digest id>.{html,json}
    <archive>/schema/findings-1.json

Readers never see a partial file: in a folder it is written under a temporary name and renamed, in
an object store it appears whole. A run's `run.json` is written last; without it, it is ignored.
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
