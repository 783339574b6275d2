"""Where archives of tests stand."""

import uuid

import pytest


@pytest.fixture(params=["folder", "memory"])
def archive(request, tmp_path):
    """Name an archive that does not exist yet, on both kinds of file system."""
    if request.param == "folder":
        return str(tmp_path / "archive")
    return f"memory://{uuid.uuid4().hex}/archive"


@pytest.fixture
def folder(tmp_path):
    """Name an archive that is a folder."""
    return tmp_path / "archive"
