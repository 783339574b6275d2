import traceback
import uuid
from itertools import count

import fsspec
import pytest

from tasks.archive import check_writable, write_index, write_run
from tasks.archive.paths import is_temporary
from tasks.check import try_archive
from tasks.errors import ArchiveError
from tasks.preflight.checks import Verdict
from tests.archives import PAGES, Links, index, listed
from tests.builders import finding, report, run


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html"),
        ("findings.json", "application/json"),
        ("findings.csv", "text/csv"),
    ],
)
def test_an_object_has_the_type_that_a_browser_needs(store, name, kind):
    """A bucket behind a web address shows pages; one without types would have them saved."""
    of = report(run(), finding())
    write_run(store, of, PAGES)
    files, root = fsspec.url_to_fs(store)
    assert files.info(f"{root}/{of.run.folder}/{name}")["ContentType"] == kind


def test_a_bucket_that_is_not_there_is_refused_and_not_made(bucket):
    """A typo must not make a bucket in somebody's account, open or not."""
    files, _ = fsspec.url_to_fs(bucket)
    before = files.ls("", refresh=True)
    url = "s3://no-such-bucket/archive"
    for attempt in (check_writable, write_index, lambda url: write_run(url, report(run()), PAGES)):
        with pytest.raises(ArchiveError, match="The specified bucket does not exist") as refused:
            attempt(url)
        assert url in refused.value.problem
    assert files.ls("", refresh=True) == before


@pytest.fixture
def denied(bucket, monkeypatch):
    """Take a permission away from the worker: calls of S3 by the beginning of their names."""

    def deny(*calls: str, after: int = 0) -> None:
        made = count(1)

        async def call(self, method, *arguments, **named):
            if method.startswith(calls) and next(made) > after:
                raise PermissionError("Access Denied")
            return await ask(self, method, *arguments, **named)

        kind = type(fsspec.url_to_fs(bucket)[0])
        ask = kind._call_s3
        monkeypatch.setattr(kind, "_call_s3", call)

    return deny


def test_a_store_that_removes_nothing_is_enough_for_runs(store, denied):
    """Object lock, or a role that may only write: any number of probes leaves one object."""
    denied("delete_object")
    for _ in range(3):
        refusal = check_writable(store)
        assert "cannot be pruned: Access Denied" in refusal
    assert len(listed(store)) == 1
    write_run(store, report(run(), finding()), PAGES)
    write_index(store)
    check = try_archive(store)[0]
    assert (check.verdict, check.said.endswith("pruning does not.")) == (Verdict.WARNING, True)
    (left,) = filter(is_temporary, listed(store))
    assert "index.html" in listed(store)
    assert left not in index(store)


@pytest.mark.parametrize(
    ("calls", "wanted"),
    [
        (("put_object",), "written"),
        (("get_object",), "read"),
        (("list_objects",), "listed"),
    ],
)
def test_any_other_missing_permission_is_named(store, denied, calls, wanted):
    """A run needs it, so it is refused before anything is searched."""
    denied(*calls)
    with pytest.raises(ArchiveError, match=f"cannot be {wanted}: Access Denied") as refused:
        check_writable(store)
    assert store in refused.value.problem


def test_a_store_that_replaces_nothing_is_refused(store, denied):
    """Every run rewrites the index."""
    denied("put_object", after=1)
    with pytest.raises(ArchiveError, match="cannot be overwritten: Access Denied"):
        check_writable(store)


def test_a_bucket_can_be_an_archive_by_itself(bucket):
    """Nobody needs a folder in it."""
    whole = f"s3://{uuid.uuid4().hex}"
    fsspec.url_to_fs(whole)[0].mkdir(whole)
    check_writable(whole)
    of = report(run(), finding())
    assert write_run(whole, of, PAGES) == f"{whole}/{of.run.folder}/report.html"
    assert set(Links(index(whole)).found) & set(listed(whole))


@pytest.fixture
def environment(bucket, monkeypatch):
    """Change what the environment says of S3; connections that were made before are forgotten."""
    kind = type(fsspec.url_to_fs(bucket)[0])
    kind.clear_instance_cache()
    yield monkeypatch
    kind.clear_instance_cache()


def test_without_credentials_the_error_says_so(store, environment):
    """They come from the worker's environment and from nowhere else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    with pytest.raises(ArchiveError, match="Unable to locate credentials") as refused:
        check_writable(store)
    assert store in refused.value.problem


def test_no_credential_stands_in_an_error(store, environment):
    """What goes to logs, to Prefect and to Slack has names, and never a key."""
    environment.setenv("AWS_SECRET_ACCESS_KEY", "a-canary")
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    environment.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ArchiveError) as refused:
        check_writable(store)
    told = "".join(traceback.format_exception(refused.value))
    assert "127.0.0.1:1" in told
    assert "a-canary" not in told
