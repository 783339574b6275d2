"""The umask of every process that runs a command or a flow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.terminal import ROOT


@pytest.mark.parametrize("module", ["flows", "flows.cli"])
def test_a_process_of_ours_writes_for_its_user_only(tmp_path, module):
    """Whatever the umask of the worker or of the shell that started it."""
    code = f"import {module}, pathlib; pathlib.Path('file').touch(); pathlib.Path('folder').mkdir()"
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, umask=0o022)
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600", "0o700"}
