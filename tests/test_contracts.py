"""The contracts of imports: every way around one that has been tried turns `make lint` red."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WAYS_AROUND = {
    "Prefect in a chart": ("tasks/pages/charts.py", "import prefect"),
    "Prefect in paging": ("tasks/clusters/paging.py", "from prefect import task"),
    "Prefect in the wording": ("tasks/model/wording.py", "import prefect"),
    "Prefect in a new module": ("tasks/scoring/prevalence.py", "import prefect"),
    "DuckDB in the wording": ("tasks/model/wording.py", "import duckdb"),
    "DuckDB in a flow": ("flows/demo.py", "import duckdb"),
    "SQLAlchemy in the pages": ("tasks/pages/index.py", "import sqlalchemy"),
    "SQLAlchemy in a step": ("tasks/record.py", "from sqlalchemy import select"),
    "Elasticsearch's client in a step": ("tasks/enrich.py", "import elasticsearch"),
    "Slack's client in a flow": ("flows/daily_digest.py", "import slack_sdk"),
    "HTML in a message": ("tasks/slack/compose.py", "import markupsafe"),
    "Storage in a step": ("tasks/report.py", "import fsspec"),
    "A step that imports a step": ("tasks/score.py", "from tasks.enrich import enrich"),
    "A noun that imports a step": ("tasks/history/store.py", "from tasks.diff import diff"),
    "A noun that imports what is made of it": ("tasks/model/runs.py", "import tasks.pages.html"),
    "A step that imports a flow": ("tasks/query.py", "import flows.slots"),
    "A module of tasks/ without a place": ("tasks/utils.py", "import json"),
}
"""The module, and the line that is added to it."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the code, with its contracts."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("flows", "tasks"):
        without_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=without_caches)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts as `make lint` does."""
    command = (sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()")
    return subprocess.run(
        (*command, "--no-cache"), cwd=folder, check=False, capture_output=True, text=True
    )


def test_the_code_keeps_its_contracts(copy):
    """Otherwise the tests below would prove nothing."""
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("way", WAYS_AROUND)
def test_no_way_leads_around_a_contract(copy, way):
    """A line that breaks one is found, whichever module it stands in."""
    name, line = WAYS_AROUND[way]
    module = copy / name
    before = module.read_text(encoding="utf-8") if module.exists() else None
    module.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
    try:
        done = lint_imports(copy)
    finally:
        if before is None:
            module.unlink()
        else:
            module.write_text(before, encoding="utf-8")
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
