"""Where archives of tests stand."""

import uuid

import pytest


@pytest.fixture(params=["folder", "memory", "s3"])
def archive(request, tmp_path):
    """Name an archive that does not exist yet, on each kind of file system."""
    match request.param:
        case "folder":
            return str(tmp_path / "archive")
        case "memory":
            return f"memory://{uuid.uuid4().hex}/archive"
        case "s3":
            return request.getfixturevalue("store")


@pytest.fixture
def store(bucket):
    """Name an archive in S3."""
    return f"{bucket}/{uuid.uuid4().hex}/archive"


@pytest.fixture
def folder(tmp_path):
    """Name an archive that is a folder."""
    return tmp_path / "archive"
