"""The folder that holds an archive, on any file system; translates that one's errors."""

from __future__ import annotations

import os
import posixpath
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from tasks.archive.paths import TEMPORARY
from tasks.errors import ArchiveError
from tasks.settings import located

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Kinds of URL with objects that appear whole, and without folders that would have to be made."""


def check_writable(archive_url: str) -> None:
    """Find out before a run whether its report can be kept; leave nothing behind.

    Raises:
        ArchiveError: an unknown kind of URL, a file in the way, or no permission.
    """
    Folder.at(archive_url).probe()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a file system; paths are relative to it. Translates the file system's errors."""

    url: str
    system: fsspec.AbstractFileSystem
    root: str

    @classmethod
    def at(cls, url: str) -> Folder:
        """Take the folder at a path or an fsspec URL; it need not be there yet."""
        with _translated(url, "reached"):
            system, root = url_to_fs(located(url))
        return cls(url, system, root.rstrip("/"))

    def address(self, path: str) -> str:
        """Give where a file stands, as a person or another program finds it."""
        return str(self.system.unstrip_protocol(self._full(path)))

    def holds(self, path: str) -> bool:
        """Whether there is such a file."""
        with _translated(self.url):
            return bool(self.system.exists(self._full(path)))

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Read files, many at once where the file system can; those that are gone are left out."""
        read: dict[str, bytes] = {}
        with _translated(self.url):
            full = [self._full(path) for path in paths]
            for path, content in (self.system.cat(full, on_error="return") if full else {}).items():
                if isinstance(content, bytes):
                    read[self._relative(path)] = content
                elif not isinstance(content, FileNotFoundError):
                    raise content
        return read

    def read_inside(self, path: str) -> bytes | None:
        """Read a file; None where there is none, or a link that leads out of the archive."""
        with _translated(self.url):
            if self._is_local:
                file, root = Path(self._full(path)), Path(self.root).resolve()
                if not (file.is_file() and file.resolve().is_relative_to(root)):
                    return None
            try:
                return bytes(self.system.cat_file(self._full(path)))
            except FileNotFoundError:
                return None

    def listed(self) -> list[str]:
        """List every file."""
        with _translated(self.url):
            # A store's client remembers listings, also of folders that others were still writing.
            self.system.invalidate_cache()
            found = self._walked() if self._is_local else self.system.find(self.root)
            return sorted(map(self._relative, found))

    def changed_at(self, path: str) -> datetime | None:
        """Give when a file was written, aware UTC; None if it is gone, or nobody knows."""
        with _translated(self.url), suppress(FileNotFoundError, NotImplementedError):
            written: datetime = self.system.modified(self._full(path))
            return written.astimezone(UTC) if written.tzinfo else written.replace(tzinfo=UTC)
        return None

    def write(self, path: str, content: bytes) -> None:
        """Write a file so that nobody reads half of it."""
        target = self._full(path)
        with _translated(self.url, "written"):
            if self._is_store:
                self._put(target, content)
                return
            temporary = f"{target}.{uuid.uuid4().hex}{TEMPORARY}"
            self.system.makedirs(posixpath.dirname(target), exist_ok=True)
            self.system.pipe_file(temporary, content)
            self.system.mv(temporary, target)

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that hold nothing else; one that is gone is no fault."""
        with _translated(self.url, "written"), suppress(FileNotFoundError):
            self.system.rm_file(self._full(path))
        folder = "" if self._is_store else posixpath.dirname(path)
        # Another process may write into a folder just now, or remove it too.
        with _translated(self.url, "written"), suppress(OSError):
            while (
                folder
                and self.system.isdir(self._full(folder))
                and not self.system.ls(self._full(folder), detail=False)
            ):
                self.system.rmdir(self._full(folder))
                folder = posixpath.dirname(folder)

    def probe(self) -> None:
        """Write and remove a file where the archive stands, or in the folder that will hold it."""
        folder = self.root
        with _translated(self.url, "written"):
            while not (self._is_store or self.system.exists(folder)) and folder not in {"", "/"}:
                folder = posixpath.dirname(folder)
            if not (self._is_store or self.system.isdir(folder or "/")):
                raise NotADirectoryError(f"{folder} is a file")
            temporary = f"{folder}/.{uuid.uuid4().hex}{TEMPORARY}"
            self.system.pipe_file(temporary, b"")
            self.system.rm_file(temporary)

    def _walked(self) -> Iterator[str]:
        """List every file of a local folder: `find` asks for the facts of each, and takes long."""
        folders = [self.root]
        while folders:
            # One that is not there yet, or has been removed meanwhile, has no file.
            with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        yield entry.path

    @property
    def _is_local(self) -> bool:
        return isinstance(self.system, LocalFileSystem)

    @property
    def _is_store(self) -> bool:
        return self.url.partition("://")[0] in OBJECT_STORES

    def _put(self, target: str, content: bytes) -> None:
        """Send an object from a file of its name, which tells the store its type.

        A browser that opens an object without a type would save it, and show nothing.
        """
        with TemporaryDirectory() as folder:
            file = Path(folder, posixpath.basename(target))
            file.write_bytes(content)
            self.system.put_file(str(file), target)

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self.root}/")


@contextmanager
def _translated(url: str, wanted: str = "read") -> Iterator[None]:
    """Turn the refusals of an archive's file system into ours."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise ArchiveError(
            f"{url}: no archive can be kept there: {error}.",
            "Name a folder, or a URL that fsspec knows and whose package is installed.",
        ) from error
    except Exception as error:  # Every kind of file system has errors of its own.
        raise ArchiveError(
            f"The archive {url} cannot be {wanted}: {getattr(error, 'strerror', None) or error}.",
            "Make it a place that answers and that the worker may read and write, or correct "
            "`archive_url`.",
        ) from error
